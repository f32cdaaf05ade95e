"""A policy's play over some ticks, in memory.

Legend: T steps, L lanes, W worlds, K trajectories, S steps of all trajectories, F features,
C x H x W map, N actions, D components of an action.
Arrays are lane first, so that each lane's trajectory is one contiguous piece.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.data.action_space import action_metadata
from journeyman.data.trajectory import Demonstrations, Trajectory, freeze_arrays
from journeyman.env.protocol import LaneSpec
from journeyman.policies.actions import output_positions


@dataclass(frozen=True, kw_only=True, eq=False)
class Capture:
    """All lanes' play over some ticks; row ``l`` of each array is lane ``l``'s.

    A lane is one trajectory, unless it has idle steps: these belong to none, and part what lies
    before them from what comes after.

    Attributes:
        lane_spec: names of features, map channels, actions.
        label: the policy that played.
        seed: the seed the worlds were reset with.
        num_worlds: W; lane ``l`` lives in world ``l // (L // W)``.
        features: (L, T, F) float32, before the action.
        map: (L, T, C, H, W) uint8, before the action, or None.
        actions: (L, T) int64, (L, T, D) int64 or (L, T, D) float32, as the spec says; box ones
            as the policy chose them, not clipped.
        action_mask: (L, T, N) bool, or None.
        rewards: (L, T) float32.
        terminated: (L, T) bool.
        truncated: (L, T) bool.
        log_probs: (L, T) float32; NaN where the policy knows none.
        values: (L, T) float32; NaN where the policy knows none.
        spans: (K, 3) int64, ascending: lane, first step and the step after the last of each
            trajectory.
        final_features: (K, F) float32, after a trajectory's last step and before any reset.
        final_map: (K, C, H, W) uint8, likewise, or None.
        event_totals: event name -> (K,) float64, summed over a trajectory's steps.
        warnings: why this play may be no use as demonstrations, a sentence each.
    """

    lane_spec: LaneSpec
    label: str
    seed: int
    num_worlds: int
    features: NDArray[np.float32]
    map: NDArray[np.uint8] | None
    actions: NDArray[Any]
    action_mask: NDArray[np.bool_] | None
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    log_probs: NDArray[np.float32]
    values: NDArray[np.float32]
    spans: NDArray[np.int64]
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
        "spans",
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
    def samples(self) -> int:
        """S: steps of all trajectories; idle ones are not among them."""
        return int((self.spans[:, 2] - self.spans[:, 1]).sum())

    @property
    def world_of_lane(self) -> NDArray[np.int64]:
        """(L,) int64: the world each lane lives in."""
        return np.arange(self.lanes) // (self.lanes // self.num_worlds)

    def played(self, array: NDArray[Any]) -> NDArray[Any]:
        """Returns the (S, ...) steps of all trajectories in order, of an array (L, T, ...)."""
        if self.samples == self.lanes * self.ticks:
            return array.reshape(self.samples, *array.shape[2:])
        return np.concatenate([array[lane, start:stop] for lane, start, stop in self.spans])

    @property
    def origin(self) -> str:
        """Whose play it is, and what makes it this play, in words."""
        size = f"{self.num_worlds} worlds x {self.ticks} ticks"
        return f"captured: {self.label}, seed {self.seed}, {size}"

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the lane spec and every trajectory's arrays, in their order."""
        sha = hashlib.sha256(self.lane_spec.digest().encode())
        for trajectory in self.trajectories:
            sha.update(trajectory.digest.encode())
        return sha.hexdigest()

    @cached_property
    def trajectories(self) -> tuple[Trajectory, ...]:
        """K trajectories, lane after lane; the arrays are views of this capture's."""
        return tuple(self._trajectory(k) for k in range(len(self.spans)))

    @cached_property
    def demonstrations(self) -> Demonstrations:
        """All steps, trajectory after trajectory; the lanes of one world are one group.

        Raises:
            UserError: if an observation was not finite or an action was masked out.
        """
        grid, mask = self.map, self.action_mask
        lengths = self.spans[:, 2] - self.spans[:, 1]
        return Demonstrations(
            features=self.played(self.features),
            map=None if grid is None else self.played(grid),
            actions=self.played(self.actions),
            action_mask=None if mask is None else self.played(mask),
            weights=np.ones(self.samples, np.float32),
            trajectory_ids=np.repeat(np.arange(len(self.spans)), lengths),
            groups=self.world_of_lane[self.spans[:, 0]],
            lane_spec=self.lane_spec,
            label=self.label,
            warnings=self.warnings,
            origin=self.origin,
        )

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Totals over the capture, and events per 1000 agent-ticks; idle steps do not count.

        ``reward_{mean,sum}``, ``terminated_total``, ``truncated_total``,
        ``<event>_total``, ``<event>_per_1000``; ``action_share.<action>`` of choices, and
        ``action_mean.<component>`` and ``action_std.<component>`` of continuous actions.
        """
        rewards = self.played(self.rewards)
        metrics = {
            "reward_mean": float(rewards.mean(dtype=np.float64)),
            "reward_sum": float(rewards.sum(dtype=np.float64)),
            "terminated_total": float(self.played(self.terminated).sum()),
            "truncated_total": float(self.played(self.truncated).sum()),
        }
        for name, totals_K in self.event_totals.items():
            metrics[f"{name}_total"] = float(totals_K.sum())
            metrics[f"{name}_per_1000"] = 1000.0 * float(totals_K.sum()) / self.samples
        return metrics | self._action_metrics()

    def _action_metrics(self) -> dict[str, float]:
        actions, names = self.played(self.actions), self.lane_spec.action_names
        if self.lane_spec.action_kind == "box":
            means, deviations = actions.mean(axis=0, dtype=np.float64), actions.std(axis=0)
            return {
                f"action_{figure}.{name}": float(value)
                for figure, values in (("mean", means), ("std", deviations))
                for name, value in zip(names, values, strict=True)
            }
        positions = output_positions(actions, self.lane_spec.action_sizes)
        counts = np.bincount(positions.ravel(), minlength=len(names))
        return {
            f"action_share.{name}": float(count / self.samples)
            for name, count in zip(names, counts, strict=True)
        }

    def _trajectory(self, k: int) -> Trajectory:
        lane, start, stop = self.spans[k].tolist()
        steps = (lane, slice(start, stop))
        return Trajectory(
            features=self.features[steps],
            map=None if self.map is None else self.map[steps],
            actions=self.actions[steps],
            action_mask=None if self.action_mask is None else self.action_mask[steps],
            old_log_probs=self.log_probs[steps],
            value_preds=self.values[steps],
            rewards=self.rewards[steps],
            dones=self.terminated[steps] | self.truncated[steps],
            terminated=self.terminated[steps],
            truncated=self.truncated[steps],
            final_features=self.final_features[k],
            final_map=None if self.final_map is None else self.final_map[k],
            metadata=self._sidecar(k),
        )

    def _sidecar(self, k: int) -> dict[str, Any]:
        lane, start, stop = self.spans[k].tolist()
        spec, world = self.lane_spec, int(self.world_of_lane[lane])
        rewards, log_probs = self.rewards[lane, start:stop], self.log_probs[lane, start:stop]
        metrics = {
            "timesteps": stop - start,
            "reward_mean": float(rewards.mean(dtype=np.float64)),
            "reward_sum": float(rewards.sum(dtype=np.float64)),
            **{f"{name}_total": float(total[k]) for name, total in self.event_totals.items()},
        }
        if not np.isnan(log_probs).any():
            metrics["log_prob_mean"] = float(log_probs.mean(dtype=np.float64))
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
            "frame_count": stop - start,
            "metrics": metrics,
            **action_metadata(spec),
            **({} if spec.map_scale == 1.0 else {"map_scale": spec.map_scale}),
            **({} if (start, stop) == (0, self.ticks) else {"first_tick": start}),
        }
