"""Trajectories as files: ``NAME.npz`` with a ``NAME.json`` sidecar, one lane or a shard of many.

A shard's arrays have a leading axis of K lanes, all of T steps; its sidecar says
``"layout": "shard"`` and holds what differs between lanes as ``lanes: [{...}, ...]``.
Nothing is ever unpickled.

Legend: K lanes of a shard, T steps, F features, C x H x W map.
"""

import hashlib
import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from journeyman.checkpoint import write_atomically, write_json
from journeyman.data.checks import REQUIRED
from journeyman.data.trajectory import ARRAY_NAMES, Trajectory
from journeyman.errors import UserError

_FLAGS = ("dones", "terminated", "truncated", "action_mask")
_FLOATS = ("features", "old_log_probs", "value_preds", "rewards", "final_features")


def save_trajectory(trajectory: Trajectory, stem: Path) -> str:
    """Writes ``stem.npz`` and ``stem.json``, each atomically.

    Args:
        trajectory: what to write.
        stem: path without suffix; the folder is made.

    Returns:
        The SHA-256 of the npz file, which the sidecar holds too.

    Raises:
        ValueError: if the metadata hold NaN or infinity.
    """
    arrays = trajectory.arrays()
    sidecar = {
        **trajectory.metadata,
        "timesteps": len(trajectory),
        "value_pred_steps": len(trajectory.value_preds),
        "training_arrays": list(arrays),
    }
    return _save(arrays, sidecar, stem)


def save_shard(trajectories: Sequence[Trajectory], stem: Path) -> str:
    """Writes trajectories of one shape into one ``stem.npz``, with a ``stem.json``.

    What all sidecars agree on is stored once, the rest lane by lane.

    Raises:
        ValueError: if the trajectories differ in arrays or shapes, or metadata hold NaN.
    """
    names = list(trajectories[0].arrays())
    if any(list(trajectory.arrays()) != names for trajectory in trajectories):
        raise ValueError("the trajectories of a shard must have the same arrays")
    arrays = {
        name: np.stack([trajectory.arrays()[name] for trajectory in trajectories]) for name in names
    }
    first = trajectories[0].metadata
    common = {
        key: value
        for key, value in first.items()
        if all(key in t.metadata and t.metadata[key] == value for t in trajectories)
    }
    lanes = [
        {key: value for key, value in trajectory.metadata.items() if key not in common}
        for trajectory in trajectories
    ]
    sidecar = {
        **common,
        "layout": "shard",
        "timesteps": len(trajectories[0]),
        "value_pred_steps": len(trajectories[0].value_preds),
        "training_arrays": names,
        "lanes": lanes,
    }
    return _save(arrays, sidecar, stem)


def _save(arrays: Mapping[str, NDArray[Any]], sidecar: dict[str, Any], stem: Path) -> str:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    payload = buffer.getvalue()
    sha256 = hashlib.sha256(payload).hexdigest()
    # the npz goes first: a sidecar is only ever beside the arrays it describes
    write_atomically(stem.with_name(f"{stem.name}.npz"), payload)
    write_json(stem.with_name(f"{stem.name}.json"), {**sidecar, "sha256": sha256})
    return sha256


def load_trajectory(npz_path: Path) -> Trajectory:
    """Reads one lane's file.

    Raises:
        UserError: naming everything that is wrong with the file, or that it is a shard.
    """
    trajectories = load_samples(npz_path)
    if len(trajectories) != 1:
        raise UserError(f"{npz_path}: a shard of {len(trajectories)} trajectories, not one")
    return trajectories[0]


def load_samples(
    npz_path: Path, *, sidecar: Path | None = None, sha256: str | None = None
) -> list[Trajectory]:
    """Reads the trajectories of one file: one lane, or all lanes of a shard.

    Older captures are read too: ``(F,)`` and ``(C, H, W)`` where T is 1, ``dones`` without
    ``terminated`` and ``truncated``, log-probabilities all 0 where none were known.

    Args:
        npz_path: the npz.
        sidecar: its JSON; None: the file of the same name beside it.
        sha256: what the file must hash to; also checked against the sidecar's own.

    Raises:
        UserError: a sentence, starting with the path, for everything that is wrong.
    """
    try:
        payload = npz_path.read_bytes()
    except OSError as error:
        raise UserError(f"{npz_path}: cannot be read ({error.strerror})") from error
    about = _read_sidecar(sidecar or npz_path.with_suffix(".json"))
    found = hashlib.sha256(payload).hexdigest()
    for expected, where in ((sha256, "the manifest"), (about.get("sha256"), "the sidecar")):
        if expected is not None and expected != found:
            raise UserError(
                f"{npz_path}: SHA-256 is {found[:12]}..., {where} says {str(expected)[:12]}..."
            )
    arrays = _read_arrays(npz_path, payload)
    try:
        if about.get("layout") != "shard":
            return [_trajectory(arrays, about)]
        return _shard(arrays, about)
    except UserError as error:
        raise UserError([f"{npz_path}: {problem}" for problem in error.problems]) from error


