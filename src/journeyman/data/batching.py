"""Trajectories into homogeneous batches: buckets, the order of an epoch, summaries.

Legend: B trajectories of a batch, T steps, F features, C x H x W map, N actions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.data.trajectory import CONFLICT_FEATURES, Trajectory

SUM_SUFFIXES = ("_sum", "_total")
"""Metrics with these endings add up over samples; all others are averaged."""


@dataclass(frozen=True)
class Bucket:
    """What trajectories must share to be stacked.

    Attributes:
        arrays: name, dtype and shape of each array, in their order.
        feature_names: F names: the same column means the same throughout a batch.
    """

    arrays: tuple[tuple[str, str, tuple[int, ...]], ...]
    feature_names: tuple[str, ...]

    @classmethod
    def of(cls, trajectory: Trajectory) -> "Bucket":
        """Returns the bucket a trajectory falls into."""
        arrays = tuple(
            (name, array.dtype.name, array.shape) for name, array in trajectory.arrays().items()
        )
        return cls(arrays, trajectory.feature_names)

    @property
    def timesteps(self) -> int:
        """T."""
        return self._shape("features")[0]

    def describe(self, trajectories: int) -> dict[str, Any]:
        """Returns the bucket as JSON-able values, with how many trajectories it holds."""
        names = {name for name, _, _ in self.arrays}
        return {
            "timesteps": self.timesteps,
            "feature_dim": len(self.feature_names),
            "map_shape": list(self._shape("map")[1:]) if "map" in names else None,
            "map_dtype": next((dtype for name, dtype, _ in self.arrays if name == "map"), None),
            "trajectories": trajectories,
        }

    def _shape(self, wanted: str) -> tuple[int, ...]:
        return next(shape for name, _, shape in self.arrays if name == wanted)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrajectoryBatch:
    """Trajectories of one bucket, stacked.

    Attributes:
        names: B names of the samples.
        feature_names: F names.
        features: (B, T, F) float32.
        map: (B, T, C, H, W), or None.
        actions: (B, T) int64, (B, T, D) int64 or (B, T, D) float32.
        old_log_probs: (B, T) float32; NaN where unknown.
        value_preds: (B, T) or (B, T + 1) float32; NaN where unknown.
        rewards: (B, T) float32.
        dones: (B, T) bool.
        terminated: (B, T) bool.
        truncated: (B, T) bool.
        action_mask: (B, T, N) bool, or None.
        final_features: (B, F) float32, or None.
        final_map: (B, C, H, W), or None.
    """

    names: tuple[str, ...]
    feature_names: tuple[str, ...]
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

    def __len__(self) -> int:
        return len(self.names)


def stack(trajectories: Sequence[Trajectory], names: Sequence[str]) -> TrajectoryBatch:
    """Stacks trajectories of one bucket.

    Raises:
        ValueError: if they are of different buckets, or there is none.
    """
    buckets = {Bucket.of(trajectory) for trajectory in trajectories}
    if len(buckets) != 1:
        raise ValueError(f"a batch is stacked from one bucket, got {len(buckets)}")
    columns: dict[str, list[NDArray[Any]]] = {}
    for trajectory in trajectories:
        for name, array in trajectory.arrays().items():
            columns.setdefault(name, []).append(array)
    stacked: dict[str, NDArray[Any]] = {name: np.stack(parts) for name, parts in columns.items()}
    for array in stacked.values():
        array.flags.writeable = False
    return TrajectoryBatch(
        names=tuple(names), feature_names=trajectories[0].feature_names, **stacked
    )


SampleRef = tuple[int, int]
"""A file's position, and a trajectory's position in it."""


def plan_batches(
    files: Sequence[Sequence[Bucket]],
    *,
    batch_size: int,
    drop_last: bool,
    rng: np.random.Generator | None,
) -> list[tuple[SampleRef, ...]]:
    """Lays out an epoch: homogeneous batches in which every trajectory appears once.

    The trajectories of a file stay together in its bucket's order, so that a reader opens each
    file once and lets go of it soon. Shuffling draws the order of the files, the order within
    each, and how the buckets' batches interleave; without it buckets follow one another in
    order of first appearance.

    Args:
        files: the bucket of every trajectory, file by file.
        batch_size: trajectories a batch, at least 1.
        drop_last: leave out a bucket's last batch where it is not full.
        rng: source of the order; None: as listed.

    Returns:
        The batches, each as positions of its trajectories.
    """
    members: dict[Bucket, dict[int, list[SampleRef]]] = {}
    for f, buckets in enumerate(files):
        for k, bucket in enumerate(buckets):
            members.setdefault(bucket, {}).setdefault(f, []).append((f, k))
    queues = []
    for groups in members.values():
        parts = list(groups.values())
        if rng is not None:
            parts = [_shuffled(parts[i], rng) for i in rng.permutation(len(parts))]
        refs = [ref for part in parts for ref in part]
        stop = len(refs) - len(refs) % batch_size if drop_last else len(refs)
        queues.append(
            [tuple(refs[i : min(i + batch_size, stop)]) for i in range(0, stop, batch_size)]
        )
    if rng is None:
        return [batch for queue in queues for batch in queue]
    turns = rng.permutation(np.repeat(np.arange(len(queues)), [len(queue) for queue in queues]))
    iterators = [iter(queue) for queue in queues]
    return [next(iterators[turn]) for turn in turns]


def _shuffled(refs: list[SampleRef], rng: np.random.Generator) -> list[SampleRef]:
    return [refs[i] for i in rng.permutation(len(refs))]


def batch_summary(batch: TrajectoryBatch, index: int) -> dict[str, float]:
    """Returns a batch's figures.

    ``batch`` (its index), ``batch_size``, ``timesteps``, ``feature_dim``, ``reward_mean``,
    ``reward_sum``, and where the features exist
    ``conflict.{rivalry_max,rivalry_avoid_count}_{mean,max}``.
    """
    summary: dict[str, float] = {
        "batch": index,
        "batch_size": len(batch),
        "timesteps": batch.features.shape[1],
        "feature_dim": batch.features.shape[2],
        "reward_mean": float(batch.rewards.mean(dtype=np.float64)),
        "reward_sum": float(batch.rewards.sum(dtype=np.float64)),
    }
    for name in CONFLICT_FEATURES:
        if name in batch.feature_names:
            column = batch.features[:, :, batch.feature_names.index(name)]
            summary[f"conflict.{name}_mean"] = float(column.mean(dtype=np.float64))
            summary[f"conflict.{name}_max"] = float(column.max())
    return summary


def baseline_metrics(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Pools the samples' own metrics.

    A plain metric becomes its mean over the samples that have it. One ending in ``_sum`` or
    ``_total`` stays a sum under its name, and its mean per sample is added as ``<name>_mean``.

    >>> baseline_metrics([{"reward_mean": 1.0, "reward_sum": 4.0}, {"reward_sum": 2.0}])
    {'sample_count': 2, 'reward_mean': 1.0, 'reward_sum': 6.0, 'reward_sum_mean': 3.0}
    """
    values: dict[str, list[float]] = {}
    for sample in samples:
        for name, value in sample.items():
            values.setdefault(name, []).append(value)
    pooled: dict[str, float] = {"sample_count": len(samples)}
    for name, found in values.items():
        total = math.fsum(found)
        if name.endswith(SUM_SUFFIXES):
            pooled[name] = total
            pooled[f"{name}_mean"] = total / len(found)
        else:
            pooled[name] = total / len(found)
    return pooled
