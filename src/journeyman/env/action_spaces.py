"""From a Gymnasium action space to a policy's outputs, and back to actions it contains.

Legend: L lanes, N outputs of the policy, D components of an action.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from journeyman.env.protocol import ActionKind
from journeyman.errors import NotFiniteError, TrainingError


class SpaceViolationError(ValueError):
    """An observation or an action is not one of its space.

    Attributes:
        lane: whose it is, where several were looked at.
        kind: what ends training for it.
    """

    def __init__(
        self,
        message: str,
        lane: int | None = None,
        kind: type[TrainingError] = TrainingError,
    ) -> None:
        super().__init__(message)
        self.lane, self.kind = lane, kind


@dataclass(frozen=True, kw_only=True)
class ActionLayout:
    """What a policy puts out for an action space.

    Attributes:
        kind: as ``LaneSpec.action_kind``, and so are the next four.
        names: ``action_3``; of a component's choice ``action_0.3``.
        sizes: choices of each component of a multi-discrete action.
        low: bounds of a box action.
        high: likewise.
        space: the environment's own.
    """

    kind: ActionKind
    names: tuple[str, ...]
    sizes: tuple[int, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    space: spaces.Space[Any]

    def prepared(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Returns actions as the environments take them, the first axis being the lanes.

        Args:
            actions: (L,) ids, (L, D) ids, or (L, D) numbers, which are clipped to the bounds.

        Raises:
            SpaceViolationError: if a lane's action does not exist or is not a number.
            ValueError: if the shape is wrong.
        """
        lanes, given = len(actions), np.asarray(actions)
        if given.shape != (lanes, *self._shape):
            raise ValueError(f"actions must be {('L', *self._shape)}, got {given.shape}")
        if self.kind == "box":
            return self._clipped(given)
        if given.dtype.kind not in "iu":
            raise ValueError(f"actions must be whole numbers, got {given.dtype}")
        ids = np.ascontiguousarray(given, np.int64)
        self._check_exist(ids)
        space: Any = self.space
        started = ids.reshape(lanes, *space.shape)
        if self._moved:
            started = started + space.start
        return started.astype(space.dtype, copy=False)

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        shapes = {"discrete": (), "multi_discrete": (len(self.sizes),)}
        return shapes.get(self.kind, (len(self.names),))

    @cached_property
    def _moved(self) -> bool:
        """Whether the environment's numbers begin elsewhere than at 0."""
        return bool(np.any(getattr(self.space, "start", 0)))

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return np.array(self.sizes or len(self.names), np.int64)

    def _check_exist(self, ids: NDArray[np.int64]) -> None:
        # Seen as unsigned a negative action is a large one: one pass finds both.
        if not (ids.view(np.uint64) >= self._sizes.view(np.uint64)).any():
            return
        lane = int(np.argwhere((ids < 0) | (ids >= self._sizes))[0, 0])
        raise SpaceViolationError(
            f"action {ids[lane].tolist()} does not exist; each is at least 0 and below "
            f"{self._sizes.tolist()}",
            lane,
        )

    def _clipped(self, given: NDArray[Any]) -> NDArray[Any]:
        space: Any = self.space
        shaped = given.reshape(len(given), *space.shape).astype(space.dtype)
        clipped: NDArray[Any] = np.clip(shaped, space.low, space.high)
        finite = np.isfinite(clipped)
        if not finite.all():
            lane = int(np.argwhere(~finite)[0, 0])
            what = f"action {given[lane].tolist()} is not finite"
            raise SpaceViolationError(what, lane, NotFiniteError)
        return clipped


def read_actions(space: spaces.Space[Any], problems: list[str]) -> ActionLayout | None:
    """Lays out an action space, or adds to ``problems`` why it cannot be used."""
    match space:
        case spaces.Discrete():
            first = int(space.start)
            names = tuple(f"action_{first + i}" for i in range(int(space.n)))
            return ActionLayout(kind="discrete", names=names, space=space)
        case spaces.MultiDiscrete():
            return _multi_discrete(space)
        case spaces.Box() if space.dtype is not None and space.dtype.kind == "f":
            return ActionLayout(
                kind="box",
                names=tuple(_components(space.shape)),
                low=tuple(space.low.reshape(-1).astype(float).tolist()),
                high=tuple(space.high.reshape(-1).astype(float).tolist()),
                space=space,
            )
        case _:
            dtype = f" of {space.dtype}" if isinstance(space, spaces.Box) else ""
            problems.append(
                f"action space: {type(space).__name__}{dtype} cannot be played; allowed: "
                "Discrete, MultiDiscrete, Box of floats"
            )
            return None


def _multi_discrete(space: spaces.MultiDiscrete) -> ActionLayout:
    sizes = tuple(int(size) for size in space.nvec.reshape(-1))
    starts = np.broadcast_to(getattr(space, "start", 0), space.nvec.shape).reshape(-1)
    names = tuple(
        f"{component}.{int(start) + i}"
        for component, start, size in zip(_components(space.nvec.shape), starts, sizes, strict=True)
        for i in range(size)
    )
    return ActionLayout(kind="multi_discrete", names=names, sizes=sizes, space=space)


def _components(shape: tuple[int, ...]) -> list[str]:
    if shape == ():
        return ["action"]
    return [f"action_{'_'.join(map(str, index))}" for index in np.ndindex(*shape)]
