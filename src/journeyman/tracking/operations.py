"""What is queued for a store, and its form in a spool file."""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class RunReference:
    """A run that the store may not know yet.

    Attributes:
        label: unique among all runs; the store keeps it as a tag, by which a run is found that
            was created though the answer was lost.
        run_id: the store's id; None until the run is opened there.
        tried: its creation may have been asked for before.
        doubted: its creation was asked for more than once.
        refused: why the store will never have it; None as a rule.
        found: key -> step -> number of points that the store has of an earlier process, set
            by the store on opening.
        later: ``found`` in use: points that are logged again are ticked off here, not sent.
    """

    __slots__ = ("doubted", "found", "label", "later", "refused", "run_id", "tried")

    def __init__(self, label: str, run_id: str | None = None, *, tried: bool = False) -> None:
        self.label = label
        self.run_id = run_id
        self.tried = tried
        self.doubted = False
        self.refused: str | None = None
        self.found: dict[str, Counter[int]] | None = None
        self.later: dict[str, Counter[int]] = {}

    @property
    def opened_id(self) -> str:
        """The store's id of a run that is open there."""
        if self.run_id is None:
            raise RuntimeError(f"the run {self.label!r} is not open in the store yet")
        return self.run_id


@dataclass(frozen=True, slots=True)
class Points:
    """Metrics of one call: ``(key, value)`` pairs at a step and time (Unix milliseconds)."""

    run: RunReference
    timestamp: int
    step: int
    metrics: list[tuple[str, float]]

    def missing(self) -> "Points":
        """Ticks off what the store has of an earlier process, and returns the rest."""
        if not self.run.later:
            return self
        rest = [pair for pair in self.metrics if not self._ticked_off(pair[0])]
        return Points(self.run, self.timestamp, self.step, rest)

    def _ticked_off(self, key: str) -> bool:
        steps = self.run.later.get(key)
        if not steps or not steps[self.step]:
            return False
        steps[self.step] -= 1
        return True


@dataclass(frozen=True, slots=True)
class OpenRun:
    """Opens a run and fills in its reference; ``settled`` is set once it is, or an attempt failed.

    Attributes:
        run: of a job, a stage, or a sweep.
        name: what a reader of the run list sees.
        tags: of the run, if it is new.
        params: those of them that the store lacks are added.
        timestamp: when the process began with it, Unix milliseconds.
        parent: the job of a stage.
        folder: run folder that is told the run's id; empty for a stage.
        since: time of the checkpoint from which an earlier process's run is gone on with: what
            the store has from between it and ``timestamp`` is computed again. None: a new run.
    """

    run: RunReference
    name: str
    tags: dict[str, str]
    params: dict[str, str]
    timestamp: int
    parent: RunReference | None = None
    folder: str = ""
    since: int | None = None
    settled: threading.Event = field(default_factory=threading.Event, compare=False)


@dataclass(frozen=True, slots=True)
class SetTags:
    """Sets tags on a run."""

    run: RunReference
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class StoreArtifact:
    """Stores a file; ``settled`` is set once it is stored or an attempt failed."""

    run: RunReference
    path: str
    folder: str
    settled: threading.Event = field(default_factory=threading.Event, compare=False)


@dataclass(frozen=True, slots=True)
class LogDataset:
    """Names data as an input of a run; ``source`` and ``profile`` are JSON."""

    run: RunReference
    name: str
    digest: str
    source_type: str
    source: str
    context: str
    profile: str


@dataclass(frozen=True, slots=True)
class LogModel:
    """Stores a folder with an ``MLmodel`` as a logged model that the run has put out."""

    run: RunReference
    path: str
    name: str
    step: int
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class CloseChildren:
    """Ends, as KILLED, the runs below a sweep's that were left open at a time."""

    run: RunReference
    timestamp: int


@dataclass(frozen=True, slots=True)
class TellJobs:
    """Sets tags on the jobs of a sweep, by the name of the job's folder."""

    run: RunReference
    tags: dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class EndRun:
    """Ends a run with a status at a time."""

    run: RunReference
    status: str
    timestamp: int


