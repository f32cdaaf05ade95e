"""Everything a run is, at one moment: saved atomically, restored bit for bit.

A checkpoint is a flat mapping of arrays and a JSON document, in one safetensors file. Array
names are ``owner/name`` (``policy/...``, ``optimizer/...``, ``env/...``). The JSON document has
the parts that are no arrays; of these ``generators`` belongs to what a rollback restores, and
``counters`` (environment steps spent, epochs, updates) does not: spent is spent.
"""

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from journeyman.errors import UserError

FORMAT_VERSION = 1
_REMEDY = "name another, or restore a copy of it"


@dataclass(frozen=True)
class Checkpoint:
    """A frozen state of a run.

    Attributes:
        arrays: name -> array; the arrays are made read-only copies on construction.
        state: JSON-able values: ``generators``, ``counters``, ``schedule``, ``spec``, ...
    """

    arrays: Mapping[str, NDArray[Any]]
    state: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frozen: dict[str, NDArray[Any]] = {}
        for name in sorted(self.arrays):
            array = np.array(self.arrays[name], order="C")
            array.flags.writeable = False
            frozen[name] = array
        object.__setattr__(self, "arrays", MappingProxyType(frozen))
        object.__setattr__(self, "state", json.loads(json.dumps(dict(self.state))))

    def part(self, owner: str) -> dict[str, NDArray[Any]]:
        """Returns the arrays of one owner, without the ``owner/`` prefix."""
        prefix = f"{owner}/"
        return {
            name.removeprefix(prefix): array
            for name, array in self.arrays.items()
            if name.startswith(prefix)
        }

    def with_parts(self, parts: Mapping[str, Mapping[str, NDArray[Any]]], **state: Any) -> Self:
        """Returns a checkpoint in which whole owners and top-level state keys are replaced."""
        kept = {
            name: array for name, array in self.arrays.items() if name.split("/")[0] not in parts
        }
        added = {
            f"{owner}/{name}": array
            for owner, arrays in parts.items()
            for name, array in arrays.items()
        }
        return replace(self, arrays={**kept, **added}, state={**self.state, **state})

    def as_start(self, generators: Mapping[str, Any]) -> Self:
        """Returns the policy in this checkpoint as the start of another run.

        Weights, optimisers, normalisers, specs and counters come along; lanes, schedule and
        generators are the new run's, so that its seed means something.

        Args:
            generators: states of the new run's generators (``SeedPlan.state()``).
        """
        owners = ("policy", "bc_optimizer", "ppo_optimizer", "normalizer")
        arrays = {
            name: array for name, array in self.arrays.items() if name.split("/")[0] in owners
        }
        left_behind = ("env", "schedule", "tracker", "generators", "course")
        state = {name: value for name, value in self.state.items() if name not in left_behind}
        return replace(self, arrays=arrays, state={**state, "generators": dict(generators)})

    def digest(self, *owners: str) -> str:
        """Returns a SHA-256 over arrays and generator states; counters do not enter.

        Args:
            owners: if given, only the arrays of these owners enter (``digest("policy")`` is
                the digest of the weights alone).
        """
        sha = hashlib.sha256()
        for name, array in self.arrays.items():
            if owners and name.split("/")[0] not in owners:
                continue
            sha.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
            sha.update(array.tobytes())
        if not owners:
            sha.update(json.dumps(self.state.get("generators"), sort_keys=True).encode())
        return sha.hexdigest()


EMPTY = Checkpoint({})


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Writes a checkpoint so that ``path`` holds either the old or the new one, never half.

    Raises:
        OSError: if the folder cannot be written; an existing file is then untouched.
    """
    from safetensors.numpy import save

    about = {
        "format": FORMAT_VERSION,
        "checksum": _checksum(checkpoint),
        "state": checkpoint.state,
    }
    header = {"journeyman": json.dumps(about)}
    payload = save(dict(checkpoint.arrays), metadata=header)
    write_atomically(path, payload)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint; nothing in it is ever executed.

    Raises:
        UserError: if the file is missing, damaged or not a journeyman checkpoint.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, framework="numpy") as reader:
            metadata = reader.metadata() or {}
            arrays = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:  # also of the encoding
        raise UserError(f"{path}: not a readable checkpoint ({error}); {_REMEDY}") from error
    if "journeyman" not in metadata:
        raise UserError(f"{path}: a safetensors file, but not written by journeyman")
    try:
        about = json.loads(metadata["journeyman"])
        version, state = about["format"], dict(about["state"])
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: a damaged checkpoint ({error!r}); {_REMEDY}") from error
    if version != FORMAT_VERSION:
        raise UserError(f"{path}: checkpoint format {version}; this version reads {FORMAT_VERSION}")
    checkpoint = Checkpoint(arrays, state)
    # Those of earlier versions have none.
    if about.get("checksum") not in (None, _checksum(checkpoint)):
        raise UserError(f"{path}: a damaged checkpoint (its checksum differs); {_REMEDY}")
    return checkpoint


def _checksum(checkpoint: Checkpoint) -> int:
    """Returns a CRC-32 over all there is: against damage, at a cost that no run notices."""
    crc = zlib.crc32(json.dumps(checkpoint.state).encode())
    for name, array in checkpoint.arrays.items():
        crc = zlib.crc32(f"{name}:{array.dtype.str}:{array.shape}".encode(), crc)
        crc = zlib.crc32(array.data, crc)
    return crc


def write_atomically(path: Path, payload: bytes) -> None:
    """Writes bytes to a temporary neighbour, syncs it to disk and renames it over ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def write_json(path: Path, document: Any) -> None:
    """Writes a JSON document atomically; NaN and infinity are refused (``ValueError``)."""
    text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(path, text.encode() + b"\n")
