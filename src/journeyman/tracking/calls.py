"""A call to a store, its answer and what it raised, as JSON: so they cross to another process."""

import traceback
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from journeyman.errors import UserError
from journeyman.settings.tracking import masked
from journeyman.tracking.address import StoreAddress, StoreAway
from journeyman.tracking.identity import RunIdentity
from journeyman.tracking.operations import (
    OpenRun,
    Operation,
    RunReference,
    from_line,
    to_line,
)


class StoreFailed(Exception):
    """A store did not take what it was asked to.

    Attributes:
        lasting: it will not, however often it is asked.
    """

    def __init__(self, message: str, *, lasting: bool) -> None:
        self.lasting = lasting
        super().__init__(message)


@dataclass(frozen=True, kw_only=True)
class StoreDescription:
    """What a store is made of.

    Attributes:
        key: tells the stores of a process apart.
        address: which store.
        experiment: name of the experiment that new runs are opened in.
        identity: the run that is gone on with.
        folder: run folder, or folder of a sweep.
    """

    key: int
    address: StoreAddress
    experiment: str
    identity: RunIdentity | None
    folder: Path

    def to_json(self) -> dict[str, Any]:
        """Returns it as a JSON object; the URI in it may have a password."""
        address = asdict(self.address)
        for name in ("database", "artifacts"):
            address[name] = None if address[name] is None else str(address[name])
        return {
            "key": self.key,
            "address": address,
            "experiment": self.experiment,
            "identity": None if self.identity is None else asdict(self.identity),
            "folder": str(self.folder),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Returns the description that an object came from."""
        address = dict(values["address"])
        for name in ("database", "artifacts"):
            address[name] = None if address[name] is None else Path(address[name])
        identity = values["identity"]
        return cls(
            key=values["key"],
            address=StoreAddress(**address),
            experiment=values["experiment"],
            identity=None if identity is None else RunIdentity(**identity),
            folder=Path(values["folder"]),
        )


def operations_to_json(operations: Sequence[Operation]) -> dict[str, Any]:
    """Returns operations, and what is known of the runs that they are of."""
    runs = {run.label: run for run in _runs_of(operations)}
    return {
        "operations": [to_line(each) for each in operations],
        "runs": [run_to_json(run) for run in runs.values()],
    }


def operations_from_json(values: Mapping[str, Any]) -> list[Operation]:
    """Returns the operations that an object came from; those of one run share its reference."""
    runs = {}
    for state in values["runs"]:
        run = RunReference(state["label"])
        run_from_json(run, state)
        runs[run.label] = run
    return [from_line(line, runs) for line in values["operations"]]


def _runs_of(operations: Iterable[Operation]) -> Iterable[RunReference]:
    for operation in operations:
        yield operation.run
        if isinstance(operation, OpenRun) and operation.parent is not None:
            yield operation.parent


def run_to_json(run: RunReference) -> dict[str, Any]:
    """Returns what a store knows, or has just found out, of a run."""
    found = run.found
    return {
        "label": run.label,
        "run_id": run.run_id,
        "tried": run.tried,
        "doubted": run.doubted,
        "found": found and {key: [*steps.items()] for key, steps in found.items()},
    }


def run_from_json(run: RunReference, state: Mapping[str, Any]) -> None:
    """Brings a reference to the state that an object has."""
    run.run_id, run.tried, run.doubted = state["run_id"], state["tried"], state["doubted"]
    found = state["found"]
    run.found = found and {key: Counter(dict(steps)) for key, steps in found.items()}


def failure_to_json(error: BaseException, *, lasting: bool) -> dict[str, Any]:
    """Returns what was raised, with the traceback for those who look for a bug; no password."""
    problems = error.problems if isinstance(error, UserError) else [str(error)]
    return {
        "kind": type(error).__name__,
        "is_users": isinstance(error, UserError),
        "is_away": isinstance(error, StoreAway),
        "problems": [masked(each) for each in problems],
        "lasting": lasting,
        "trace": masked("".join(traceback.format_exception(error))),
    }


def failure_from_json(values: Mapping[str, Any]) -> Exception:
    """Returns what is to be raised in its place: ``StoreAway``, ``UserError``, ``StoreFailed``."""
    problems = values["problems"]
    if values["is_away"]:
        return StoreAway(problems)
    if values["is_users"]:
        return UserError(problems)
    error = StoreFailed(problems[0] or values["kind"], lasting=values["lasting"])
    error.add_note(f"in the process that writes to the store:\n{values['trace']}")
    return error
