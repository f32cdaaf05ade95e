"""Run again what a run saved, and say whether the bits are the same."""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journeyman.config_folder import quoted
from journeyman.errors import UserError
from journeyman.folders import require_access
from journeyman.inputs import INPUTS_FILE, changed_inputs, input_digests
from journeyman.orchestrator import Orchestrator
from journeyman.record import saved_overrides
from journeyman.run_folder import new_run_dir, start_of
from journeyman.saved_config import saved_settings
from journeyman.saved_json import read_json
from journeyman.tracking.address import resolve_address
from journeyman.tracking.configuration import with_overrides
from journeyman.tracking.fetching import fetch_folder, find_folder, is_run_id
from journeyman.tracking.jsonl import read_metrics

ENVIRONMENT_FILE = "environment.json"
RESULTS_FILE = "results.json"
_REMEDIES = {
    ENVIRONMENT_FILE: "remove it to go on without comparing machine and versions",
    RESULTS_FILE: "there is nothing to compare with: rerun without --verify, or restore a copy",
}
_LOG = logging.getLogger(__name__)
_TIMED_GROUPS = ("time",)
_TIMED_NAMES = ("time", "duration_sec", "run_dir", "manifest", "last_evaluated")
_TIMED_ENDINGS = ("_sec", "_per_sec", "_ready_at")


@dataclass(frozen=True, kw_only=True)
class Original:
    """A run that is to be run again.

    Attributes:
        folder: what it saved.
        name: what messages call it.
        where: overrides that put the new run where it can be on this machine.
    """

    folder: Path
    name: str
    where: tuple[str, ...] = ()


@contextmanager
def original_run(named: str, *, uri: str | None, outputs: Path) -> Iterator[Original]:
    """Finds a run by its folder or by its id in MLflow.

    Of a run whose folder is not here, what the store keeps of it is downloaded for the time
    being; the new run goes to ``outputs`` and to the store that the original is in.

    Args:
        named: a path or an id.
        uri: tracking URI of ids; None: as a run would choose.
        outputs: absolute outputs folder, home of the embedded store.

    Raises:
        UserError: the store cannot be opened or has no such job.
    """
    path = Path(named)
    require_access(path)
    if path.exists() or not is_run_id(named):
        yield Original(folder=path.resolve(), name=path.resolve().name)
        return
    address = resolve_address(uri, outputs)
    found = find_folder(named, address)
    if found.kind != "job":
        raise UserError(f"{named}: the run of a sweep; name the run of a job")
    if found.is_here and found.folder is not None:
        yield Original(folder=found.folder, name=named)
        return
    with tempfile.TemporaryDirectory(prefix="journeyman-rerun-") as folder:
        fetch_folder(named, address, Path(folder))
        store = "null" if uri is None else quoted(uri)
        where = (f"outputs={quoted(str(outputs))}", f"tracking.uri={store}")
        yield Original(folder=Path(folder), name=named, where=where)


def folder_here(named: str, *, uri: str | None, outputs: Path) -> Path:
    """Returns the folder of a run or a sweep, named by its path or by its id in MLflow.

    Args:
        named: a path or an id.
        uri: tracking URI of ids; None: as a run would choose.
        outputs: absolute outputs folder, home of the embedded store.

    Raises:
        UserError: the store has no such run, or its folder is not on this machine.
    """
    path = Path(named)
    require_access(path)
    if path.exists() or not is_run_id(named):
        return path.resolve()
    found = find_folder(named, resolve_address(uri, outputs))
    if not found.is_here or found.folder is None:
        raise UserError(
            f"{named}: its folder {found.folder} is not here, and its checkpoints are only there; "
            f"journeyman rerun {named} runs it from its beginning"
        )
    return found.folder


