"""A dataset of trajectories read batch by batch, from memory or from disk."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from journeyman.data.batching import (
    Bucket,
    SampleRef,
    TrajectoryBatch,
    baseline_metrics,
    plan_batches,
    stack,
)
from journeyman.data.demonstrations import gather_warnings, spec_of
from journeyman.data.manifest import Sample, visit_samples
from journeyman.data.trajectory import Trajectory
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.settings.dataset import BatchingSettings


@dataclass(frozen=True, kw_only=True)
class SampleInfo:
    """What is kept of a trajectory, whether or not its arrays are.

    Attributes:
        name: the file, and the lane in a shard.
        bucket: what it can be stacked with.
        digest: SHA-256 of its arrays.
        metrics: its sidecar's finite metrics.
        lane_spec: names of features, map channels and actions.
    """

    name: str
    bucket: Bucket
    digest: str
    metrics: dict[str, float]
    lane_spec: LaneSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplayDataset:
    """Checked trajectories, and how they are batched.

    Attributes:
        label: whose play it is.
        manifest: where the manifest is, or None for data that were never on disk.
        batching: batch size, order, and whether files are read when due.
        files: the trajectories of each file, in the manifest's order.
        read: returns the trajectories of a file by its position.
        warnings: what is meaningless or doubtful, a sentence each.
        skipped: entries with ``accepted: false``.
        origin: the manifest's path, or how it was captured; empty where that is not known.
    """

    label: str
    manifest: Path | None
    batching: BatchingSettings
    files: tuple[tuple[SampleInfo, ...], ...]
    read: Callable[[int], Sequence[Trajectory]] = field(repr=False)
    warnings: tuple[str, ...] = ()
    skipped: int = 0
    origin: str = ""

    @classmethod
    def from_manifest(
        cls, path: Path, batching: BatchingSettings, *, allow_external_paths: bool = False
    ) -> "ReplayDataset":
        """Reads and checks every file of a manifest; keeps the arrays unless streaming.

        Raises:
            UserError: naming every bad entry.
        """

        def visit(samples: list[Sample]) -> tuple[_Noted, ...]:
            if not batching.streaming:
                kept.append([sample.trajectory for sample in samples])
            return tuple(_note(sample, shared) for sample in samples)

        shared: dict[Any, Any] = {}
        kept: list[list[Trajectory]] = []
        manifest, noted = visit_samples(path, visit, allow_external_paths=allow_external_paths)
        entries = manifest.entries

        def read(file: int) -> list[Trajectory]:
            return [sample.trajectory for sample in entries[file].read()]

        return cls(
            label=manifest.label,
            manifest=path,
            batching=batching,
            files=tuple(tuple(info for info, _ in notes) for notes in noted),
            warnings=(*manifest.warnings, *_warnings(noted)),
            skipped=manifest.skipped,
            origin=str(path.resolve()),
            read=read if batching.streaming else kept.__getitem__,
        )

    @classmethod
    def from_trajectories(
        cls,
        trajectories: Sequence[Trajectory],
        batching: BatchingSettings,
        *,
        label: str,
        warnings: Sequence[str] = (),
        origin: str = "",
    ) -> "ReplayDataset":
        """Takes trajectories that are in memory already; each counts as a file of its own.

        Raises:
            UserError: if there is none.
        """
        if not trajectories:
            raise UserError(f"dataset {label!r}: holds no trajectory")
        shared: dict[Any, Any] = {}
        noted = [
            (_note(Sample(name=f"trajectory {i}", trajectory=trajectory), shared),)
            for i, trajectory in enumerate(trajectories)
        ]
        return cls(
            label=label,
            manifest=None,
            batching=batching,
            files=tuple((info,) for ((info, _),) in noted),
            warnings=(*warnings, *_warnings(noted)),
            origin=origin,
            read=lambda file: [trajectories[file]],
        )

    @property
    def samples(self) -> tuple[SampleInfo, ...]:
        """All trajectories, file after file."""
        return tuple(info for infos in self.files for info in infos)

    @property
    def transitions(self) -> int:
        """Steps of all trajectories."""
        return sum(info.bucket.timesteps for info in self.samples)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the trajectories' digests, in order: the identity of the data."""
        sha = hashlib.sha256()
        for info in self.samples:
            sha.update(info.digest.encode())
        return sha.hexdigest()

    @property
    def buckets(self) -> dict[Bucket, int]:
        """How many trajectories each bucket holds, by first appearance."""
        return dict(Counter(info.bucket for info in self.samples))

    @property
    def baseline_metrics(self) -> dict[str, float]:
        """The samples' own metrics, pooled."""
        return baseline_metrics([info.metrics for info in self.samples])

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._plan(None))

    def epoch(self, *, rng: np.random.Generator | None = None) -> Iterator[TrajectoryBatch]:
        """Yields every batch once, opening each file once when streaming.

        Streaming holds one batch and, of each bucket, the shard its next batch begins in.

        Args:
            rng: source of the order; needed where ``batching.shuffle`` is on. The same
                generator state gives the same batches, streaming or not.

        Raises:
            ValueError: if the order is to be shuffled and there is no generator.
            UserError: if a file has changed since the dataset was made.
        """
        if self.batching.shuffle and rng is None:
            raise ValueError("batching.shuffle needs a generator for the order")
        return self._batches(self._plan(rng if self.batching.shuffle else None))

    def batch(self, index: int) -> TrajectoryBatch:
        """Returns one batch of the unshuffled order, opening its files only.

        Raises:
            UserError: if there is no such batch, or a file has changed.
        """
        plan = self._plan(None)
        if not 0 <= index < len(plan):
            raise UserError(
                f"dataset {self.label!r}: batch {index} does not exist; "
                f"it has {len(plan)}, counted from 0"
            )
        return next(self._batches(plan[index : index + 1]))

    def _plan(self, rng: np.random.Generator | None) -> list[tuple[SampleRef, ...]]:
        return plan_batches(
            [[info.bucket for info in infos] for infos in self.files],
            batch_size=self.batching.batch_size,
            drop_last=self.batching.drop_last,
            rng=rng,
        )

    def _batches(self, plan: Sequence[Sequence[SampleRef]]) -> Iterator[TrajectoryBatch]:
        still_due = Counter(file for refs in plan for file, _ in refs)
        open_files: dict[int, Sequence[Trajectory]] = {}
        for refs in plan:
            trajectories, names = [], []
            for file, k in refs:
                if file not in open_files:
                    open_files[file] = self._checked(file)
                trajectories.append(open_files[file][k])
                names.append(self.files[file][k].name)
                still_due[file] -= 1
                if not still_due[file]:
                    del open_files[file]
            yield stack(trajectories, names)

    def _checked(self, file: int) -> Sequence[Trajectory]:
        trajectories = self.read(file)
        expected = [info.digest for info in self.files[file]]
        # a kept trajectory remembers its digest, so only what was read anew is hashed anew
        if [trajectory.digest for trajectory in trajectories] != expected:
            raise UserError(f"{self.files[file][0].name}: changed since the dataset was checked")
        return trajectories


_Noted = tuple[SampleInfo, tuple[str, ...]]


def _note(sample: Sample, shared: dict[Any, Any]) -> _Noted:
    """Describes a sample; equal buckets and specs are kept once for all samples."""
    trajectory = sample.trajectory
    bucket, spec = Bucket.of(trajectory), spec_of(trajectory)
    info = SampleInfo(
        name=sample.name,
        bucket=shared.setdefault(bucket, bucket),
        digest=trajectory.digest,
        metrics=trajectory.metrics,
        lane_spec=shared.setdefault(spec, spec),
    )
    return info, trajectory.warnings


def _warnings(noted: Sequence[Sequence[_Noted]]) -> tuple[str, ...]:
    return gather_warnings([(info.name, found) for notes in noted for info, found in notes])