Operation = (
    Points
    | OpenRun
    | SetTags
    | LogDataset
    | LogModel
    | StoreArtifact
    | CloseChildren
    | TellJobs
    | EndRun
)
_KINDS: dict[str, type[Operation]] = {
    kind.__name__: kind
    for kind in (
        Points,
        OpenRun,
        SetTags,
        LogDataset,
        LogModel,
        StoreArtifact,
        CloseChildren,
        TellJobs,
        EndRun,
    )
}
ARTIFACTS = (StoreArtifact, LogModel)
"""Operations with a store's files, which may be elsewhere than its metrics and fail alone."""


class Store(Protocol):
    """What carries operations out; every method raises when the store did not take them."""

    def refuses(self, error: Exception) -> bool:
        """Says whether what one of the methods raised will be raised every time."""
        ...

    def log_points(self, run: RunReference, points: list[Points]) -> None:
        """Stores metrics of one run, in order."""
        ...

    def open_run(self, operation: OpenRun) -> None:
        """Opens a run and sets ``operation.run.run_id``."""
        ...

    def set_tags(self, operation: SetTags) -> None:
        """Sets tags."""
        ...

    def log_dataset(self, operation: LogDataset) -> None:
        """Names data as an input."""
        ...

    def log_model(self, operation: LogModel) -> None:
        """Stores a model."""
        ...

    def store_artifact(self, operation: StoreArtifact) -> None:
        """Stores a file."""
        ...

    def close_children(self, operation: CloseChildren) -> None:
        """Ends what was left open."""
        ...

    def tell_jobs(self, operation: TellJobs) -> None:
        """Sets jobs' tags."""
        ...

    def end_run(self, operation: EndRun) -> None:
        """Ends a run."""
        ...


def perform(store: Store, operations: list[Operation]) -> None:
    """Carries out one operation, or several ``Points`` of one run at once."""
    first = operations[0]
    if isinstance(first, Points):
        store.log_points(first.run, [each for each in operations if isinstance(each, Points)])
    elif isinstance(first, OpenRun):
        store.open_run(first)
    elif isinstance(first, SetTags):
        store.set_tags(first)
    elif isinstance(first, LogDataset):
        store.log_dataset(first)
    elif isinstance(first, LogModel):
        store.log_model(first)
    elif isinstance(first, StoreArtifact):
        store.store_artifact(first)
    elif isinstance(first, CloseChildren):
        store.close_children(first)
    elif isinstance(first, TellJobs):
        store.tell_jobs(first)
    else:
        store.end_run(first)


def describe(operation: Operation) -> str:
    """Returns an operation in a reader's words."""
    if isinstance(operation, Points):
        names = ", ".join(key for key, _ in operation.metrics)
        return f"step {operation.step} of {names}"[:200]
    if isinstance(operation, StoreArtifact | LogModel):
        return f"artifact {operation.path}"
    if isinstance(operation, OpenRun):
        return f"run {operation.name!r}"
    if isinstance(operation, SetTags):
        return f"tags {', '.join(operation.tags)}"[:200]
    return f"{type(operation).__name__} of run {operation.run.run_id}"


def to_line(operation: Operation) -> dict[str, Any]:
    """Returns an operation as a JSON object."""
    line: dict[str, Any] = {
        "operation": type(operation).__name__,
        "run": operation.run.label,
        "run_id": operation.run.run_id,
    }
    for name in operation.__dataclass_fields__:
        if name not in ("run", "parent", "settled"):
            line[name] = getattr(operation, name)
    if isinstance(operation, OpenRun) and operation.parent is not None:
        line["parent"] = [operation.parent.label, operation.parent.run_id]
    return line


def from_line(line: Mapping[str, Any], runs: dict[str, RunReference]) -> Operation:
    """Returns the operation of a JSON object; ``runs`` holds the references met so far."""
    values = dict(line)
    kind = _KINDS[values.pop("operation")]
    run = _met(values.pop("run"), values.pop("run_id"), runs)
    if kind is Points:
        values["metrics"] = [(key, value) for key, value in values["metrics"]]
    if "parent" in values:
        label, run_id = values["parent"]
        values["parent"] = _met(label, run_id, runs)
    return kind(run=run, **values)


def _met(label: str, run_id: str | None, runs: dict[str, RunReference]) -> RunReference:
    run = runs.setdefault(label, RunReference(label, run_id, tried=True))
    run.run_id = run.run_id or run_id
    return run


def now_milliseconds() -> int:
    """Returns the Unix time in milliseconds, as MLflow counts it."""
    return time.time_ns() // 1_000_000
