"""Manifests: lists of trajectory files, as JSON, JSONL or YAML.

A manifest is a list, or an object with ``samples`` and optionally ``label``, ``metrics`` and
``warnings``. An entry is a path, or an object with ``sample`` and optionally ``meta``,
``accepted``, ``weight``, ``sha256`` and ``split``; ``meta`` is an object, or the path of the
sidecar where it does not lie beside the npz under the same name.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from journeyman.data.storage import load_samples
from journeyman.data.trajectory import Split, Trajectory
from journeyman.errors import UserError

Visited = TypeVar("Visited")

_ENTRY_KEYS = ("sample", "meta", "accepted", "weight", "sha256", "split")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A trajectory with what its manifest says about it.

    Attributes:
        name: how messages call it: the file, and the lane in a shard.
        trajectory: its steps.
        weight: how much each step counts.
        split: the side of the held-out split the manifest asks for.
    """

    name: str
    trajectory: Trajectory
    weight: float = 1.0
    split: Split = ""


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One accepted file of a manifest.

    Attributes:
        sample: the path as the manifest writes it.
        path: where the file is.
        sidecar: where its sidecar is.
        weight: how much each of its steps counts, at least 0.
        sha256: what the npz must hash to, or None.
        split: ``train``, ``val``, or empty where the manifest leaves it open.
        meta: whatever else the manifest says about it.
    """

    sample: str
    path: Path
    sidecar: Path
    weight: float = 1.0
    sha256: str | None = None
    split: Split = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    def read(self) -> list[Sample]:
        """Reads the trajectories of the file.

        Raises:
            UserError: naming everything that is wrong with it.
        """
        trajectories = load_samples(self.path, sidecar=self.sidecar, sha256=self.sha256)
        one = len(trajectories) == 1
        return [
            Sample(
                name=self.sample if one else f"{self.sample} lane {k}",
                trajectory=trajectory,
                weight=self.weight,
                split=self.split,
            )
            for k, trajectory in enumerate(trajectories)
        ]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest whose entries all name a file within bounds.

    Attributes:
        path: the manifest's own path.
        label: its name for the data; the file's stem where it has none.
        entries: the accepted entries, in order.
        skipped: number of entries with ``accepted: false``.
        metrics: figures of the whole, as written.
        warnings: what its writer found doubtful.
    """

    path: Path
    label: str
    entries: tuple[ManifestEntry, ...]
    skipped: int
    metrics: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


def read_manifest(path: Path, *, allow_external_paths: bool = False) -> Manifest:
    """Reads a manifest and finds its files; the files themselves are not opened.

    Raises:
        UserError: a sentence for every bad entry.
    """
    manifest, problems = _parse(path, allow_external_paths)
    if problems:
        raise UserError(problems)
    return manifest


def file_stamps(
    path: Path, *, allow_external_paths: bool = False
) -> tuple[tuple[str, int, int], ...]:
    """Returns absolute path, size (bytes) and time of change (ns) of a manifest and its files.

    Where two calls return the same, nothing was written in between. Files of entries that are
    not good are left out.

    Raises:
        UserError: if the manifest cannot be read.
    """
    manifest, _ = _parse(path, allow_external_paths)
    files = [path, *(file for entry in manifest.entries for file in (entry.path, entry.sidecar))]
    stats = [(file.resolve(), file.stat()) for file in files]
    return tuple((str(file), stat.st_size, stat.st_mtime_ns) for file, stat in stats)


def visit_samples(
    path: Path,
    visit: Callable[[list[Sample]], Visited],
    *,
    allow_external_paths: bool = False,
) -> tuple[Manifest, list[Visited]]:
    """Reads a manifest and every file it names, one at a time.

    Args:
        path: the manifest.
        visit: called with the samples of each entry, in order; what it returns is kept.
        allow_external_paths: let entries lie outside the manifest's folder and the working
            directory.

    Returns:
        The manifest, and what ``visit`` returned for each entry.

    Raises:
        UserError: a sentence for every problem of every entry: what the manifest says of it,
            and what is wrong with its file.
    """
    manifest, problems = _parse(path, allow_external_paths)
    kept = []
    for entry in manifest.entries:
        try:
            kept.append(visit(entry.read()))
        except UserError as error:
            problems.extend(error.problems)
    if problems:
        raise UserError(problems)
    return manifest, kept


def _parse(path: Path, allow_external_paths: bool) -> tuple[Manifest, list[str]]:
    """Returns the manifest with its good entries, and the problems of the others."""
    document, problems = _read_document(path)
    if isinstance(document, list):
        document = {"samples": document}
    if not isinstance(document, dict) or not isinstance(document.get("samples"), list):
        raise UserError(
            f"{path}: a manifest is a list of samples, or an object with samples: [...]"
        )
    roots = (path.resolve().parent, Path.cwd().resolve())
    entries, skipped = [], 0
    for position, raw in enumerate(document["samples"]):
        item = {"sample": raw} if isinstance(raw, str) else raw
        where = f"{path}: entry {position}"
        if isinstance(item, dict) and isinstance(item.get("sample"), str):
            where += f" ({item['sample']})"
        found = _entry_problems(item)
        if not found and item.get("accepted") is False:
            skipped += 1
            continue
        if not found:
            entry, found = _entry(item, roots, allow_external_paths)
            entries += [] if found else [entry]
        problems += [f"{where}: {problem}" for problem in found]
    problems += [f"{path}: {problem}" for problem in _header_problems(document)]
    if not entries and not problems:
        problems.append(f"{path}: no accepted entry ({skipped} skipped)")
    if problems:
        document = {}  # what cannot be trusted is not passed on
    manifest = Manifest(
        path=path,
        label=document.get("label") or path.stem,
        entries=tuple(entries),
        skipped=skipped,
        metrics=document.get("metrics") or {},
        warnings=tuple(document.get("warnings") or ()),
    )
    return manifest, problems