def rerun_run(original: Path, overrides: Sequence[str] = (), *, where: Sequence[str] = ()) -> Path:
    """Runs the saved ``config.yaml`` of a run folder again, from it and its start alone.

    A run that was begun from a checkpoint begins from it again: the folder has a copy.

    Args:
        original: the run folder.
        overrides: dotted ``key=value`` changes to the saved config, and ``~key`` removals.
        where: overrides that say only where the new run is, before the others.

    Returns:
        The new run folder, under the saved config's outputs folder.

    Raises:
        UserError: if the folder holds no config, or the config does not validate.
    """
    settings = saved_settings(original, [*where, *overrides])
    for change in changed_inputs(original, input_digests(settings.model_dump(mode="json"))):
        _LOG.warning("%s since the run %s read it", change, original)
    run_dir, given = new_run_dir(settings.outputs_path), saved_overrides(original)
    said = None if given is None else with_overrides(given, overrides)
    orchestrator = Orchestrator(settings, run_dir=run_dir, overrides=said, show=True)
    orchestrator.run(start_of(original))
    return run_dir


def verify(original: Path, again: Path, overrides: Sequence[str] = ()) -> list[str]:
    """Compares two run folders: every metric of every step, then the results with the weights.

    Durations and rates per second are left out; nothing else is.

    Args:
        original: one run folder.
        again: the other.
        overrides: what was changed on purpose, the first thing to look at.

    Returns:
        A sentence for what differs first in the metrics, and one for each differing digest or
        figure of the results; then the differences of machine and versions that may be the
        cause. Empty: the runs are bit for bit the same.
    """
    differences = _metric_differences(read_metrics(original), read_metrics(again))
    one, other = (dict(_leaves(_read_result(folder))) for folder in (original, again))
    for key in sorted(one.keys() | other.keys()):
        if not _is_timed(key.rpartition(".")[2]) and one.get(key) != other.get(key):
            differences.append(f"results.json {key}: {one.get(key)} != {other.get(key)}")
    if differences:
        differences.extend(f"likely cause: {override} was given" for override in overrides)
        differences.extend(_likely_causes(original, again))
    return differences


def require_comparable(original: Original) -> None:
    """Raises ``UserError`` if a run lacks what ``verify`` compares, or has it damaged."""
    for name in (RESULTS_FILE, ENVIRONMENT_FILE, "metrics.jsonl"):
        if not (original.folder / name).is_file():
            where = f"{original.name}: the tracking store has no {name} of it"
            if not original.where:
                where = f"{original.folder / name}: missing"
            raise UserError(f"{where}; the run did not end, so there is nothing to compare with")
    # Before the run is run again, which may take days.
    read_metrics(original.folder)
    _read_result(original.folder)
    _read(original.folder / ENVIRONMENT_FILE)


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

    Raises:
        UserError: ``environment.json`` is damaged.
    """
    one, other = dict(_leaves(_read(run_dir / ENVIRONMENT_FILE))), dict(_leaves(dict(now)))
    long = ("git.diff", "git.status")
    keys = sorted(
        key
        for key in one.keys() | other.keys()
        if one.get(key) != other.get(key) and _is_known(key, one) and _is_known(key, other)
    )
    return [f"{key} was {one.get(key)}, is {other.get(key)}" for key in keys if key not in long] + [
        f"{key} differs" for key in keys if key in long
    ]


def _is_known(key: str, record: Mapping[str, Any]) -> bool:
    """Says whether a record can tell of a key: an earlier version's has a section without it."""
    section = key.rpartition(".")[0]
    return key in record or not any(one.rpartition(".")[0] == section for one in record)


def _likely_causes(original: Path, again: Path) -> list[str]:
    """Names what differs between the inputs, machines and sources of two runs."""
    inputs = again / INPUTS_FILE
    read = _read(inputs) if inputs.is_file() else {}
    changes = changed_inputs(original, read) + changed_since(
        original, _read(again / ENVIRONMENT_FILE)
    )
    return [f"likely cause: {change}" for change in changes]


def _read_result(folder: Path) -> dict[str, Any]:
    path = folder / RESULTS_FILE
    result = _read(path).get("result")
    if not isinstance(result, dict):
        raise UserError(f"{path}: damaged (no result in it); {_REMEDIES[RESULTS_FILE]}")
    return result


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path}: missing; the run did not end")
    return read_json(path, dict, _REMEDIES.get(path.name, "restore a copy of it"))
