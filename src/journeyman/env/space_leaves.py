"""The leaves of a Gymnasium observation space: what each becomes, and how it is written.

Legend: n rows written at once, F features of one leaf, D components, C x H x W map.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from journeyman.env.action_spaces import SpaceViolationError

Path = tuple[str | int, ...]
Put = Callable[[NDArray[Any], NDArray[np.float32]], None]


@dataclass(frozen=True)
class Part:
    """A leaf of the observation space that becomes features."""

    path: Path
    shape: tuple[int, ...]
    columns: slice
    put: Put


@dataclass(frozen=True)
class Picture:
    """The leaf that becomes the map: its shape, and the axes that bring its channels forward."""

    path: Path
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    map_shape: tuple[int, int, int]
    highest: int


FLAT = (spaces.Box, spaces.MultiBinary)


def leaves_of(
    space: spaces.Space[Any], path: Path = ()
) -> Iterator[tuple[Path, spaces.Space[Any]]]:
    if isinstance(space, spaces.Dict):
        for key, child in space.spaces.items():
            yield from leaves_of(child, (*path, key))
    elif isinstance(space, spaces.Tuple):
        for position, child in enumerate(space.spaces):
            yield from leaves_of(child, (*path, position))
    else:
        yield path, space


def features_of(path: Path, space: spaces.Space[Any]) -> tuple[list[str], Put] | None:
    """Returns the names of a leaf's features and what writes them, or None: no numbers."""
    name = place_of(path) if path else ""
    match space:
        case spaces.Discrete():
            start, count = int(space.start), int(space.n)
            values = [f"{name or 'state'}={start + i}" for i in range(count)]
            return values, _one_hot(np.array([start]), np.array([count]))
        case spaces.MultiDiscrete():
            sizes = space.nvec.reshape(-1)
            starts = getattr(space, "start", np.zeros_like(space.nvec)).reshape(-1)
            cells = _cells(f"{name}." if name else "state_", space.nvec.shape)
            values = [
                f"{cell}={start + i}"
                for cell, start, size in zip(cells, starts, sizes, strict=True)
                for i in range(size)
            ]
            return values, _one_hot(starts, sizes)
        case spaces.MultiBinary():
            return _cells(f"{name}." if name else "bit_", space.shape), _binary
        case spaces.Box() if space.dtype is not None and space.dtype.kind in "fiub":
            if space.shape == ():
                return [name or "obs"], _numbers
            return _cells(f"{name}." if name else "obs_", space.shape), _numbers
        case _:
            return None


def picture_of(path: Path, space: spaces.Space[Any]) -> Picture | None:
    """Returns a box of bytes as a picture: (H, W), (H, W, C), (C, H, W) or (K, H, W, C)."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8:
        return None
    shape = space.shape
    axes: tuple[int, ...]
    match len(shape):
        case 2:
            axes, map_shape = (0, 1), (1, shape[0], shape[1])
        case 3 if shape[0] < shape[2]:
            axes, map_shape = (0, 1, 2), (shape[0], shape[1], shape[2])
        case 3:
            axes, map_shape = (2, 0, 1), (shape[2], shape[0], shape[1])
        case 4:
            axes, map_shape = (0, 3, 1, 2), (shape[0] * shape[3], shape[1], shape[2])
        case _:
            return None
    return Picture(path, shape, axes, map_shape, max(1, int(space.high.max(initial=1))))


def _cells(prefix: str, shape: tuple[int, ...]) -> list[str]:
    return [f"{prefix}{'_'.join(map(str, index))}" for index in np.ndindex(*shape)]


def place_of(path: Path) -> str:
    """Names a leaf.

    >>> place_of(("hand", 0)), place_of((1, "card"))
    ('hand.0', 'part_1.card')
    """
    first = "" if not path else f"part_{path[0]}" if isinstance(path[0], int) else path[0]
    return ".".join([first, *map(str, path[1:])]) or "the observation"


def kind_of(space: spaces.Space[Any]) -> str:
    dtype = f" of {space.dtype}" if isinstance(space, spaces.Box) else ""
    return f"{type(space).__name__}{dtype}"


def at_path(obs: Any, path: Path) -> Any:
    try:
        for key in path:
            obs = obs[key]
    except (KeyError, TypeError, IndexError) as error:
        raise SpaceViolationError(f"{place_of(path)} is missing") from error
    return obs


def changed_shape(
    path: Path, got: tuple[int, ...], expected: tuple[int, ...]
) -> SpaceViolationError:
    return SpaceViolationError(f"{place_of(path)} has shape {got}, its space says {expected}")


def put_part(part: Part, value_n: NDArray[Any], features_nF: NDArray[np.float32]) -> None:
    try:
        part.put(value_n, features_nF[:, part.columns])
    except SpaceViolationError as error:
        raise SpaceViolationError(f"{place_of(part.path)} {error}") from error


def _numbers(value_n: NDArray[Any], out_nF: NDArray[np.float32]) -> None:
    if value_n.dtype.kind not in "fiub":
        raise SpaceViolationError(f"is of {value_n.dtype}, which is no number")
    out_nF[:] = value_n.reshape(out_nF.shape)


def _binary(value_n: NDArray[Any], out_nF: NDArray[np.float32]) -> None:
    _numbers(value_n, out_nF)
    if not ((out_nF == 0) | (out_nF == 1)).all():
        raise SpaceViolationError("holds something other than 0 and 1")


def _one_hot(starts: NDArray[Any], sizes: NDArray[Any]) -> Put:
    """Returns what writes (n, D) values as D blocks of ones and zeros side by side."""
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)

    def put(value_n: NDArray[Any], out_nF: NDArray[np.float32]) -> None:
        if value_n.dtype.kind not in "iu":
            raise SpaceViolationError(f"is of {value_n.dtype}, which is no whole number")
        ids = value_n.reshape(len(value_n), -1).astype(np.int64) - starts
        if ((ids < 0) | (ids >= sizes)).any():
            raise SpaceViolationError(f"is {value_n.tolist()}, which is outside its space")
        out_nF[:] = 0.0
        np.put_along_axis(out_nF, ids + offsets, np.float32(1.0), axis=1)

    return put


def flat_mask(mask: Any) -> NDArray[np.bool_]:
    """Returns a mask as one row; that of several components may be a tuple of arrays."""
    if isinstance(mask, tuple | list):
        return np.concatenate([np.asarray(one).reshape(-1) for one in mask]).astype(np.bool_)
    return np.asarray(mask).reshape(-1).astype(np.bool_)
