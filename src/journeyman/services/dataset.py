"""Datasets as a run needs them: demonstrations to imitate, and trajectories to read through."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from journeyman.data.batching import batch_summary
from journeyman.data.capture import Capture
from journeyman.data.demonstrations import join
from journeyman.data.manifest import Sample, file_stamps, visit_samples
from journeyman.data.replay import ReplayDataset
from journeyman.data.trajectory import Demonstrations
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.results import ReplaySummary
from journeyman.settings.dataset import BatchingSettings, ManifestDatasetSettings

Summary = dict[str, float]
_Stamps = tuple[tuple[str, int, int], ...]


def load_demonstrations(settings: ManifestDatasetSettings) -> Demonstrations:
    """Reads a manifest's trajectories, all of one spec, as demonstrations.

    What was read last is kept for as long as its files stay as they are: a run checks its data
    before it starts, and would read them all again.

    Raises:
        UserError: naming every bad entry, or every trajectory that does not fit the first.
    """
    return _demonstrations(settings, _stamps(settings))


def _stamps(settings: ManifestDatasetSettings) -> _Stamps:
    return file_stamps(Path(settings.manifest), allow_external_paths=settings.allow_external_paths)


@functools.lru_cache(maxsize=1)
def _demonstrations(settings: ManifestDatasetSettings, stamps: _Stamps) -> Demonstrations:
    manifest, files = visit_samples(
        Path(settings.manifest),
        _as_they_are,
        allow_external_paths=settings.allow_external_paths,
    )
    warnings = list(manifest.warnings)
    if manifest.skipped:
        warnings.append(f"{manifest.skipped} entries are not accepted and left out")
    samples = [sample for file in files for sample in file]
    return join(samples, manifest.label, warnings, origin=str(manifest.path.resolve()))


def _as_they_are(samples: list[Sample]) -> list[Sample]:
    return samples


def check_against(spec: LaneSpec, data: Demonstrations | ReplayDataset) -> None:
    """Refuses data that a policy made for this spec could not learn from.

    Args:
        spec: what the policy's environment shows and lets do.
        data: demonstrations, or a replay dataset (each of its trajectories is compared).

    Raises:
        UserError: naming every difference; for a replay dataset, each with how many
            trajectories it holds for.
    """
    names_by_problem: dict[str, list[str]] = {}
    if isinstance(data, Demonstrations):
        names_by_problem.update({p: [] for p in spec.mismatches(data.lane_spec)})
    else:
        for info in data.samples:
            for problem in spec.mismatches(info.lane_spec):
                names_by_problem.setdefault(problem, []).append(info.name)
    problems = []
    for problem, names in names_by_problem.items():
        where = f" in {len(names)} trajectories, first {names[0]}" if names else ""
        problems.append(
            f"dataset {data.label!r} does not fit environment {spec.env_id}{where}: {problem}"
        )
    if problems:
        raise UserError(problems)


def unknown_log_probs(label: str, unknown: int, steps: int) -> str:
    """Returns why practice cannot learn from such data, and what helps."""
    return (
        f"dataset {label!r}: the log-probabilities of {unknown} of {steps} recorded actions are "
        "unknown, and without them nobody can say how far the policy is from the one that acted; "
        "dataset.recompute_log_probs=true takes those of the policy as the stage begins"
    )


def check_log_probs(dataset: ReplayDataset) -> None:
    """Raises ``UserError`` if a recorded action's log-probability is unknown."""
    unknown = sum(
        int(np.isnan(trajectory.old_log_probs).sum())
        for file in range(len(dataset.files))
        for trajectory in dataset.read(file)
    )
    if unknown:
        raise UserError(unknown_log_probs(dataset.label, unknown, dataset.transitions))


def build_replay_dataset(settings: ManifestDatasetSettings) -> ReplayDataset:
    """Makes a replay dataset from a manifest; every file is read and checked once.

    As with ``load_demonstrations``, the last one is kept while its files stay as they are.

    Raises:
        UserError: naming every bad entry.
    """
    return _replay_dataset(settings, _stamps(settings))


@functools.lru_cache(maxsize=1)
def _replay_dataset(settings: ManifestDatasetSettings, stamps: _Stamps) -> ReplayDataset:
    return ReplayDataset.from_manifest(
        Path(settings.manifest),
        settings.batching,
        allow_external_paths=settings.allow_external_paths,
    )


def replay_dataset_from_capture(capture: Capture, batching: BatchingSettings) -> ReplayDataset:
    """Makes a replay dataset of a capture in memory, one trajectory a lane."""
    return ReplayDataset.from_trajectories(
        capture.trajectories,
        batching,
        label=capture.label,
        warnings=capture.warnings,
        origin=capture.origin,
    )


def run_replay(
    dataset: ReplayDataset,
    *,
    rng: np.random.Generator,
    epochs: int = 1,
    on_batch: Callable[[Summary], None] | None = None,
) -> ReplaySummary:
    """Reads through a dataset and summarises every batch.

    Args:
        dataset: what to read.
        rng: source of the order, where the batching shuffles.
        epochs: passes, at least 1.
        on_batch: called with each summary (see ``batch_summary``; ``epoch`` is added, and
            ``batch`` counts over all epochs).

    Returns:
        Counts, buckets, pooled metrics and all batches' summaries.

    Raises:
        UserError: if there is no batch to read, or a file has changed since it was checked.
    """
    began = time.perf_counter()
    if epochs < 1:
        raise UserError(f"epochs: a replay needs at least 1, got {epochs}")
    if len(dataset) == 0:
        raise UserError(
            f"dataset {dataset.label!r}: no bucket fills a batch of "
            f"{dataset.batching.batch_size}; lower batch_size or set drop_last=false"
        )
    summaries: list[Summary] = []
    for epoch in range(epochs):
        for batch in dataset.epoch(rng=rng):
            summary = {**batch_summary(batch, len(summaries)), "epoch": epoch}
            summaries.append(summary)
            if on_batch is not None:
                on_batch(summary)
    return _summary(dataset, summaries, time.perf_counter() - began)


def _summary(dataset: ReplayDataset, summaries: list[Summary], seconds: float) -> ReplaySummary:
    names = dict.fromkeys(name for info in dataset.samples for name in info.bucket.feature_names)
    return ReplaySummary(
        manifest=None if dataset.manifest is None else str(dataset.manifest),
        samples=len(dataset.samples),
        skipped=dataset.skipped,
        transitions=dataset.transitions,
        batches=len(summaries),
        buckets=tuple(bucket.describe(n) for bucket, n in dataset.buckets.items()),
        feature_names=tuple(names),
        baseline_metrics=dataset.baseline_metrics,
        batch_summaries=tuple(summaries),
        warnings=dataset.warnings,
        digest=dataset.digest,
        duration_sec=seconds,
    )


def run_replay_batch(dataset: ReplayDataset, batch_index: int) -> dict[str, Any]:
    """Summarises one batch of the unshuffled order.

    Returns:
        The figures of ``batch_summary``, and ``samples``: the names of its trajectories.

    Raises:
        UserError: if there is no such batch.
    """
    batch = dataset.batch(batch_index)
    return {**batch_summary(batch, batch_index), "samples": list(batch.names)}


def run_replay_dataset(
    settings: ManifestDatasetSettings, *, rng: np.random.Generator, epochs: int = 1
) -> ReplaySummary:
    """Makes a replay dataset from a manifest and reads through it.

    Raises:
        UserError: naming every bad entry.
    """
    return run_replay(build_replay_dataset(settings), rng=rng, epochs=epochs)
