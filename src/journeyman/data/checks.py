"""Which arrays make a trajectory, and which make demonstrations: every misfit as a sentence.

Legend: T steps of one lane, S steps of all trajectories, F features, C x H x W map, N actions.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.data.action_space import action_problems
from journeyman.env.protocol import LaneSpec

REQUIRED = (
    "features",
    "actions",
    "old_log_probs",
    "value_preds",
    "rewards",
    "dones",
    "terminated",
    "truncated",
)

_DTYPES: dict[str, tuple[str, ...]] = {
    "features": ("float32",),
    "map": ("uint8", "float32"),
    "actions": ("int64", "float32"),
    "old_log_probs": ("float32",),
    "value_preds": ("float32",),
    "rewards": ("float32",),
    "dones": ("bool",),
    "terminated": ("bool",),
    "truncated": ("bool",),
    "action_mask": ("bool",),
    "final_features": ("float32",),
    "final_map": ("uint8", "float32"),
}
_MAY_BE_NAN = ("old_log_probs", "value_preds")


def trajectory_problems(
    arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
) -> list[str]:
    """Says, a sentence each, what keeps these arrays and this sidecar from being a trajectory."""
    problems = [f"array {name!r} is missing" for name in REQUIRED if name not in arrays]
    problems += [
        f"{name}: dtype {array.dtype}, expected {' or '.join(_DTYPES[name])}"
        for name, array in arrays.items()
        if array.dtype.name not in _DTYPES[name]
    ]
    if problems:
        return problems
    problems = _shape_problems(arrays)
    if problems:
        return problems
    return [
        *_number_problems(arrays),
        *action_problems(arrays, metadata),
        *_metadata_problems(arrays, metadata),
    ]


def _shape_problems(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    features = arrays["features"]
    least = 0 if "map" in arrays else 1  # a picture may be all there is to see
    if features.ndim != 2 or features.shape[0] == 0 or features.shape[1] < least:
        return [f"features: shape {features.shape}, expected (T, F) with T and F at least 1"]
    steps, width = features.shape
    allowed: dict[str, list[tuple[int, ...]]] = {
        name: [(steps,)]
        for name in ("old_log_probs", "rewards", "dones", "terminated", "truncated")
    }
    allowed["value_preds"] = [(steps,), (steps + 1,)]
    allowed["final_features"] = [(width,)]
    problems = [
        f"{name}: shape {arrays[name].shape}, expected {' or '.join(map(str, shapes))} "
        f"beside features {features.shape}"
        for name, shapes in allowed.items()
        if name in arrays and arrays[name].shape not in shapes
    ]
    ranks = {"map": (4,), "action_mask": (2,), "actions": (1, 2) if _chooses(arrays) else (2,)}
    problems += [
        f"{name}: shape {arrays[name].shape}, expected {' or '.join(map(str, fitting))} "
        f"dimensions, the first of {steps}"
        for name, fitting in ranks.items()
        if name in arrays and (arrays[name].ndim not in fitting or len(arrays[name]) != steps)
    ]
    if arrays["actions"].ndim == 2 and arrays["actions"].shape[1] == 0:
        problems.append("actions: have no component")
    grid, final = arrays.get("map"), arrays.get("final_map")
    if final is not None and (grid is None or final.shape != grid.shape[1:]):
        beside = "no map" if grid is None else f"map {grid.shape}"
        problems.append(f"final_map: shape {final.shape} does not fit beside {beside}")
    return problems


def _chooses(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Whether actions are choices, of one component or several, and not continuous."""
    return arrays["actions"].dtype.kind == "i"


