"""Files that a run reads and does not keep: their digests say whether they are as they were."""

import copy
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from journeyman.checkpoint import write_json
from journeyman.data.manifest import file_stamps
from journeyman.errors import UserError
from journeyman.policies.registry import BUILT_IN, is_path
from journeyman.saved_json import read_json
from journeyman.tracking.address import resolve_address

INPUTS_FILE = "inputs.json"
_INPUTS = (
    ("dataset", "manifest"),
    ("dataset", "policy"),
    ("strategy", "policy"),
    ("promotion", "champion"),
    ("env", "demonstrator"),
)


def with_absolute_paths(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a config whose paths mean the same from any folder, so that it can be rerun.

    Raises:
        UserError: the tracking URI names no file.
    """
    whole = copy.deepcopy(config)
    whole["outputs"] = str(Path(whole["outputs"]).resolve())
    for (section, name), path in _paths(config):
        whole[section][name] = str(path)
    uri = config.get("tracking", {}).get("uri")
    if uri is not None and uri.startswith("sqlite"):
        whole["tracking"]["uri"] = resolve_address(uri, Path(whole["outputs"])).uri
    return whole


def note_inputs(config: Mapping[str, Any], run_dir: Path) -> None:
    """Writes the digests of what a run reads into its folder, if it reads anything."""
    if digests := input_digests(config):
        write_json(run_dir / INPUTS_FILE, digests)


def input_digests(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Returns the path and the SHA-256 of each file that a config names, by its key.

    That of a manifest is over the samples that it lists, too. What cannot be read has none:
    whoever needs it will say so.
    """
    digests = {}
    for key, path in _paths(config):
        try:
            digest = _digest(path)
        except (OSError, UserError):
            continue
        digests[".".join(key)] = {"path": str(path), "sha256": digest}
    return digests


def changed_inputs(run_dir: Path, now: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Returns a sentence for each input that is not what a run read, where both are known.

    Args:
        run_dir: with ``inputs.json``, or without.
        now: ``input_digests`` of today.

    Raises:
        UserError: ``inputs.json`` is damaged.
    """
    path = run_dir / INPUTS_FILE
    then: dict[str, Any] = {}
    if path.is_file():
        then = read_json(path, dict, "remove it to go on without comparing inputs")
    return [
        f"{key}: {now[key]['path']} has changed"
        for key in sorted(then.keys() & now.keys())
        if then[key]["sha256"] != now[key]["sha256"]
    ]


def _paths(config: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], Path]]:
    """Yields the keys that name a file, and the absolute path of it."""
    for section, name in _INPUTS:
        given = config[section].get(name)
        if given is None or given in BUILT_IN:
            continue
        # A demonstrator is a file only where it looks like one.
        if name != "demonstrator" or is_path(given):
            yield (section, name), Path(given).resolve()


def _digest(path: Path) -> str:
    files = [path]
    if path.suffix == ".json":
        files = [Path(file) for file, _, _ in file_stamps(path, allow_external_paths=True)]
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()