def _read_document(path: Path) -> tuple[Any, list[str]]:
    """Returns the manifest's content, and a problem for every line of JSONL that is not JSON."""
    suffix = path.suffix.lower()
    if suffix not in (".json", ".jsonl", ".ndjson", ".yaml", ".yml"):
        raise UserError(f"{path}: a manifest ends in .json, .jsonl, .yaml or .yml")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such manifest") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the manifest cannot be read ({error})") from error
    try:
        if suffix == ".json":
            return json.loads(text), []
        if suffix in (".yaml", ".yml"):
            return yaml.safe_load(text), []
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        kind = "JSON" if suffix == ".json" else "YAML"
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: the manifest is not {kind} ({reason})") from error
    entries, problems = [], []
    # only a newline ends a JSON line; str.splitlines would also split inside strings
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entries.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            problems.append(f"{path}: line {number} is not JSON ({error})")
    return entries, problems


def _header_problems(document: Mapping[str, Any]) -> list[str]:
    problems = []
    if not isinstance(document.get("label", ""), str | None):
        problems.append(f"label: must be text, not {document['label']!r}")
    metrics, warnings = document.get("metrics"), document.get("warnings")
    if metrics is not None and not isinstance(metrics, dict):
        problems.append("metrics: must map names to numbers")
    if warnings is not None and not (
        isinstance(warnings, list) and all(isinstance(warning, str) for warning in warnings)
    ):
        problems.append("warnings: must be a list of sentences")
    return problems


def _entry_problems(item: Any) -> list[str]:
    if not isinstance(item, dict):
        return [f"must be a path or an object with 'sample', not {item!r}"]
    problems = [
        f"unknown key {key!r}; allowed: {', '.join(_ENTRY_KEYS)}"
        for key in item
        if key not in _ENTRY_KEYS
    ]
    sample = item.get("sample")
    if not isinstance(sample, str) or not sample or "\0" in sample:
        problems.append(f"sample: must be the path of an npz, not {sample!r}")
    elif not sample.endswith(".npz"):
        problems.append("sample: must end in .npz")
    if not isinstance(item.get("accepted", True), bool):
        problems.append(f"accepted: must be true or false, not {item['accepted']!r}")
    weight = item.get("weight", 1.0)
    if type(weight) not in (int, float) or not math.isfinite(weight) or weight < 0:
        problems.append(f"weight: must be a number of at least 0, not {weight!r}")
    sha256 = item.get("sha256")
    if sha256 is not None and not _is_sha256(sha256):
        problems.append(f"sha256: must be 64 hexadecimal digits, not {sha256!r}")
    if item.get("split") not in (None, "", "train", "val"):
        problems.append(f"split: must be train or val, not {item['split']!r}")
    meta = item.get("meta") or {}
    if not isinstance(meta, dict) and (not isinstance(meta, str) or "\0" in meta):
        problems.append("meta: must be an object or the path of the sidecar")
    return problems


def _is_sha256(value: Any) -> bool:
    return (
        isinstance(value, str)
        and len(value) == 64
        and set(value.lower()) <= set("0123456789abcdef")
    )


def _entry(
    item: Mapping[str, Any], roots: tuple[Path, ...], allow_external_paths: bool
) -> tuple[ManifestEntry, list[str]]:
    sample, meta, sha256 = item["sample"], item.get("meta") or {}, item.get("sha256")
    path, problem = _locate(sample, roots, allow_external_paths)
    sidecar_name = meta if isinstance(meta, str) else f"{sample.removesuffix('.npz')}.json"
    sidecar, sidecar_problem = _locate(sidecar_name, roots, allow_external_paths)
    problems = [problem] if problem else []
    if sidecar_problem and not problem:
        problems.append(f"sidecar {sidecar_name}: {sidecar_problem}")
    entry = ManifestEntry(
        sample=sample,
        path=path,
        sidecar=sidecar,
        weight=float(item.get("weight", 1.0)),
        sha256=None if sha256 is None else sha256.lower(),
        split=item.get("split") or "",
        meta=meta if isinstance(meta, dict) else {},
    )
    return entry, problems


def _locate(
    name: str, roots: tuple[Path, ...], allow_external_paths: bool
) -> tuple[Path, str | None]:
    """Returns where a file is, and what is wrong with where it points.

    Links are followed before the bounds are checked: a link inside that leads outside is
    outside.
    """
    missing = None
    for root in roots:
        path = root / name
        try:
            inside = allow_external_paths or _within(path.resolve(), roots)
            exists = path.is_file()
        except (OSError, RuntimeError) as error:
            return path, f"the path cannot be followed ({error})"
        if exists and not inside:
            break
        if exists:
            return path, None
        if inside:
            missing = f"no such file, neither under {roots[0]} nor under {roots[1]}"
    else:
        if missing:
            return path, missing
    return path, (
        "lies outside the manifest's folder and the working directory; "
        "dataset.allow_external_paths=true would allow it"
    )


def _within(path: Path, roots: tuple[Path, ...]) -> bool:
    return any(path.is_relative_to(root) for root in roots)
