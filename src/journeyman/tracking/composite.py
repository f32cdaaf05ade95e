"""Several trackers as one, and the trackers of a run's settings."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from journeyman.settings.metrics_log import JsonlSettings
from journeyman.settings.tracking import MlflowSettings, TrackingSettings
from journeyman.tracking.jsonl import JsonlTracker
from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.null import NoTracker
from journeyman.tracking.protocol import MetricValue, RunInfo, RunStatus, StageRun, Tracker


class CompositeTracker:
    """Hands every call to each of its trackers, in their order."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = tuple(trackers)

    @property
    def position(self) -> dict[str, int]:
        """Where the run folder's log stands, for a checkpoint; empty without one."""
        for tracker in self.trackers:
            if isinstance(tracker, JsonlTracker):
                return tracker.position
        return {}

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


def build_tracker(
    settings: TrackingSettings,
    metrics_log: JsonlSettings,
    outputs: Path,
    run_dir: Path,
    *,
    position: Mapping[str, int] | None = None,
) -> CompositeTracker:
    """Returns the tracker of a run: the run folder's log, and MLflow where it is chosen.

    Args:
        settings: config group ``tracking``.
        metrics_log: rotation and frequency of ``metrics.jsonl``.
        outputs: absolute outputs folder.
        run_dir: absolute run folder.
        position: ``JsonlTracker.position`` of the checkpoint a run resumes from.

    Raises:
        UserError: the tracking URI is of an unknown kind.
    """
    jsonl = JsonlTracker(metrics_log, run_dir, position=position)
    # The first one checks names and values before anything is written.
    first: Tracker = NoTracker()
    if isinstance(settings, MlflowSettings):
        first = MlflowTracker(settings, outputs=outputs)
    return CompositeTracker([first, jsonl])
