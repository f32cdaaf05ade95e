"""From the command line to validated settings, with every problem said at once.

Hydra composes, pydantic validates; nothing here imports torch, MLflow or numba, and nothing is
written. The same composition runs a second time inside Hydra for the job itself.
"""

import difflib
import itertools
import re
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from journeyman.config_folder import CONF_DIR, CONFIG_NAME, require_plugins
from journeyman.errors import UserError
from journeyman.settings.root import Settings
from journeyman.suggestions import allowed_keys, with_suggestions


def settings_from(config: DictConfig | Mapping[str, Any]) -> Settings:
    """Validates a composed config.

    Raises:
        UserError: with one sentence for every violation, ``key: problem (got X)``.
    """
    missing: list[str] = []
    if isinstance(config, DictConfig):
        try:
            keys = sorted(OmegaConf.missing_keys(config))
            missing = [f"{key}: has no value yet; give it as {key}=..." for key in keys]
            raw = OmegaConf.to_container(config, resolve=True)
        except OmegaConfBaseException as error:
            raise UserError(_first_line(error)) from error
    else:
        raw = dict(config)
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        said = sorted(set(_violations(error, raw)))
        named = tuple(line.partition(":")[0] for line in missing)
        others = [line for line in said if not line.startswith(named)] if named else said
        raise UserError([*missing, *others]) from error
    if missing:
        raise UserError(missing)
    return settings


def compose_settings(
    overrides: Sequence[str] = (),
    *,
    config_dir: str | None = None,
    config_name: str = CONFIG_NAME,
) -> Settings:
    """Composes and validates one job.

    Args:
        overrides: Hydra overrides, e.g. ``["strategy=bc", "seed=1"]``.
        config_dir: a further folder to search for configs, as ``--config-dir``.
        config_name: name of the primary config.

    Raises:
        UserError: with every problem there is, unknown options and keys included.
    """
    require_plugins(overrides)
    return settings_from(compose_config(list(overrides), config_dir, config_name))


def compose_config(
    overrides: list[str], config_dir: str | None = None, config_name: str = CONFIG_NAME
) -> DictConfig:
    """Composes without validating; unknown keys and options are all said at once.

    Args:
        overrides: Hydra overrides.
        config_dir: a further folder to search for configs.
        config_name: name of the primary config.
    """
    nameless = [override for override in overrides if override.startswith("=")]
    if nameless:
        raise UserError([f"{override}: an override is key=value" for override in nameless])
    extra = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []
    problems: list[str] = []
    remaining = list(overrides)
    with initialize_config_dir(str(CONF_DIR), version_base="1.3", job_name="journeyman"):
        while True:
            try:
                config = compose(config_name, overrides=[*extra, *remaining])
                break
            except (HydraException, OmegaConfBaseException) as error:
                culprit = _culprit(error, remaining)
                problems.append(_composition_problem(error, culprit))
                if culprit is None:
                    raise UserError(problems) from error
                remaining.remove(culprit)
        if problems:
            try:
                settings_from(config)
            except UserError as error:
                problems.extend(error.problems)
            raise UserError(with_suggestions(problems, config))
    return config


def _culprit(error: Exception, overrides: Iterable[str]) -> str | None:
    """Finds the override an error is about: the one whose key or value the message names."""
    text = str(error) + str(error.__cause__ or "")
    for override in overrides:
        key, _, value = override.partition("=")
        key = key.lstrip("+~").split("@")[0]
        if f"'{key}'" in text or f"'{override}'" in text or f"{key}/{value}" in text:
            return override
    for override in overrides:
        if override in text:
            return override
    return None


def _composition_problem(error: Exception, culprit: str | None) -> str:
    text = str(error)
    options = re.search(r"Available options in '([^']+)':\n((?:\t.+\n?)+)", text)
    if options and culprit:
        key, _, value = culprit.partition("=")
        names = [line.strip() for line in options.group(2).splitlines()]
        return f"{key}: no such option (got {value}; allowed {', '.join(names)}" + (
            f"; did you mean {nearest[0]}?)"
            if (nearest := difflib.get_close_matches(value, names, n=1, cutoff=0.5))
            else ")"
        )
    if culprit is not None and ("not in struct" in text or "Could not override" in text):
        return f"{culprit.partition('=')[0]}: unknown key"
    return _first_line(error) if culprit is None else f"{culprit}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _violations(error: ValidationError, raw: Any) -> Iterable[str]:
    """Turns pydantic's list into one sentence a key; the branches of a union join into one."""
    by_key: dict[str, list[str]] = {}
    paths = [".".join(map(str, path_in_config(item["loc"], raw))) for item in error.errors()]
    for item, key in zip(error.errors(include_url=False), paths, strict=True):
        if item["type"] == "float_type" and isinstance(item["input"], Mapping):
            continue  # the number branch of a ramp that is wrong elsewhere
        if item["type"] == "too_short" and any(path.startswith(f"{key}.") for path in paths):
            continue  # pydantic counts only the items that were right
        sentence = _sentence(item, path_in_config(item["loc"], raw), raw)
        by_key.setdefault(key or "config", []).append(sentence)
    for key, sentences in by_key.items():
        yield f"{key}: {' or '.join(dict.fromkeys(sentences))}"


