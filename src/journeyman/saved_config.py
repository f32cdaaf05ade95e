"""A run's saved ``config.yaml`` as this version reads it: what is new in it, what it lost."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from pydantic import ValidationError

from journeyman.composition import compose_config, path_in_config, settings_from
from journeyman.config_folder import CONF_DIR
from journeyman.errors import UserError
from journeyman.settings.root import Settings
from journeyman.suggestions import UNKNOWN_KEY, with_suggestions

_LOG = logging.getLogger(__name__)

_Path = tuple[int | str, ...]


def saved_settings(original: Path, overrides: Sequence[str] = ()) -> Settings:
    """Returns the settings a run folder saved, with overrides.

    A config of an earlier version may lack keys: this version's defaults take their place, with
    a warning. A key that this version does not have any more is an error, since whatever it
    asked for would silently not be done; ``~key`` among the overrides leaves it out.

    Args:
        original: the run folder.
        overrides: dotted ``key=value`` changes, ``+key=value`` additions, ``~key`` removals.

    Raises:
        UserError: if the folder holds no config, or the config does not validate.
    """
    path = original / "config.yaml"
    parsed = [_parsed(override) for override in overrides]
    try:
        saved = OmegaConf.create(saved_document(original))
        assert isinstance(saved, DictConfig)
        for override in parsed:
            if override.is_delete():
                _remove(saved, override.key_or_group)
        _fill(saved, path)
        OmegaConf.set_struct(saved, True)
        _change(saved, [override for override in parsed if not override.is_delete()])
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: {str(error).splitlines()[0]}") from error
    _refuse_unknown(saved, path)
    return settings_from(saved)


def _parsed(override: str) -> Override:
    """Reads an override by Hydra's grammar, as for a first run.

    Raises:
        UserError: it is none, or one that makes no sense for a single saved config.
    """
    if "=" not in override and not override.startswith("~"):
        raise UserError(f"{override}: an override is key=value, or ~key")
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException as error:
        raise UserError(f"{override}: {str(error).splitlines()[0]}") from error
    if parsed.is_sweep_override():
        raise UserError(f"{override}: several values; one run is run again, so give one value")
    if parsed.package is not None or (parsed.is_delete() and "=" in override):
        raise UserError(f"{override}: an override is key=value, or ~key")
    return parsed


def _change(saved: DictConfig, changes: Iterable[Override]) -> None:
    """Changes the values of keys.

    Raises:
        UserError: with every key that the config has not, or that stands for a whole group.
    """
    groups = {folder.name for folder in CONF_DIR.iterdir() if folder.is_dir()}
    problems = []
    for change in changes:
        key, value = change.key_or_group, change.value()
        if key in groups and not isinstance(value, Mapping):
            problems.append(_of_a_group(saved, key, change.input_line))
            continue
        # what the config has not, and no default fills, may be given with a +
        added = change.is_add() or change.is_force_add()
        try:
            OmegaConf.update(saved, key, value, force_add=added)
        except (ConfigKeyError, ConfigAttributeError):
            problems.append(f"{key}: {UNKNOWN_KEY}")
    if problems:
        raise UserError(with_suggestions(problems, saved))


def _of_a_group(saved: DictConfig, group: str, override: str | None) -> str:
    """Says that another option of a group cannot be chosen, and what can be changed."""
    names = [str(name) for name in saved.get(group) or () if name != "kind"]
    like = f", such as {group}.{names[0]}=..." if names else ""
    return (
        f"{override}: a saved run keeps the options of its config groups; only single keys can be "
        f"changed{like}"
    )


def saved_document(original: Path) -> dict[str, Any]:
    """Returns the saved config as it is, whatever version wrote it.

    Raises:
        UserError: if the folder holds no config.
    """
    path = original / "config.yaml"
    if not path.is_file():
        raise UserError(f"{original}: {_why_no_config(original)}")
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {str(error).splitlines()[0]}") from error
    if not isinstance(document, dict):
        raise UserError(f"{path}: not a saved config (no mapping)")
    return document


def _why_no_config(folder: Path) -> str:
    if not folder.exists():
        return "no such folder"
    if (folder / "sweep.json").is_file():
        return "the folder of a sweep; name one of its jobs' folders"
    return "not a run folder (it has no config.yaml)"


def _fill(saved: DictConfig, path: Path) -> None:
    """Gives keys that the schema asks for and the config lacks the defaults they have now."""
    filled: list[str] = []
    defaults: Mapping[str, Any] | None = None
    # What is filled in may be a section that itself lacks nothing: one round is the rule.
    while missing := [where for kind, where in _violations(saved) if kind == "missing"]:
        if defaults is None:
            defaults = _defaults_for(saved)
        known = [(where, value) for where in missing if (value := _at(defaults, where)) is not ...]
        if not known:
            break
        for where, value in known:
            OmegaConf.update(saved, _dotted(where), value)
            filled.append(f"{_dotted(where)}={_shown(value)}")
    if filled:
        _LOG.warning(
            "%s has no %s; this version's defaults are taken", path, ", ".join(sorted(filled))
        )


def _refuse_unknown(saved: DictConfig, path: Path) -> None:
    unknown = [where for kind, where in _violations(saved) if kind == "extra_forbidden"]
    if unknown:
        document = OmegaConf.to_container(saved)
        raise UserError(
            [
                f"{path}: this version has no {_dotted(where)} (saved as "
                f"{_shown(_at(document, where))}); to run without it: journeyman rerun "
                f"{path.parent} '~{_dotted(where)}'"
                for where in unknown
            ]
        )


def _violations(saved: DictConfig) -> list[tuple[str, _Path]]:
    """Returns kind and place of everything the schema finds wrong."""
    raw = OmegaConf.to_container(saved, resolve=True)
    try:
        Settings.model_validate(raw)
    except ValidationError as error:
        found = [(each["type"], tuple(path_in_config(each["loc"], raw))) for each in error.errors()]
        return list(dict.fromkeys(found))
    return []


def _defaults_for(saved: DictConfig) -> Mapping[str, Any]:
    """Composes what this version ships, each group with an option of the kind that was saved."""
    chosen = []
    for group in sorted(folder.name for folder in CONF_DIR.iterdir() if folder.is_dir()):
        kind = OmegaConf.select(saved, f"{group}.kind")
        if kind is not None and (option := _option(group, kind)):
            chosen.append(f"{group}={option}")
    composed = OmegaConf.to_container(compose_config(chosen), resolve=False)
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items()}


def _option(group: str, kind: str) -> str | None:
    """Returns a shipped option of a group that is of a kind: one that is named so, if any is."""
    paths = sorted((CONF_DIR / group).glob("*.yaml"))
    options = [p.stem for p in paths if (yaml.safe_load(p.read_text()) or {}).get("kind") == kind]
    return kind if kind in options else next(iter(options), None)


def _at(node: Any, where: Iterable[int | str]) -> Any:
    """Returns what is at a place; ``...`` where nothing is, or nothing yet (``???``)."""
    for part in where:
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            return ...
    return ... if node == "???" else node


def _remove(saved: DictConfig, key: str) -> None:
    section, _, name = key.rpartition(".")
    node = OmegaConf.select(saved, section) if section else saved
    if not isinstance(node, DictConfig) or name not in node:
        raise UserError(f"~{key}: the saved config has no such key")
    del node[name]


def _dotted(where: Iterable[int | str]) -> str:
    return ".".join(map(str, where))


def _shown(value: Any) -> str:
    return "{...}" if isinstance(value, Mapping) else str(value)
