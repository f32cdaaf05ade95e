"""Run again what a run saved, and say whether the bits are the same."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from journeyman.composition import settings_from
from journeyman.errors import UserError
from journeyman.orchestrator import Orchestrator
from journeyman.run_folder import new_run_dir, start_of
from journeyman.settings.root import Settings
from journeyman.tracking.jsonl import read_metrics

_TIMED_GROUPS = ("time",)
_TIMED_NAMES = ("time", "duration_sec", "run_dir", "manifest", "last_evaluated")
_TIMED_ENDINGS = ("_sec", "_per_sec", "_ready_at")


def rerun_run(original: Path, overrides: Sequence[str] = ()) -> Path:
    """Runs the saved ``config.yaml`` of a run folder again, from it and its start alone.

    A run that was begun from a checkpoint begins from it again: the folder has a copy.

    Args:
        original: the run folder.
        overrides: dotted ``key=value`` changes to the saved config.

    Returns:
        The new run folder, under the saved config's outputs folder.

    Raises:
        UserError: if the folder holds no config, or the config does not validate.
    """
    settings = saved_settings(original, overrides)
    run_dir = new_run_dir(settings.outputs_path)
    orchestrator = Orchestrator(settings, run_dir=run_dir, overrides=overrides, show=True)
    orchestrator.run(start_of(original))
    return run_dir


def saved_settings(original: Path, overrides: Sequence[str] = ()) -> Settings:
    """Returns the settings a run folder saved, with overrides.

    Raises:
        UserError: if the folder holds no config, or the config does not validate.
    """
    path = original / "config.yaml"
    if not path.is_file():
        raise UserError(f"{original}: not a run folder (it has no config.yaml)")
    try:
        document = yaml.safe_load(path.read_text())
        if not isinstance(document, dict):
            raise UserError(f"{path}: not a saved config (no mapping)")
        saved = OmegaConf.create(document)
        OmegaConf.set_struct(saved, True)
        for override in overrides:
            key, separator, value = override.partition("=")
            if not separator:
                raise UserError(f"{override}: an override is key=value")
            OmegaConf.update(saved, key, yaml.safe_load(value))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: {str(error).splitlines()[0]}") from error
    return settings_from(saved)


def verify(original: Path, again: Path) -> list[str]:
    """Compares two run folders: every metric of every step, then the results with the weights.

    Durations and rates per second are left out; nothing else is.

    Returns:
        A sentence for what differs first in the metrics, and one for each differing digest or
        figure of the results; then the differences of machine and versions that may be the
        cause. Empty: the runs are bit for bit the same.
    """
    differences = _metric_differences(read_metrics(original), read_metrics(again))
    results = (_read(folder / "results.json") for folder in (original, again))
    one, other = (dict(_leaves(document["result"])) for document in results)
    for key in sorted(one.keys() | other.keys()):
        if not _is_timed(key.rpartition(".")[2]) and one.get(key) != other.get(key):
            differences.append(f"results.json {key}: {one.get(key)} != {other.get(key)}")
    if differences:
        differences.extend(_likely_causes(original, again))
    return differences


def require_finished(run: Path) -> None:
    """Raises ``UserError`` if a run folder lacks what ``verify`` compares."""
    for name in ("results.json", "environment.json", "metrics.jsonl"):
        _require(run / name)


def _metric_differences(
    one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]
) -> list[str]:
    for number, (a, b) in enumerate(zip(one, other, strict=False), start=1):
        if a["group"] in _TIMED_GROUPS and b["group"] in _TIMED_GROUPS:
            continue
        for name in sorted(a.keys() | b.keys()):
            if not _is_timed(name) and a.get(name) != b.get(name):
                return [
                    f"metrics.jsonl line {number}, {a['group']}/{name} at step {a['step']}: "
                    f"{a.get(name)} != {b.get(name)}"
                ]
    if len(one) != len(other):
        return [f"metrics.jsonl: {len(one)} lines != {len(other)} lines"]
    return []


def _is_timed(name: str) -> bool:
    return name in _TIMED_NAMES or name.endswith(_TIMED_ENDINGS)


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, child in node.items():
            yield from _leaves(child, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from _leaves(child, f"{prefix}.{index}")
    else:
        yield prefix, node


def changed_since(run_dir: Path, now: Mapping[str, Any]) -> list[str]:
    """Returns a sentence for each thing that differs from the environment a run began in.

    Args:
        run_dir: with ``environment.json``.
        now: the environment to compare with it.
    """
    one, other = dict(_leaves(_read(run_dir / "environment.json"))), dict(_leaves(dict(now)))
    long = ("git.diff", "git.status")
    keys = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    return [f"{key} was {one.get(key)}, is {other.get(key)}" for key in keys if key not in long] + [
        f"{key} differs" for key in keys if key in long
    ]


def _likely_causes(original: Path, again: Path) -> list[str]:
    """Names what differs between the machines and sources of two runs."""
    changes = changed_since(original, _read(again / "environment.json"))
    return [f"likely cause: {change}" for change in changes]


def _require(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: missing; the run did not end")


def _read(path: Path) -> Any:
    _require(path)
    return json.loads(path.read_text())