def path_in_config(loc: Sequence[int | str], raw: Any) -> list[int | str]:
    """Returns pydantic's ``loc`` without the union tags it puts between the config's keys."""
    path: list[int | str] = []
    node, tag_seen = raw, False
    for position, part in enumerate(loc):
        if isinstance(node, Mapping):
            if part == node.get("kind") and not tag_seen and position > 0:
                tag_seen = True
                continue
            if part in node:
                node, tag_seen = node[part], False
            elif position < len(loc) - 1:
                continue
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node, tag_seen = node[part], False
        else:
            continue
        path.append(part)
    return path


def _sentence(item: Any, path: Sequence[int | str], raw: Any) -> str:
    kind, got = item["type"], item["input"]
    if kind == "extra_forbidden":
        siblings = raw
        for part in path[:-1]:
            siblings = siblings[part]
        names = [str(name) for name in siblings if name != path[-1]]
        nearest = difflib.get_close_matches(str(path[-1]), names, n=1, cutoff=0.6)
        hints = [
            allowed_keys(names) if len(path) > 1 else "",
            *(f"did you mean {n}?" for n in nearest),
        ]
        hints = [hint for hint in hints if hint]
        return "unknown key" + (f" ({'; '.join(hints)})" if hints else "")
    if kind == "missing":
        return "missing"
    if kind == "too_short":
        return f"must have at least {item['ctx']['min_length']} item(s), got {len(got)}"
    message = item["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    message = message.replace(
        "a valid dictionary or instance of Ramp", "a ramp {start, end, shape}"
    )
    message = message[:1].lower() + message[1:]
    shown = "" if isinstance(got, Mapping | list) or kind == "value_error" else f" (got {got!r})"
    return f"{message}{shown}"


def check_jobs(arguments: Namespace) -> list[Settings]:
    """Composes and validates every job a command line asks for, before Hydra runs any.

    Args:
        arguments: as ``config_folder.parse_command_line`` returns them.

    Raises:
        UserError: with every problem of every job.
    """
    if arguments.config_path:
        raise UserError("--config-path: the shipped configs stay; add a folder with --config-dir")
    if arguments.config_dir and not Path(arguments.config_dir).is_dir():
        raise UserError(f"--config-dir: no such folder (got {arguments.config_dir})")
    jobs = [list(arguments.overrides)]
    if arguments.multirun:
        jobs = expand_sweep(jobs[0])
    return check_overrides(jobs, arguments.config_dir, arguments.config_name or CONFIG_NAME)


def check_overrides(
    jobs: Iterable[Sequence[str]], config_dir: str | None = None, config_name: str = CONFIG_NAME
) -> list[Settings]:
    """Composes and validates several jobs.

    Args:
        jobs: the overrides of each.
        config_dir: as ``--config-dir``.
        config_name: name of the primary config.

    Raises:
        UserError: with every problem of every job.
    """
    settings: list[Settings] = []
    problems: list[str] = []
    for overrides in jobs:
        try:
            settings.append(
                compose_settings(overrides, config_dir=config_dir, config_name=config_name)
            )
        except UserError as error:
            problems.extend(error.problems)
    if problems:
        raise UserError(list(dict.fromkeys(problems)))
    return settings


def expand_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Returns the jobs of a grid: the product of all choice and range sweeps.

    Of one key given twice the last one counts.

    Raises:
        UserError: for what cannot be parsed, and for intervals, which have no end of points.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    axes: dict[str, list[str]] = {}
    with initialize_config_dir(str(CONF_DIR), version_base="1.3", job_name="journeyman"):
        loader = GlobalHydra.instance().config_loader()
        try:
            parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
            for text, override in zip(overrides, parsed, strict=True):
                key = override.get_key_element()
                axes.pop(key, None)
                if override.is_sweep_override() and not override.is_hydra_override():
                    if not override.is_discrete_sweep():
                        raise UserError(f"{key}: an interval is for sweep=optuna (got {text})")
                    axes[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
                else:
                    axes[key] = [text]
        except HydraException as error:
            raise UserError(f"--multirun: {_first_line(error)}") from error
    return [list(job) for job in itertools.product(*axes.values())]
