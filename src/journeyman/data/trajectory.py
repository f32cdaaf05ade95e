"""Trajectories and demonstrations in memory.

Legend: T steps of one lane, S steps of all trajectories, F features, C x H x W map, N actions,
D components of an action.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from journeyman.data.checks import demonstration_problems, trajectory_problems
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError

ARRAY_NAMES = (
    "features",
    "map",
    "actions",
    "old_log_probs",
    "value_preds",
    "rewards",
    "dones",
    "terminated",
    "truncated",
    "action_mask",
    "final_features",
    "final_map",
)
"""The arrays of a trajectory, in the order they enter its digest."""

CONFLICT_FEATURES = ("rivalry_max", "rivalry_avoid_count")
"""Features of the town that batch summaries report."""

Split = Literal["", "train", "val"]
"""Which side of the held-out split a manifest asks for; empty: whichever is drawn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """One lane's consecutive steps; ends of its lives and episodes are marked inside.

    Arrays are kept as read-only views: whoever hands them over no longer writes to them.

    Attributes:
        features: (T, F) float32, before the action.
        actions: (T,) int64; (T, D) int64, where the sidecar's ``action_sizes`` says how many
            choices each component has; or (T, D) float32 for continuous actions.
        old_log_probs: (T,) float32, log-probability of the action under the policy that acted;
            NaN where unknown.
        value_preds: (T,) or (T + 1,) float32, V(s_t), the last of T + 1 for the state after the
            last step; NaN where unknown.
        rewards: (T,) float32.
        dones: (T,) bool, ``terminated | truncated``.
        terminated: (T,) bool.
        truncated: (T,) bool.
        map: (T, C, H, W) uint8 or float32, before the action, or None.
        action_mask: (T, N) bool, allowed actions, or None.
        final_features: (F,) float32, after the last step, or None.
        final_map: (C, H, W) of ``map``'s dtype, after the last step, or None.
        metadata: the sidecar: JSON-able, unknown keys included.

    Raises:
        UserError: naming every array that does not fit.
    """

    features: NDArray[np.float32]
    actions: NDArray[Any]
    old_log_probs: NDArray[np.float32]
    value_preds: NDArray[np.float32]
    rewards: NDArray[np.float32]
    dones: NDArray[np.bool_]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    map: NDArray[Any] | None = None
    action_mask: NDArray[np.bool_] | None = None
    final_features: NDArray[np.float32] | None = None
    final_map: NDArray[Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        freeze_arrays(self, ARRAY_NAMES)
        metadata = json.loads(json.dumps(dict(self.metadata)))
        object.__setattr__(self, "metadata", MappingProxyType(metadata))
        problems = trajectory_problems(self.arrays(), metadata)
        if problems:
            raise UserError(problems)

    def __len__(self) -> int:
        return len(self.actions)

    def with_metadata(self, **added: Any) -> "Trajectory":
        """Returns the same arrays with metadata keys added or replaced."""
        return replace(self, metadata={**self.metadata, **added})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the arrays that are present, by name."""
        present = {name: getattr(self, name) for name in ARRAY_NAMES}
        return {name: array for name, array in present.items() if array is not None}

    @property
    def feature_names(self) -> tuple[str, ...]:
        """F names; ``feature_<i>`` where the sidecar has none."""
        names = self.metadata.get("feature_names")
        count = self.features.shape[1]
        return tuple(names) if names is not None else tuple(f"feature_{i}" for i in range(count))

    @property
    def metrics(self) -> dict[str, float]:
        """The sidecar's metrics that are finite numbers."""
        return {
            name: float(value)
            for name, value in self.metadata.get("metrics", {}).items()
            if isinstance(value, int | float) and math.isfinite(value)
        }

    @property
    def known_actions(self) -> dict[int, str]:
        """Action id -> name as far as the sidecar tells (old captures have holes)."""
        names = self.metadata.get("action_names")
        if names is not None:
            return dict(enumerate(names))
        return {number: name for name, number in self.metadata.get("action_lookup", {}).items()}

    @property
    def log_probs_known(self) -> bool:
        """Whether every step has the log-probability it was acted with."""
        return not bool(np.isnan(self.old_log_probs).any())

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What in this trajectory is meaningless or taken on trust, a sentence each."""
        found = []
        if self.metadata.get("terminated_from") == "dones":
            found.append(
                "only dones are recorded: every end is treated as terminated, none as truncated"
            )
        if self.metadata.get("log_probs_from") == "zeros":
            found.append("the log-probabilities are all 0: treated as unknown")
        if len(self) > 1 and np.ptp(self.rewards) == 0:
            found.append("all rewards are the same: returns say nothing about the play")
        if len(self) > 1 and 2 * int(self.dones.sum()) > len(self):
            found.append("most steps end an episode: returns and advantages mean little")
        if self.actions.ndim == 1:
            unnamed = set(np.unique(self.actions).tolist()) - set(self.known_actions)
            if unnamed:
                found.append(f"actions {sorted(unnamed)[:10]} have no name in the sidecar")
        if "feature_names" not in self.metadata:
            found.append("the sidecar has no feature_names: they are numbered")
        if "variant" in self.metadata or str(self.metadata.get("env_id")).startswith("town"):
            lacking = [name for name in CONFLICT_FEATURES if name not in self.feature_names]
            if lacking:
                found.append(f"town data without {lacking}: there are no conflict figures")
        dropped = sorted(set(self.metadata.get("metrics", {})) - set(self.metrics))
        if dropped:
            found.append(f"metrics {dropped[:10]} are no finite numbers: left out")
        return tuple(found)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the arrays (names, dtypes, shapes, bytes); metadata does not enter."""
        sha = hashlib.sha256()
        for name, array in self.arrays().items():
            _hash_array(sha, name, array)
        return sha.hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Demonstrations:
    """What behaviour cloning learns from: the steps of all trajectories, one after another.

    Attributes:
        features: (S, F) float32, before the action.
        actions: (S,) int64, (S, D) int64 or (S, D) float32, as the spec says.
        weights: (S,) float32, at least 0: how much each step counts.
        trajectory_ids: (S,) int64 in [0, trajectories).
        groups: (trajectories,) int64: trajectories of one group (agents of one world) stay on
            one side of a held-out split.
        lane_spec: names of features, map channels and actions.
        label: whose play this is.
        map: (S, C, H, W) uint8, or None.
        action_mask: (S, N) bool, or None.
        splits: one for each trajectory, what the manifest asks for; or empty.
        warnings: what is meaningless or doubtful in the data, a sentence each.
        origin: the manifest's path, or how it was captured; empty where that is not known.

    Raises:
        UserError: naming every array that does not fit.
    """

    features: NDArray[np.float32]
    actions: NDArray[Any]
    weights: NDArray[np.float32]
    trajectory_ids: NDArray[np.int64]
    groups: NDArray[np.int64]
    lane_spec: LaneSpec
    label: str
    map: NDArray[np.uint8] | None = None
    action_mask: NDArray[np.bool_] | None = None
    splits: tuple[Split, ...] = ()
    warnings: tuple[str, ...] = ()
    origin: str = ""

    _ARRAYS = ("features", "map", "actions", "action_mask", "weights", "trajectory_ids", "groups")

    def __post_init__(self) -> None:
        freeze_arrays(self, self._ARRAYS)
        problems = demonstration_problems(self.arrays(), self.lane_spec, self.splits)
        if problems:
            raise UserError(problems)

    def __len__(self) -> int:
        return len(self.actions)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the arrays that are present, by name."""
        present = {name: getattr(self, name) for name in self._ARRAYS}
        return {name: array for name, array in present.items() if array is not None}

    @property
    def trajectories(self) -> int:
        """Number of trajectories."""
        return len(self.groups)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all arrays and the lane spec: the identity of the data."""
        sha = hashlib.sha256(self.lane_spec.digest().encode())
        for name, array in self.arrays().items():
            _hash_array(sha, name, array)
        sha.update(json.dumps(self.splits).encode())
        return sha.hexdigest()

    def decisions(self) -> NDArray[np.bool_]:
        """Returns (S,) bool: steps whose mask allows an action that is not always open.

        Without a mask every step is a decision.
        """
        if self.action_mask is None:
            return np.ones(len(self), np.bool_)
        free = np.ones(len(self.lane_spec.action_names), np.bool_)
        free[list(self.lane_spec.forced_actions)] = False
        return np.asarray(self.action_mask[:, free].any(axis=1))

    def split(
        self, val_fraction: float, *, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Splits the rows into training and held-out ones, by whole groups.

        Where the manifest names held-out trajectories (``split: val``) these are held out and
        nothing is drawn; otherwise ``val_fraction`` of the groups, at least one and never all,
        are drawn from those without a ``split: train``.

        Returns:
            Row numbers (int64, ascending) to train on, and held out.

        Raises:
            UserError: if one side would be empty.
        """
        wanted = np.array(self.splits or ("",) * self.trajectories)
        held_out = wanted == "val"
        if not held_out.any():
            free = np.setdiff1d(self.groups, self.groups[wanted == "train"])
            count = max(1, round(val_fraction * len(np.unique(self.groups))))
            count = min(count, len(free) - (len(free) == len(np.unique(self.groups))))
            held_out = np.isin(self.groups, rng.permutation(free)[: max(0, count)])
        rows_held_out = held_out[self.trajectory_ids]
        if rows_held_out.all() or not rows_held_out.any():
            raise UserError(
                f"dataset {self.label!r}: {self.trajectories} trajectories in "
                f"{len(np.unique(self.groups))} groups leave nothing to train on or nothing to "
                "hold out; capture at least two worlds, or mark entries split: train and "
                "split: val"
            )
        return np.flatnonzero(~rows_held_out), np.flatnonzero(rows_held_out)


def freeze_arrays(owner: object, names: tuple[str, ...]) -> None:
    """Turns the named arrays of a frozen dataclass into contiguous read-only views."""
    for name in names:
        array = getattr(owner, name)
        if array is not None:
            view = np.ascontiguousarray(array).view()
            view.flags.writeable = False
            object.__setattr__(owner, name, view)


def _hash_array(sha: Any, name: str, array: NDArray[Any]) -> None:
    sha.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
    sha.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
