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
from journeyman.tracking.resuming import StoredStage
from journeyman.tracking.tags import user_tags
from journeyman.tracking.values import MetricCheck, cut_tags, storable_params


class QueuedStage:
    """A stage's run; it need not exist in the store yet."""

    def __init__(
        self, queue: Delivery, run: RunReference, known: frozenset[str] = frozenset()
    ) -> None:
        self._queue = queue
        self._run = run
        self._known = known
        self._check = MetricCheck()

    def figures(self, metrics: Mapping[str, float]) -> None:
        """Sets final figures, named as given; those the store has are left as they are.

        Raises:
            ValueError: a name is illegal or a value not finite.
        """
        pairs = [pair for pair in self._check("", metrics, 0) if pair[0] not in self._known]
        self._queue.put(Points(self._run, now_milliseconds(), 0, pairs))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Sets tags."""
        self._queue.put(SetTags(self._run, cut_tags(tags)))


@contextmanager
def queued_stage(
    queue: Delivery,
    parent_id: str,
    name: str,
    settings: Mapping[str, object],
    known: StoredStage | None = None,
) -> Iterator[QueuedStage]:
    """Yields a stage run under a job's run; it ends with the truth about how it was left.

    Args:
        queue: what carries it to the store.
        parent_id: id of the job's run.
        name: of the stage.
        settings: of the stage.
        known: the run of this stage that the store has, to go on in; None: a new one.
    """
    run = RunReference(uuid.uuid4().hex, None if known is None else known.run_id)
    params, left_out = storable_params(settings)
    tags = {"mlflow.parentRunId": parent_id, "kind": "stage", **user_tags(), **left_out}
    queue.put(OpenRun(run, name, tags, params, now_milliseconds()))
    stage = QueuedStage(queue, run, frozenset() if known is None else known.figures)
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