def _read_sidecar(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such sidecar beside the npz") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(document, dict):
        raise UserError(f"{path}: must hold a JSON object, not a {type(document).__name__}")
    return document


def _read_arrays(path: Path, payload: bytes) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    problems = []
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                refusal = _refusal(archive, member)
                if refusal is not None:
                    problems.append(f"{path}: array {name!r} {refusal}")
                elif name in ARRAY_NAMES:
                    with archive.open(member) as stream:
                        arrays[name] = npy_format.read_array(stream, allow_pickle=False)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise UserError(
            f"{path}: not a readable npz file, cut short or damaged ({error})"
        ) from error
    except (NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path}: an npz file of a kind that is not read ({error})") from error
    if problems:
        raise UserError(problems)
    return arrays


def _refusal(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str | None:
    """Says from an array's header alone why it must not be read, before any memory is claimed."""
    with archive.open(member) as stream:
        version = npy_format.read_magic(stream)
        read_header = (
            npy_format.read_array_header_1_0
            if version == (1, 0)
            else npy_format.read_array_header_2_0
        )
        shape, _, dtype = read_header(stream)
    if dtype.hasobject:
        return "is a pickled object array; pickles are never read"
    if math.prod(shape) * dtype.itemsize > member.file_size:
        return f"claims shape {shape}, more than the file holds"
    return None


def _shard(arrays: Mapping[str, NDArray[Any]], sidecar: dict[str, Any]) -> list[Trajectory]:
    trajectories, problems = [], []
    for k, (lane_arrays, lane_sidecar) in enumerate(_lanes(arrays, sidecar)):
        try:
            trajectories.append(_trajectory(lane_arrays, lane_sidecar))
        except UserError as error:
            problems += [f"lane {k}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(problems)
    return trajectories


def _lanes(
    arrays: Mapping[str, NDArray[Any]], sidecar: dict[str, Any]
) -> list[tuple[dict[str, NDArray[Any]], dict[str, Any]]]:
    lanes = sidecar.get("lanes")
    if not isinstance(lanes, list) or not all(isinstance(lane, dict) for lane in lanes):
        raise UserError("the sidecar of a shard must list its lanes as objects")
    misfits = [
        f"{name}: shape {array.shape}, but the sidecar lists {len(lanes)} lanes"
        for name, array in arrays.items()
        if array.ndim == 0 or len(array) != len(lanes)
    ]
    if misfits or not lanes:
        raise UserError(misfits or "the shard holds no lane")
    common = {key: value for key, value in sidecar.items() if key not in _SHARD_KEYS}
    return [
        ({name: array[k] for name, array in arrays.items()}, {**common, **lane})
        for k, lane in enumerate(lanes)
    ]


_SHARD_KEYS = ("layout", "lanes", "sha256")


def _trajectory(arrays: Mapping[str, NDArray[Any]], sidecar: Mapping[str, Any]) -> Trajectory:
    """Brings stored arrays and dtypes, older captures' included, to today's form."""
    metadata = {key: value for key, value in sidecar.items() if key != "sha256"}
    modern = _with_time_axis(arrays)
    listed = sidecar.get("training_arrays")
    lost = [n for n in listed if n in ARRAY_NAMES and n not in arrays] if _is_list(listed) else []
    if lost:
        raise UserError([f"array {name!r} is missing, the sidecar lists it" for name in lost])
    if "dones" in modern and "terminated" not in modern and "truncated" not in modern:
        modern["terminated"] = modern["dones"]
        modern["truncated"] = np.zeros_like(modern["dones"])
        metadata["terminated_from"] = "dones"
        log_probs = modern.get("old_log_probs")
        if log_probs is not None and log_probs.dtype.kind == "f" and not log_probs.any():
            modern["old_log_probs"] = np.full_like(log_probs, np.nan)
            metadata["log_probs_from"] = "zeros"
    missing = [name for name in REQUIRED if name not in modern]
    if missing:
        raise UserError([f"array {name!r} is missing" for name in missing])
    fitted = {name: _with_dtype(name, array) for name, array in modern.items()}
    return Trajectory(**fitted, metadata=metadata)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _with_time_axis(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Gives ``features (F,)`` and ``map (C, H, W)`` of a single step their first axis."""
    modern = dict(arrays)
    single = "actions" in modern and modern["actions"].shape[:1] == (1,)
    for name, rank in (("features", 1), ("map", 3), ("action_mask", 1)):
        if single and name in modern and modern[name].ndim == rank:
            modern[name] = modern[name][None]
    return modern


def _with_dtype(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Casts where nothing is lost that matters; what does not fit is left for the checks."""
    kind = array.dtype.kind
    if name in _FLAGS and kind in "iu" and array.size and 0 <= array.min() <= array.max() <= 1:
        return array.astype(np.bool_)
    if (name in _FLOATS and kind in "fiu") or (kind == "f" and array.dtype != np.float32):
        # a number beyond float32 becomes infinity here, which the checks then name
        with np.errstate(over="ignore"):
            return array.astype(np.float32)
    if name == "actions" and kind in "iu":
        return array.astype(np.int64)
    return array