def _number_problems(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    problems = []
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            continue
        bad = np.isinf(array) if name in _MAY_BE_NAN else ~np.isfinite(array)
        if bad.any():
            where = tuple(int(i) for i in np.argwhere(bad)[0])
            kind = "infinity" if name in _MAY_BE_NAN else "NaN or infinity"
            problems.append(
                f"{name}: {kind} in {int(bad.sum())} of {array.size} values, first at {where}"
            )
    log_probs = arrays["old_log_probs"]
    if _chooses(arrays) and (log_probs > 1e-5).any():
        problems.append(
            f"old_log_probs: {float(np.nanmax(log_probs)):.4g} is above 0, and no log-probability "
            "of a discrete action is"
        )
    ends = arrays["terminated"] | arrays["truncated"]
    if (arrays["dones"] != ends).any():
        step = int(np.flatnonzero(arrays["dones"] != ends)[0])
        problems.append(f"dones: step {step} is not terminated or truncated as dones says")
    return problems


def _metadata_problems(
    arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
) -> list[str]:
    problems = []
    for key in ("feature_names", "map_channels", "action_names"):
        names = metadata.get(key)
        if names is None:
            continue
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            problems.append(f"{key}: must be a list of names")
        elif len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            problems.append(f"{key}: {twice[:5]} appear more than once")
    if problems:
        return problems
    names, width = metadata.get("feature_names"), arrays["features"].shape[1]
    if names is not None and len(names) != width:
        problems.append(f"feature_names: {len(names)} names, but features have {width} columns")
    problems += _map_problems(arrays.get("map"), metadata)
    lookup = metadata.get("action_lookup", {})
    if not isinstance(lookup, dict) or not all(type(number) is int for number in lookup.values()):
        problems.append("action_lookup: must map action names to whole numbers")
    elif len(set(lookup.values())) != len(lookup) or min(lookup.values(), default=0) < 0:
        problems.append("action_lookup: two names share an id, or an id is negative")
    forced = metadata.get("forced_actions", [])
    if not isinstance(forced, list) or not all(type(number) is int for number in forced):
        problems.append("forced_actions: must be a list of action ids")
    problems += [
        f"{key}: must be text"
        for key in ("env_id", "group", "policy", "agent_id")
        if not isinstance(metadata.get(key, ""), str | int)
    ]
    if not isinstance(metadata.get("metrics", {}), dict):
        problems.append("metrics: must map names to numbers")
    return problems


def _map_problems(grid: NDArray[Any] | None, metadata: Mapping[str, Any]) -> list[str]:
    if grid is None:
        return []
    problems = []
    scale = metadata.get("map_scale", 1.0)
    if type(scale) not in (int, float) or not 0.0 < scale < math.inf:
        problems.append(f"map_scale: must be a number above 0, not {scale!r}")
    shape, channels = metadata.get("map_shape"), metadata.get("map_channels")
    if shape is not None and list(grid.shape[1:]) != shape:
        problems.append(f"map_shape: {shape}, but map is {list(grid.shape[1:])} a step")
    if channels is not None and len(channels) != grid.shape[1]:
        problems.append(
            f"map_channels: {len(channels)} names, but map has {grid.shape[1]} channels"
        )
    return problems


def demonstration_problems(
    arrays: Mapping[str, NDArray[Any]], spec: LaneSpec, splits: Sequence[str]
) -> list[str]:
    """Says, a sentence each, what keeps these arrays from being demonstrations of this spec."""
    steps, trajectories = len(arrays["actions"]), len(arrays["groups"])
    actions = len(spec.action_names)
    expected: dict[str, tuple[str, tuple[int, ...]]] = {
        "features": ("float32", (steps, len(spec.feature_names))),
        "actions": (spec.action_dtype.name, (steps, *spec.action_shape)),
        "action_mask": ("bool", (steps, actions)),
        "weights": ("float32", (steps,)),
        "trajectory_ids": ("int64", (steps,)),
        "groups": ("int64", (trajectories,)),
    }
    if spec.map_shape is not None:
        expected["map"] = ("uint8", (steps, *spec.map_shape))
    problems = [f"{name}: the lane spec has none" for name in arrays if name not in expected]
    problems += [
        f"{name}: {arrays[name].dtype} {arrays[name].shape}, expected {dtype} {shape}"
        for name, (dtype, shape) in expected.items()
        if name in arrays and (arrays[name].dtype.name, arrays[name].shape) != (dtype, shape)
    ]
    if (spec.map_shape is None) != ("map" not in arrays):
        problems.append(f"map: the lane spec says {spec.map_shape}")
    if spec.has_action_mask != ("action_mask" in arrays):
        problems.append(f"action_mask: the lane spec says has_action_mask={spec.has_action_mask}")
    if steps == 0:
        problems.append("demonstrations hold no step")
    if splits and len(splits) != trajectories:
        problems.append(f"splits: {len(splits)} for {trajectories} trajectories")
    if problems:
        return problems
    problems += _range_problems(arrays["actions"], spec)
    ids = arrays["trajectory_ids"]
    if not 0 <= ids.min() <= ids.max() < trajectories:
        problems.append(f"trajectory_ids: outside [0, {trajectories})")
    weights = arrays["weights"]
    if not (np.isfinite(weights).all() and (weights >= 0).all() and (weights > 0).any()):
        problems.append("weights: must be finite and at least 0, and not all 0")
    if not np.isfinite(arrays["features"]).all():
        problems.append("features: NaN or infinity")
    return problems


def _range_problems(actions: NDArray[Any], spec: LaneSpec) -> list[str]:
    if spec.action_kind == "box":
        return [] if np.isfinite(actions).all() else ["actions: NaN or infinity"]
    limits = np.array(spec.action_sizes or len(spec.action_names))
    if ((actions < 0) | (actions >= limits)).any():
        return [f"actions: outside [0, {limits.tolist()})"]
    return []
