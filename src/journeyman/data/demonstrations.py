"""Trajectories of one kind joined into demonstrations.

Legend: S steps of all trajectories, C x H x W map, N actions.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from journeyman.data.action_space import ActionSpace, action_space
from journeyman.data.manifest import Sample
from journeyman.data.trajectory import Demonstrations, Trajectory
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError


def join(
    samples: Sequence[Sample], label: str, warnings: Iterable[str] = (), *, origin: str = ""
) -> Demonstrations:
    """Joins trajectories of one spec, whatever their lengths, in their order.

    Trajectories whose sidecars name the same ``group`` form one; the others stand alone
    (equal ones together), which a warning says.

    Args:
        samples: at least one.
        label: whose play it is.
        warnings: what is known to be doubtful already.
        origin: where they come from.

    Raises:
        UserError: naming every sample that does not fit the first.
    """
    spec = common_spec(samples)
    maps = _maps(samples) if spec.map_shape is not None else None
    trajectories = [sample.trajectory for sample in samples]
    lengths = [len(trajectory) for trajectory in trajectories]
    masks = [t.action_mask for t in trajectories if t.action_mask is not None]
    splits = tuple(sample.split for sample in samples)
    return Demonstrations(
        features=np.concatenate([trajectory.features for trajectory in trajectories]),
        map=maps,
        actions=np.concatenate([trajectory.actions for trajectory in trajectories]),
        action_mask=np.concatenate(masks) if spec.has_action_mask else None,
        weights=np.repeat(np.array([s.weight for s in samples], np.float32), lengths),
        trajectory_ids=np.repeat(np.arange(len(samples)), lengths),
        groups=_groups(samples),
        lane_spec=spec,
        label=label,
        splits=splits if any(splits) else (),
        warnings=tuple(dict.fromkeys([*warnings, *_warnings(samples)])),
        origin=origin,
    )


def split_rows(
    demonstrations: Demonstrations, val_fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the rows to train on and those held out, by whole groups of trajectories.

    The generator is made anew from ``seed``: every stage of a run holds out the same rows, so
    that what one stage is judged by was not trained on in another.

    Raises:
        UserError: if one side would be empty.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    return demonstrations.split(val_fraction, rng=rng)


def spec_of(trajectory: Trajectory) -> LaneSpec:
    """Returns what a trajectory's arrays and sidecar say of its lane.

    Map channels and actions without a name are numbered.
    """
    return _spec(trajectory, _numbered(trajectory.known_actions, _action_count(trajectory)))


def common_spec(samples: Sequence[Sample]) -> LaneSpec:
    """Returns the one spec of all samples.

    Old captures name only the actions they contain; what one leaves unnamed another may name.

    Raises:
        UserError: naming every sample that differs from the first, and how.
    """
    _refuse_mixed_actions(samples)
    names: dict[int, str] = {}
    named_by: dict[int, str] = {}
    problems = []
    for sample in samples:
        for number, name in sample.trajectory.known_actions.items():
            if names.setdefault(number, name) != name:
                problems.append(
                    f"{sample.name}: action {number} is {name!r}, "
                    f"in {named_by[number]} it is {names[number]!r}"
                )
            named_by.setdefault(number, sample.name)
    count = max(_action_count(sample.trajectory) for sample in samples)
    action_names = _numbered(names, count)
    first = _spec(samples[0].trajectory, action_names)
    for sample in samples[1:]:
        spec = _spec(sample.trajectory, action_names)
        if spec == first:
            continue
        found = first.mismatches(spec)
        if spec.has_action_mask != first.has_action_mask:
            found.append(f"action_mask: expected {first.has_action_mask}, got the opposite")
        if spec.forced_actions != first.forced_actions:
            found.append(
                f"forced_actions: expected {first.forced_actions}, got {spec.forced_actions}"
            )
        problems += [f"{sample.name}: {p}, as in {samples[0].name}" for p in found]
    for sample in samples:
        mask = sample.trajectory.action_mask
        if mask is not None and mask.shape[1] != count:
            problems.append(f"{sample.name}: action_mask has {mask.shape[1]} of {count} actions")
        full = sample.trajectory.metadata.get("action_names")
        if full is not None and len(full) != count:
            problems.append(f"{sample.name}: {len(full)} action_names of {count} actions")
    if problems:
        raise UserError(problems)
    return first


def _refuse_mixed_actions(samples: Sequence[Sample]) -> None:
    """Raises ``UserError`` naming every sample whose actions are of another kind or size."""
    spaces = [_action_space(sample.trajectory) for sample in samples]
    shapes = [(space.kind, space.sizes, len(space.low)) for space in spaces]
    problems = [
        f"{sample.name}: {space}, but {spaces[0]} in {samples[0].name}; one policy cannot have both"
        for sample, space, shape in zip(samples, spaces, shapes, strict=True)
        if shape != shapes[0]
    ]
    if problems:
        raise UserError(problems)


def _action_space(trajectory: Trajectory) -> ActionSpace:
    return action_space(trajectory.actions, trajectory.metadata)


def gather_warnings(found: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[str, ...]:
    """Returns each warning once, with how many trajectories it holds for.

    Args:
        found: the name and the warnings of every trajectory.
    """
    holders: dict[str, list[str]] = {}
    for name, warnings in found:
        for warning in warnings:
            holders.setdefault(warning, []).append(name)
    return tuple(
        f"{len(names)} of {len(found)} trajectories (first {names[0]}): {warning}"
        for warning, names in holders.items()
    )


def _spec(trajectory: Trajectory, action_names: tuple[str, ...]) -> LaneSpec:
    metadata, grid = trajectory.metadata, trajectory.map
    shape, channels = None, ()
    if grid is not None:
        shape = (grid.shape[1], grid.shape[2], grid.shape[3])
        names = metadata.get("map_channels") or [f"channel_{c}" for c in range(shape[0])]
        channels = tuple(names)
    space = _action_space(trajectory)
    return LaneSpec(
        env_id=str(metadata.get("env_id", "unrecorded")),
        feature_names=trajectory.feature_names,
        action_names=action_names,
        map_channels=channels,
        map_shape=shape,
        has_action_mask=trajectory.action_mask is not None,
        forced_actions=tuple(metadata.get("forced_actions", ())),
        action_kind=space.kind,
        action_sizes=space.sizes,
        action_low=space.low,
        action_high=space.high,
        map_scale=float(metadata.get("map_scale", 1.0)),
    )


def _action_count(trajectory: Trajectory) -> int:
    space = _action_space(trajectory)
    if space.kind != "discrete":
        return sum(space.sizes) + len(space.low)
    counts = [int(trajectory.actions.max()) + 1, *(n + 1 for n in trajectory.known_actions)]
    if trajectory.action_mask is not None:
        counts.append(trajectory.action_mask.shape[1])
    return max(counts)


def _numbered(names: dict[int, str], count: int) -> tuple[str, ...]:
    return tuple(names.get(number, f"action_{number}") for number in range(count))


def _maps(samples: Sequence[Sample]) -> NDArray[np.uint8]:
    """Returns the maps as uint8; float maps are taken where nothing is lost."""
    problems, maps = [], []
    for sample in samples:
        grid = sample.trajectory.map
        assert grid is not None
        if grid.dtype != np.uint8:
            with np.errstate(invalid="ignore"):
                whole = grid.astype(np.uint8)
            if (whole != grid).any():
                problems.append(
                    f"{sample.name}: map holds fractions or values outside 0..255; "
                    "environments show whole numbers"
                )
            grid = whole
        maps.append(grid)
    if problems:
        raise UserError(problems)
    return np.concatenate(maps)


def _warnings(samples: Sequence[Sample]) -> list[str]:
    found = list(gather_warnings([(s.name, s.trajectory.warnings) for s in samples]))
    ungrouped = sum("group" not in sample.trajectory.metadata for sample in samples)
    if ungrouped:
        found.append(
            f"{ungrouped} of {len(samples)} trajectories do not record their world: agents of "
            "one world may stand on both sides of the held-out split"
        )
    worlds = sorted({str(s.trajectory.metadata.get("env_id", "unrecorded")) for s in samples})
    if len(worlds) > 1:
        found.append(f"trajectories of several environments are mixed: {', '.join(worlds)}")
    return found


def _groups(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """Returns each trajectory's group, numbered as they appear."""
    keys = [
        ("group", str(sample.trajectory.metadata["group"]))
        if "group" in sample.trajectory.metadata
        else ("trajectory", sample.trajectory.digest)
        for sample in samples
    ]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], np.int64)
