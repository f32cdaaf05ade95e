"""A tracker that keeps nothing, and the stage run of trackers without stage runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from journeyman.tracking.protocol import DatasetInfo, MetricValue, RunInfo, RunStatus, StageRun
from journeyman.tracking.values import MetricCheck


class NullStageRun:
    """Checks figures and keeps none."""

    def __init__(self) -> None:
        self._check = MetricCheck()

    def figures(self, metrics: Mapping[str, float]) -> None:
        """Checks the figures.

        Raises:
            ValueError: a name is illegal or a value not finite.
        """
        self._check("", metrics, 0)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Keeps nothing."""


class NoTracker:
    """Checks names and values as every tracker does, and keeps nothing."""

    def __init__(self) -> None:
        self._check = MetricCheck()

    def start(self, run: RunInfo) -> None:
        """Opens nothing."""

    def log(self, group: str, metrics: Mapping[str, MetricValue], step: int) -> None:
        """Checks the metrics.

        Raises:
            ValueError: a name is illegal or a value not finite.
        """
        self._check(group, metrics, step)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Keeps nothing."""

    def dataset(self, data: DatasetInfo) -> None:
        """Keeps nothing."""

    def model(self, folder: Path, name: str, step: int, tags: Mapping[str, str]) -> None:
        """Keeps nothing."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keeps nothing."""

    @contextmanager
    def stage(self, name: str, settings: Mapping[str, object]) -> Iterator[StageRun]:
        """Yields a stage run that keeps nothing."""
        yield NullStageRun()

    def finish(self, status: RunStatus) -> None:
        """Closes nothing."""
