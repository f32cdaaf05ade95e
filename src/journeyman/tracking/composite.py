"""Several trackers as one, and the trackers of a run's settings."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from journeyman.settings.metrics_log import JsonlSettings
from journeyman.settings.tracking import MlflowSettings, TrackingSettings
from journeyman.tracking.jsonl import JsonlTracker
from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.null import NoTracker
from journeyman.tracking.protocol import (
    DatasetInfo,
    MetricValue,
    RunInfo,
    RunStatus,
    StageRun,
    Tracker,
)
from journeyman.tracking.remote_store import shared_process
from journeyman.tracking.system import SystemTracker


class CompositeTracker:
    """Hands every call to each of its trackers, in their order."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = tuple(trackers)

    @property
    def position(self) -> dict[str, Any]:
        """Where the run folder's log and MLflow stand, for a checkpoint, JSON-able."""
        position: dict[str, Any] = {}
        for tracker in self.trackers:
            if isinstance(tracker, JsonlTracker):
                position |= tracker.position
            elif isinstance(tracker, MlflowTracker):
                position["mlflow"] = tracker.position
        return position

    def start(self, run: RunInfo) -> None:
        """Starts all; if one raises, those started before it end FAILED."""
        for index, tracker in enumerate(self.trackers):
            try:
                tracker.start(run)
            except BaseException:
                CompositeTracker(self.trackers[:index]).finish(RunStatus.FAILED)
                raise

    def log(self, group: str, metrics: Mapping[str, MetricValue], step: int) -> None:
        """Logs with all.

        Raises:
            ValueError: a name is illegal or a value not finite.
        """
        for tracker in self.trackers:
            tracker.log(group, metrics, step)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Sets tags with all."""
        for tracker in self.trackers:
            tracker.tag(tags)

    def dataset(self, data: DatasetInfo) -> None:
        """Names data as an input with all."""
        for tracker in self.trackers:
            tracker.dataset(data)

    def model(self, folder: Path, name: str, step: int, tags: Mapping[str, str]) -> None:
        """Stores a model with all."""
        for tracker in self.trackers:
            tracker.model(folder, name, step, tags)

    def artifact(self, path: Path, folder: str = "") -> None:
        """Stores a file with all."""
        for tracker in self.trackers:
            tracker.artifact(path, folder)

    @contextmanager
    def stage(self, name: str, settings: Mapping[str, object]) -> Iterator[StageRun]:
        """Opens a stage run of each."""
        with ExitStack() as stack:
            yield _CompositeStage(
                [stack.enter_context(tracker.stage(name, settings)) for tracker in self.trackers]
            )

    def finish(self, status: RunStatus) -> None:
        """Finishes every tracker, also when one raises; the errors are raised afterwards."""
        with ExitStack() as stack:
            for tracker in reversed(self.trackers):
                stack.callback(tracker.finish, status)


class _CompositeStage:
    def __init__(self, stages: Sequence[StageRun]) -> None:
        self._stages = stages

    def figures(self, metrics: Mapping[str, float]) -> None:
        for stage in self._stages:
            stage.figures(metrics)

    def tag(self, tags: Mapping[str, str]) -> None:
        for stage in self._stages:
            stage.tag(tags)


def prepare_tracking(settings: TrackingSettings) -> None:
    """Starts what takes seconds to start, and does not wait for it."""
    if isinstance(settings, MlflowSettings):
        shared_process().start()


def build_tracker(
    settings: TrackingSettings,
    metrics_log: JsonlSettings,
    outputs: Path,
    run_dir: Path,
    *,
    position: Mapping[str, Any] | None = None,
) -> CompositeTracker:
    """Returns the tracker of a run: the run folder's log, and MLflow where it is chosen.

    Args:
        settings: config group ``tracking``.
        metrics_log: rotation and frequency of ``metrics.jsonl``.
        outputs: absolute outputs folder.
        run_dir: absolute run folder.
        position: ``CompositeTracker.position`` at the checkpoint a run is resumed from; ``{}``:
            it is resumed from its beginning; None: it is new.

    Raises:
        UserError: the tracking URI is of an unknown kind.
    """
    of_mlflow = None if position is None else position.get("mlflow", {})
    of_log = None if position is None else {n: p for n, p in position.items() if n != "mlflow"}
    jsonl = JsonlTracker(metrics_log, run_dir, position=of_log)
    # The first one checks names and values before anything is written.
    if not isinstance(settings, MlflowSettings):
        return CompositeTracker([NoTracker(), jsonl])
    mlflow = MlflowTracker(settings, outputs=outputs, position=of_mlflow)
    trackers: list[Tracker] = [mlflow, jsonl]
    if settings.system_metrics:
        trackers.append(SystemTracker(mlflow.sample, settings.system_metrics_seconds))
    return CompositeTracker(trackers)
