"""What a store holds of a run that is resumed, so that nothing is lost and nothing is there twice.

A checkpoint remembers the time up to which points were logged, and what was still queued then.
Of the points that are later than it some were delivered before the run was killed; the resumed
run computes all of them again. As it does so, each one that the store has is passed over once.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from journeyman.checkpoint import write_atomically
from journeyman.tracking import spool
from journeyman.tracking.identity import RunIdentity
from journeyman.tracking.operations import (
    OpenRun,
    Operation,
    RunReference,
    SetTags,
    Store,
    from_line,
    now_milliseconds,
    perform,
    to_line,
)
from journeyman.tracking.protocol import RunInfo, RunStatus
from journeyman.tracking.values import storable_params

MAX_KEPT = 1000
"""Operations that wait for delivery of which a checkpoint itself keeps this many at most."""
WAITING_FILE = "tracking_waiting.jsonl"
RESUMED_TAG = "resumed"
"""How often a run was resumed."""


@dataclass(frozen=True)
class StoredStage:
    """A stage's run that the store has.

    Attributes:
        run_id: its id there.
        figures: names of the figures it has.
    """

    run_id: str
    figures: frozenset[str] = frozenset()


@dataclass(frozen=True)
class StoredRun:
    """What a store has of a job's run beyond a checkpoint.

    Attributes:
        later: key -> step -> number of points later than the checkpoint.
        latest: time of the last point of all, Unix milliseconds; -1 without any.
        stages: name -> the run of a stage.
    """

    later: Mapping[str, Counter[int]] = field(default_factory=dict)
    latest: int = -1
    stages: Mapping[str, StoredStage] = field(default_factory=dict)

    @classmethod
    def read(cls, client: Any, experiment_id: str, run_id: str, *, since: int) -> "StoredRun":
        """Asks the store once for each curve; stages left RUNNING are closed as KILLED.

        Args:
            client: MLflow's.
            experiment_id: of the run.
            run_id: of the job.
            since: points with a later time (Unix milliseconds) are later than the checkpoint.
        """
        later: dict[str, Counter[int]] = {}
        latest = -1
        for key in client.get_run(run_id).data.metrics:
            for point in client.get_metric_history(run_id, key):
                latest = max(latest, point.timestamp)
                if point.timestamp > since:
                    later.setdefault(key, Counter())[point.step] += 1
        stages = {}
        for stage in client.search_runs(
            [experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}' and tags.kind = 'stage'"
        ):
            stages[stage.info.run_name] = StoredStage(
                stage.info.run_id, frozenset(stage.data.metrics)
            )
            # One that the resumed run does not come back to would stay RUNNING for ever.
            if stage.info.status == "RUNNING":
                client.set_terminated(stage.info.run_id, RunStatus.KILLED.value)
            if "error" in stage.data.tags:
                client.delete_tag(stage.info.run_id, "error")
        return cls(later, latest, stages)

    def missing(self, pairs: list[tuple[str, float]], step: int) -> list[tuple[str, float]]:
        """Returns the ``(key, value)`` pairs that the store lacks; those it has are ticked off."""
        if not self.later:
            return pairs
        return [pair for pair in pairs if not self._ticked_off(pair[0], step)]

    def _ticked_off(self, key: str, step: int) -> bool:
        steps = self.later.get(key)
        if not steps or not steps[step]:
            return False
        steps[step] -= 1
        return True


def run_to_resume(
    client: Any, run: RunInfo, here: RunIdentity, *, search: bool
) -> RunIdentity | None:
    """Returns the run that a folder has in a store, or None.

    Args:
        client: MLflow's.
        run: what is known of the run.
        here: the store and the experiment.
        search: look in the experiment too: a run may have been killed after it was opened and
            before its folder had its id.
    """
    identity = RunIdentity.read(run.run_dir)
    if identity is not None:
        return identity if identity.tracking_uri == here.tracking_uri else None
    folder = run.tags.get("run_dir")
    if not search or folder is None:
        return None
    quote = '"' if "'" in folder else "'"
    found = client.search_runs([here.experiment_id], f"tags.run_dir = {quote}{folder}{quote}")
    if not found:
        return None
    identity = replace(here, run_id=found[0].info.run_id)
    identity.write(run.run_dir)
    return identity


def reopen(
    client: Any,
    store: Store,
    run: RunInfo,
    identity: RunIdentity,
    position: Mapping[str, Any],
) -> tuple[RunReference, StoredRun]:
    """Puts a run back to RUNNING, with all that was logged of it before a checkpoint.

    Args:
        client: MLflow's.
        store: where operations are carried out.
        run: what is known of the run.
        identity: its place in the store.
        position: ``MlflowTracker.position`` at the checkpoint; empty: nothing was logged before.

    Returns:
        The run, and what the store has of it beyond the checkpoint.
    """
    job = RunReference(identity.run_id, identity.run_id)
    if spool.spooled_uri(run.run_dir) == identity.tracking_uri:
        spool.deliver(run.run_dir, store)
    known = client.get_run(identity.run_id).data
    params = storable_params(run.params)[0]
    absent = {key: value for key, value in params.items() if key not in known.params}
    store.open_run(OpenRun(job, "", {}, absent, now_milliseconds()))
    since = position.get("time", -1)
    stored = StoredRun.read(client, identity.experiment_id, identity.run_id, since=since)
    _redeliver(_kept_waiting(run.run_dir, position), store, stored)
    if "error" in known.tags:
        client.delete_tag(identity.run_id, "error")
    times = int(known.tags.get(RESUMED_TAG, "0")) + 1
    store.set_tags(SetTags(job, {RESUMED_TAG: str(times)}))
    return job, stored


def keep_waiting(run_dir: Path, operations: Sequence[Operation]) -> list[dict[str, Any]] | None:
    """Keeps what waits for delivery when a checkpoint is taken.

    Returns:
        A JSON object for each operation. None: there are more than ``MAX_KEPT``, as in a long
        outage, and they are in a file of the run folder.
    """
    lines = [to_line(operation) for operation in operations]
    if len(lines) <= MAX_KEPT:
        return lines
    text = "".join(f"{json.dumps(line, allow_nan=False)}\n" for line in lines)
    write_atomically(run_dir / WAITING_FILE, text.encode())
    return None


def _kept_waiting(run_dir: Path, position: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    lines: Sequence[Mapping[str, Any]] | None = position.get("undelivered", ())
    if lines is not None:
        return lines
    with (run_dir / WAITING_FILE).open(encoding="utf-8") as file:
        kept = [json.loads(line) for line in file]
    # The file may be that of a later checkpoint, which was not written any more.
    return [line for line in kept if line.get("timestamp", -1) <= position["time"]]


def _redeliver(lines: Sequence[Mapping[str, Any]], store: Store, stored: StoredRun) -> None:
    """Carries out what was queued at a checkpoint, some of which the store may have taken since.

    Points keep their time, by which the store knows them again; a stage's run is known by name.
    """
    runs: dict[str, RunReference] = {}
    for line in lines:
        operation = from_line(line, runs)
        if isinstance(operation, OpenRun) and operation.run.run_id is None:
            known = stored.stages.get(operation.name)
            operation.run.run_id = None if known is None else known.run_id
        perform(store, [operation])
