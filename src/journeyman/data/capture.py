"""A policy's play over some ticks, in memory.

Legend: T steps, L lanes, W worlds, F features, C x H x W map, N actions.
Arrays are lane first, so that each lane's trajectory is one contiguous piece.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.data.trajectory import Demonstrations, Trajectory, freeze_arrays
from journeyman.env.protocol import LaneSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Capture:
    """All lanes' play over some ticks; row ``l`` of each array is lane ``l``'s.

    Attributes:
        lane_spec: names of features, map channels, actions.
        label: the policy that played.
        seed: the seed the worlds were reset with.
        num_worlds: W; lane ``l`` lives in world ``l // (L // W)``.
        features: (L, T, F) float32, before the action.
        map: (L, T, C, H, W) uint8, before the action, or None.
        actions: (L, T) int64.
        action_mask: (L, T, N) bool, or None.
        rewards: (L, T) float32.
        terminated: (L, T) bool.
        truncated: (L, T) bool.
        log_probs: (L, T) float32; NaN where the policy knows none.
        values: (L, T) float32; NaN where the policy knows none.
        final_features: (L, F) float32, after the last step and before any reset.
        final_map: (L, C, H, W) uint8, likewise, or None.
        event_totals: event name -> (L,) float64, summed over the ticks.
        warnings: why this play may be no use as demonstrations, a sentence each.
    """

    lane_spec: LaneSpec
    label: str
    seed: int
    num_worlds: int
    features: NDArray[np.float32]
    map: NDArray[np.uint8] | None
    actions: NDArray[np.int64]
    action_mask: NDArray[np.bool_] | None
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    log_probs: NDArray[np.float32]
    values: NDArray[np.float32]
    final_features: NDArray[np.float32]
    final_map: NDArray[np.uint8] | None
    event_totals: Mapping[str, NDArray[np.float64]]
    warnings: tuple[str, ...]

    _ARRAYS = (
        "features",
        "map",
        "actions",
        "action_mask",
        "rewards",
        "terminated",
        "truncated",
        "log_probs",
        "values",
        "final_features",
        "final_map",
    )

    def __post_init__(self) -> None:
        freeze_arrays(self, self._ARRAYS)

    @property
    def lanes(self) -> int:
        """L."""
        return len(self.actions)

    @property
    def ticks(self) -> int:
        """T."""
        return len(self.actions[0])

    @property
    def world_of_lane(self) -> NDArray[np.int64]:
        """(L,) int64: the world each lane lives in."""
        return np.arange(self.lanes) // (self.lanes // self.num_worlds)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the lane spec and every lane's arrays, in order of the lanes."""
        sha = hashlib.sha256(self.lane_spec.digest().encode())
        for trajectory in self.trajectories:
            sha.update(trajectory.digest.encode())
        return sha.hexdigest()

    @cached_property
    def trajectories(self) -> tuple[Trajectory, ...]:
        """One trajectory a lane; the arrays are views of this capture's."""
        return tuple(self._trajectory(lane) for lane in range(self.lanes))

    @cached_property
    def demonstrations(self) -> Demonstrations:
        """All steps, lane after lane; the lanes of one world are one group.

        Raises:
            UserError: if an observation was not finite or an action was masked out.
        """

        def flat(array: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if array is None else array.reshape(-1, *array.shape[2:])

        steps = self.lanes * self.ticks
        return Demonstrations(
            features=self.features.reshape(steps, -1),
            map=flat(self.map),
            actions=self.actions.reshape(steps),
            action_mask=flat(self.action_mask),
            weights=np.ones(steps, np.float32),
            trajectory_ids=np.repeat(np.arange(self.lanes), self.ticks),
            groups=self.world_of_lane,
            lane_spec=self.lane_spec,
            label=self.label,
            warnings=self.warnings,
        )

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Totals over the capture, and events per 1000 agent-ticks.

        ``reward_{mean,sum}``, ``terminated_total``, ``truncated_total``,
        ``<event>_total``, ``<event>_per_1000``, ``action_share.<action>``.
        """
        steps = self.actions.size
        counts = np.bincount(self.actions.ravel(), minlength=len(self.lane_spec.action_names))
        metrics = {
            "reward_mean": float(self.rewards.mean(dtype=np.float64)),
            "reward_sum": float(self.rewards.sum(dtype=np.float64)),
            "terminated_total": float(self.terminated.sum()),
            "truncated_total": float(self.truncated.sum()),
        }
        for name, totals_L in self.event_totals.items():
            metrics[f"{name}_total"] = float(totals_L.sum())
            metrics[f"{name}_per_1000"] = 1000.0 * float(totals_L.sum()) / steps
        for name, count in zip(self.lane_spec.action_names, counts, strict=True):
            metrics[f"action_share.{name}"] = float(count / steps)
        return metrics

    def _trajectory(self, lane: int) -> Trajectory:
        return Trajectory(
            features=self.features[lane],
            map=None if self.map is None else self.map[lane],
            actions=self.actions[lane],
            action_mask=None if self.action_mask is None else self.action_mask[lane],
            old_log_probs=self.log_probs[lane],
            value_preds=self.values[lane],
            rewards=self.rewards[lane],
            dones=self.terminated[lane] | self.truncated[lane],
            terminated=self.terminated[lane],
            truncated=self.truncated[lane],
            final_features=self.final_features[lane],
            final_map=None if self.final_map is None else self.final_map[lane],
            metadata=self._sidecar(lane),
        )

    def _sidecar(self, lane: int) -> dict[str, Any]:
        spec, world = self.lane_spec, int(self.world_of_lane[lane])
        metrics = {
            "timesteps": self.ticks,
            "reward_mean": float(self.rewards[lane].mean(dtype=np.float64)),
            "reward_sum": float(self.rewards[lane].sum(dtype=np.float64)),
            **{f"{name}_total": float(total[lane]) for name, total in self.event_totals.items()},
        }
        if not np.isnan(self.log_probs[lane]).any():
            metrics["log_prob_mean"] = float(self.log_probs[lane].mean(dtype=np.float64))
        return {
            "env_id": spec.env_id,
            "policy": self.label,
            "agent_id": f"lane_{lane:04d}",
            # the seed tells worlds of different captures apart
            "group": f"{spec.env_id}/{self.label}/seed_{self.seed}/world_{world:04d}",
            "feature_names": list(spec.feature_names),
            "map_channels": list(spec.map_channels),
            "map_shape": None if spec.map_shape is None else list(spec.map_shape),
            "action_names": list(spec.action_names),
            "action_dim": len(spec.action_names),
            "forced_actions": list(spec.forced_actions),
            "frame_count": self.ticks,
            "metrics": metrics,
        }
