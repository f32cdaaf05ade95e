"""What is queued for a store, and its form in a spool file."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class RunReference:
    """A run that the store may not know yet.

    Attributes:
        label: unique within one tracker (``job``, ``stage-0``).
        run_id: the store's id; None until the run is opened there.
    """

    __slots__ = ("label", "run_id")

    def __init__(self, label: str, run_id: str | None = None) -> None:
        self.label = label
        self.run_id = run_id

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


@dataclass(frozen=True, slots=True)
class OpenRun:
    """Opens a nested run and fills in its reference."""

    run: RunReference
    name: str
    tags: dict[str, str]
    params: dict[str, str]
    timestamp: int


@dataclass(frozen=True, slots=True)
class SetTags:
    """Sets tags on a run."""

    run: RunReference
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class StoreArtifact:
    """Stores a file; ``settled`` is set once it is stored or the first attempt failed."""

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
class EndRun:
    """Ends a run with a status at a time."""

    run: RunReference
    status: str
    timestamp: int


Operation = Points | OpenRun | SetTags | LogDataset | LogModel | StoreArtifact | EndRun
_KINDS: dict[str, type[Operation]] = {
    kind.__name__: kind
    for kind in (Points, OpenRun, SetTags, LogDataset, LogModel, StoreArtifact, EndRun)
}


class Store(Protocol):
    """What carries operations out; every method raises when the store did not take them."""

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
    else:
        store.end_run(first)


def to_line(operation: Operation) -> dict[str, Any]:
    """Returns an operation as a JSON object."""
    line: dict[str, Any] = {
        "operation": type(operation).__name__,
        "run": operation.run.label,
        "run_id": operation.run.run_id,
    }
    for name in operation.__dataclass_fields__:
        if name not in ("run", "settled"):
            line[name] = getattr(operation, name)
    return line


def from_line(line: Mapping[str, Any], runs: dict[str, RunReference]) -> Operation:
    """Returns the operation of a JSON object; ``runs`` holds the references met so far."""
    values = dict(line)
    kind = _KINDS[values.pop("operation")]
    label, run_id = values.pop("run"), values.pop("run_id")
    run = runs.setdefault(label, RunReference(label, run_id))
    if kind is Points:
        values["metrics"] = [(key, value) for key, value in values["metrics"]]
    return kind(run=run, **values)


def now_milliseconds() -> int:
    """Returns the Unix time in milliseconds, as MLflow counts it."""
    return time.time_ns() // 1_000_000
