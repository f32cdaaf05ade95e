"""What kind of actions a trajectory holds, by its arrays and its sidecar.

Legend: T steps, N outputs of a policy, D components of an action.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.env.protocol import ActionKind, LaneSpec
from journeyman.policies.actions import mask_allows


@dataclass(frozen=True, kw_only=True)
class ActionSpace:
    """The part of a lane spec that says what an action is; fields as there."""

    kind: ActionKind
    sizes: tuple[int, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __str__(self) -> str:
        """Returns it in words, e.g. ``multi-discrete actions of 3 and 2 choices``."""
        match self.kind:
            case "discrete":
                return "discrete actions"
            case "multi_discrete":
                return f"multi-discrete actions of {' and '.join(map(str, self.sizes))} choices"
            case "box":
                return f"continuous actions of {len(self.low)} components"


def action_metadata(spec: LaneSpec) -> dict[str, Any]:
    """Returns what a sidecar says of a lane's actions, beyond their names.

    Discrete actions need no more. Infinite bounds are strings, which JSON has no numbers for.
    """
    if spec.action_kind == "discrete":
        return {}
    document = spec.to_json()
    keys = ("action_kind", "action_sizes", "action_low", "action_high")
    return {key: document[key] for key in keys if document[key]}


def kind_of(actions: NDArray[Any]) -> ActionKind:
    """Returns the kind that an array of actions can only be, (T,) or (T, D)."""
    if actions.dtype.kind == "f":
        return "box"
    return "discrete" if actions.ndim == 1 else "multi_discrete"


def action_space(actions: NDArray[Any], metadata: Mapping[str, Any]) -> ActionSpace:
    """Returns the space of a trajectory's actions; bounds that nobody recorded are infinite."""
    match kind_of(actions):
        case "discrete":
            return ActionSpace(kind="discrete")
        case "multi_discrete":
            return ActionSpace(kind="multi_discrete", sizes=tuple(metadata["action_sizes"]))
        case "box":
            count = actions.shape[1]
            low = metadata.get("action_low") or [-math.inf] * count
            high = metadata.get("action_high") or [math.inf] * count
            return ActionSpace(kind="box", low=tuple(map(float, low)), high=tuple(map(float, high)))


def action_problems(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> list[str]:
    """Says what keeps actions, mask and sidecar from fitting together, the first thing only."""
    actions, mask = arrays["actions"], arrays.get("action_mask")
    kind, told = kind_of(actions), metadata.get("action_kind")
    if told is not None and told != kind:
        return [
            f"action_kind: {told!r}, but actions of {actions.dtype} and shape {actions.shape} "
            f"are {kind}"
        ]
    match kind:
        case "discrete":
            problems, count = _discrete_problems(actions, mask, metadata), None
        case "multi_discrete":
            problems, count = _multi_discrete_problems(actions, metadata), None
            if not problems:
                count = sum(metadata["action_sizes"])
        case "box":
            problems, count = _box_problems(actions, mask, metadata), actions.shape[1]
    names = metadata.get("action_names")
    if not problems and count is not None and isinstance(names, list) and len(names) != count:
        problems = [f"action_names: {len(names)} names, but {count} are needed"]
    if problems or mask is None:
        return problems
    if count is not None and mask.shape[1] != count:
        return [f"action_mask: {mask.shape[1]} columns, but {count} choices"]
    sizes = tuple(metadata["action_sizes"]) if kind == "multi_discrete" else ()
    return _masked_out(actions, mask, sizes)


def _discrete_problems(
    actions: NDArray[Any], mask: NDArray[Any] | None, metadata: Mapping[str, Any]
) -> list[str]:
    if (actions < 0).any():
        return [f"actions: {int(actions.min())} is negative"]
    names, highest = metadata.get("action_names"), int(actions.max())
    if isinstance(names, list) and highest >= len(names):
        return [f"actions: {highest} has no name among the {len(names)} action_names"]
    if mask is None:
        return []
    if isinstance(names, list) and mask.shape[1] != len(names):
        return [f"action_mask: {mask.shape[1]} columns, but {len(names)} action_names"]
    if highest >= mask.shape[1]:
        return [f"actions: {highest} lies beyond action_mask's {mask.shape[1]} columns"]
    return []


def _multi_discrete_problems(actions: NDArray[Any], metadata: Mapping[str, Any]) -> list[str]:
    sizes = metadata.get("action_sizes")
    if not isinstance(sizes, list) or not all(type(size) is int and size > 0 for size in sizes):
        return [
            f"action_sizes: actions of shape {actions.shape} need the choices of each of their "
            f"{actions.shape[1]} components as a list, not {sizes!r}"
        ]
    if len(sizes) != actions.shape[1]:
        return [f"action_sizes: {len(sizes)} for actions of {actions.shape[1]} components"]
    outside = (actions < 0) | (actions >= np.array(sizes))
    if outside.any():
        step, component = (int(i) for i in np.argwhere(outside)[0])
        return [
            f"actions: component {component} is {int(actions[step, component])} in step {step}, "
            f"outside [0, {sizes[component]})"
        ]
    return []


def _box_problems(
    actions: NDArray[Any], mask: NDArray[Any] | None, metadata: Mapping[str, Any]
) -> list[str]:
    if mask is not None:
        return ["action_mask: continuous actions have none"]
    for key in ("action_low", "action_high"):
        bounds = metadata.get(key)
        if bounds is not None and not _is_bounds(bounds, actions.shape[1]):
            return [
                f"{key}: must list {actions.shape[1]} numbers, or 'inf' and '-inf', not {bounds!r}"
            ]
    return []


def _is_bounds(bounds: Any, count: int) -> bool:
    return (
        isinstance(bounds, list)
        and len(bounds) == count
        and all(type(b) in (int, float) or b in ("inf", "-inf") for b in bounds)
    )


def _masked_out(
    actions: NDArray[Any], mask: NDArray[np.bool_], sizes: tuple[int, ...]
) -> list[str]:
    forbidden = ~mask_allows(mask, actions, sizes)
    if not forbidden.any():
        return []
    step = int(np.flatnonzero(forbidden)[0])
    return [
        f"actions: masked out in {int(forbidden.sum())} steps, first in step {step} "
        f"(action {actions[step].tolist()})"
    ]
