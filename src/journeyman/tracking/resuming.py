"""What a store holds of a run that is resumed, so that nothing is lost and nothing is there twice.

A checkpoint remembers the time up to which points were logged, and what was still queued then and
not in the spool. Of the points that are later than it some were delivered before the run was
killed; the resumed run computes all of them again. Each one that the store has is passed over
once. As all of this is part of opening the run, it waits for a store that is away.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journeyman.errors import UserError
from journeyman.tracking.identity import RunIdentity
from journeyman.tracking.operations import (
    OpenRun,
    Operation,
    Points,
    RunReference,
    from_line,
)
from journeyman.tracking.protocol import RunStatus
from journeyman.tracking.spool import FILE_NAME, read_spool, spool_head

RESUMED_TAG = "resumed"
"""How often a run was resumed."""
RESUMED_AT_TAG = "resumed.at"
"""When it was resumed last, Unix milliseconds."""
_ALWAYS = 1 << 60


@dataclass(frozen=True, kw_only=True)
class LeftBehind:
    """What earlier processes left in a run folder and a checkpoint.

    Attributes:
        job: the job's run, as what is left names it; None: it is not in there.
        spooled: operations in the spool.
        queued: operations in the checkpoint that may be in no spool.
        latest: time of the latest point among them; -1 without any.
    """

    job: RunReference | None
    spooled: Sequence[Operation]
    queued: Sequence[Operation]
    latest: int


def left_behind(run_dir: Path, tracking_uri: str, position: Mapping[str, Any]) -> LeftBehind:
    """Returns what waits for delivery since an earlier process was ended.

    Args:
        run_dir: the run folder.
        tracking_uri: the store, without a password.
        position: ``MlflowTracker.position`` at the checkpoint; empty without one.

    Raises:
        UserError: the spool is damaged, or meant for another store.
    """
    head = spool_head(run_dir)
    if head is not None and head.tracking_uri != tracking_uri:
        raise UserError(
            f"{run_dir / FILE_NAME} is meant for {head.tracking_uri}, not {tracking_uri}; deliver "
            "it with journeyman sync, or remove it"
        )
    runs: dict[str, RunReference] = {}
    spooled = read_spool(run_dir, runs)
    queued = [from_line(line, runs) for line in position.get("undelivered", ())]
    all_left = [*spooled, *queued]
    opened = [each.run for each in all_left if isinstance(each, OpenRun) and each.folder]
    times = [each.timestamp for each in all_left if isinstance(each, Points)]
    return LeftBehind(
        job=opened[-1] if opened else None,
        spooled=spooled,
        queued=queued,
        latest=max(times, default=-1),
    )


def go_on_with_job(client: Any, operation: OpenRun, identity: RunIdentity) -> None:
    """Finds what a store has of a job's run beyond the checkpoint it is resumed from.

    Stages left RUNNING are closed as KILLED: one that the run does not come back to would stay
    RUNNING for ever. What the run said of its earlier end is taken back.
    """
    run_id = operation.run.opened_id
    tags = client.get_run(run_id).data.tags
    assert operation.since is not None
    operation.run.found = _points_between(client, run_id, operation.since, operation.timestamp)
    for stage in stages_of(client, identity.experiment_id, run_id):
        if stage.info.status == "RUNNING":
            client.set_terminated(stage.info.run_id, RunStatus.KILLED.value)
        if "error" in stage.data.tags:
            client.delete_tag(stage.info.run_id, "error")
    if "error" in tags:
        client.delete_tag(run_id, "error")
    if tags.get(RESUMED_AT_TAG) != str(operation.timestamp):
        times = int(tags.get(RESUMED_TAG, "0")) + 1
        client.set_tag(run_id, RESUMED_TAG, str(times))
        client.set_tag(run_id, RESUMED_AT_TAG, str(operation.timestamp))


def go_on_with_stage(operation: OpenRun, stage: Any) -> None:
    """Notes which figures a store has of a stage's run: one value each, and it stays."""
    operation.run.found = {name: Counter({0: _ALWAYS}) for name in stage.data.metrics}


def stages_of(client: Any, experiment_id: str, run_id: str) -> list[Any]:
    """Returns the runs of a job's stages."""
    return list(
        client.search_runs(
            [experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}' and tags.kind = 'stage'"
        )
    )


def _points_between(client: Any, run_id: str, since: int, until: int) -> dict[str, Counter[int]]:
    """Asks the store once for each curve: key -> step -> number of points in a stretch of time."""
    found: dict[str, Counter[int]] = {}
    for key in client.get_run(run_id).data.metrics:
        for point in client.get_metric_history(run_id, key):
            if since < point.timestamp < until:
                found.setdefault(key, Counter())[point.step] += 1
    return found
