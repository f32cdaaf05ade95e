"""What a strategy's emissions become, without saying where they go."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

MetricValue = float | str
"""A finite number (ints and bools keep their type in ``metrics.jsonl``), or a word such as
``data_mode`` that only ``metrics.jsonl`` keeps, since no curve can be drawn of it."""


class RunStatus(StrEnum):
    """How a run ended, in MLflow's words."""

    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What is known about a run before it starts.

    Attributes:
        experiment: name of the MLflow experiment.
        name: what a reader of the run list sees; says what varies (``anneal seed=0``).
        run_dir: absolute run folder.
        params: flattened config leaves, dotted key -> value.
        tags: ``kind``, ``seed``, ``git.commit``, ``config.digest``, ...
    """

    experiment: str
    name: str
    run_dir: Path
    params: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """Data a run learns from, is judged by, or reads through.

    Attributes:
        name: whose play it is.
        digest: SHA-256 of its content: the same data have the same, wherever they lie.
        source: the manifest's path, or how it was captured.
        context: ``training``, ``held-out`` or ``replay``.
        profile: what is in it: ``transitions``, ``trajectories``, ...
    """

    name: str
    digest: str
    source: str
    context: str
    profile: Mapping[str, int | str] = field(default_factory=dict)


class StageRun(Protocol):
    """One light nested run: a stage's settings, final figures, verdict and reason."""

    def figures(self, metrics: Mapping[str, float]) -> None:
        """Sets the stage's final figures (one value each, no curve)."""
        ...

    def tag(self, tags: Mapping[str, str]) -> None:
        """Sets tags such as ``status`` and ``reason``."""
        ...


class Tracker(Protocol):
    """Carries metrics to a store; buffered, never on the hot path.

    ``log`` raises ``ValueError`` naming the key and step when a value is not finite: such a
    number is a bug to be seen, not a gap in a curve.
    """

    def start(self, run: RunInfo) -> None:
        """Opens the run."""
        ...

    def log(self, group: str, metrics: Mapping[str, MetricValue], step: int) -> None:
        """Queues metrics as ``group/name`` at a step."""
        ...

    def tag(self, tags: Mapping[str, str]) -> None:
        """Sets tags on the run."""
        ...

    def dataset(self, data: DatasetInfo) -> None:
        """Names data as an input of the run."""
        ...

    def model(self, folder: Path, name: str, step: int, tags: Mapping[str, str]) -> None:
        """Stores a folder with an ``MLmodel`` as a model that the run has put out.

        Args:
            folder: of the model; it has to stay until the run is finished.
            name: of the model within the run.
            step: environment steps it was trained for.
            tags: what it is known by.
        """
        ...

    def artifact(self, path: Path, folder: str = "") -> None:
        """Stores a file with the run, under ``folder``."""
        ...

    def stage(self, name: str, settings: Mapping[str, object]) -> AbstractContextManager[StageRun]:
        """Opens a nested stage run; it ends FAILED (or KILLED) if an exception passes."""
        ...

    def finish(self, status: RunStatus) -> None:
        """Delivers what is queued and closes the run with this status."""
        ...
