"""A stage's nested run, opened, filled and ended through the queue."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from journeyman.tracking.delivery import Delivery
from journeyman.tracking.operations import (
    EndRun,
    OpenRun,
    Points,
    RunReference,
    SetTags,
    now_milliseconds,
)
from journeyman.tracking.protocol import RunStatus
from journeyman.tracking.tags import user_tags
from journeyman.tracking.values import MetricCheck, cut_tags, storable_params


class QueuedStage:
    """A stage's run; it need not exist in the store yet."""

    def __init__(self, queue: Delivery, run: RunReference) -> None:
        self._queue = queue
        self._run = run
        self._check = MetricCheck()

    def figures(self, metrics: Mapping[str, float]) -> None:
        """Sets final figures, named as given; those the store has are left as they are.

        Raises:
            ValueError: a name is illegal or a value not finite.
        """
        self._queue.put(Points(self._run, now_milliseconds(), 0, self._check("", metrics, 0)))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Sets tags."""
        self._queue.put(SetTags(self._run, cut_tags(tags)))


@contextmanager
def queued_stage(
    queue: Delivery, job: RunReference, name: str, settings: Mapping[str, object], *, resumed: bool
) -> Iterator[QueuedStage]:
    """Yields a stage run under a job's run; it ends with the truth about how it was left.

    Args:
        queue: what carries it to the store.
        job: the job's run.
        name: of the stage.
        settings: of the stage.
        resumed: go on in the job's run of this stage, if the store has one.
    """
    run = RunReference(uuid.uuid4().hex)
    params, left_out = storable_params(settings)
    tags = {"kind": "stage", **user_tags(), **left_out}
    since = -1 if resumed else None
    queue.put(OpenRun(run, name, tags, params, now_milliseconds(), parent=job, since=since))
    stage = QueuedStage(queue, run)
    status = RunStatus.FINISHED
    try:
        yield stage
    except BaseException as error:
        # Ctrl-C, an exit and a stop asked for by a signal are no errors of the work.
        killed = not isinstance(error, Exception)
        status = RunStatus.KILLED if killed else RunStatus.FAILED
        stage.tag({"error": f"{type(error).__name__}: {error}"})
        raise
    finally:
        queue.put(EndRun(run, status.value, now_milliseconds()))
