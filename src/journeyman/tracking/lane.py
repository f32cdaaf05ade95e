"""A queue of operations and the thread that carries them out, in order, each until it is taken.

Training only appends. An operation leaves the queue after the store has taken it, or has said
that it never will; metrics keep the time they were logged at, so that a batch delivered twice
(the store took it but its answer was lost) is recognised as the same rows by MLflow.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice

from journeyman.tracking.operations import (
    OpenRun,
    Operation,
    Points,
    RunReference,
    Store,
    StoreArtifact,
    describe,
    perform,
)
from journeyman.tracking.spool import Spool, spooled_lines
from journeyman.tracking.waiting import Waiting

MAX_VALUES_PER_BATCH = 5000
"""What is too long for a call of the store's, the store divides."""
THREAD_NAME = "journeyman-tracking"
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0
CLOSING_RETRY_SECONDS = 1.0
LAST_TRY_SECONDS = 3.0
"""How long, at the end, a store is tried that has not answered for longer than one is patient."""
OPENING_POLL_SECONDS = 0.05
"""How often is looked whether another lane has opened the run that an operation is of."""

_logger = logging.getLogger(__name__)


class Lane:
    """A queue and the daemon thread that empties it.

    Args:
        store: carries operations out; called on the thread only.
        spool: keeps what waits while the store fails; None: nothing does.
        name: what the store is called in warnings.
        subject: what it is sent, in warnings.
        flush_seconds: metrics wait at most this long.
        flush_metrics: the thread starts at once when this many values wait.
        opens_runs: whether this lane opens its runs itself, or waits until another has.
        waiting: operations that the spool holds already.
        outage: says whether what is queued is to be kept on disk: this lane or one that it
            depends on fails.
        on_failure: called on the thread after a failure.
        on_found: called on the thread after operations in the queue were changed.
    """

    def __init__(
        self,
        store: Store,
        spool: Spool | None,
        *,
        name: str,
        subject: str,
        flush_seconds: float,
        flush_metrics: int,
        opens_runs: bool,
        waiting: Sequence[Operation] = (),
        outage: Callable[[], bool],
        on_failure: Callable[[], None],
        on_found: Callable[[], None],
    ) -> None:
        self._store, self._spool = store, spool
        self._name, self._subject = name, subject
        self._flush_seconds, self._flush_metrics = flush_seconds, flush_metrics
        self._opens_runs = opens_runs
        self._outage, self._on_failure, self._on_found = outage, on_failure, on_found
        self.changed = threading.Condition()
        self.queue = Waiting(waiting)
        self._values = sum(len(op.metrics) for op in waiting if isinstance(op, Points))
        self._oldest = time.monotonic()
        self._due = len(self.queue)  # operations at the queue's head that wait for nothing more
        self._alone = 0  # of these, those to be carried out one by one
        self._closing = False
        self._abandoned = False
        self._failures = 0
        self._warned: set[tuple[type[Operation], str]] = set()
        self.failing_since: float | None = None
        self.progress = time.monotonic()
        self.thread = threading.Thread(target=self._work, name=THREAD_NAME, daemon=True)

    def put(self, operation: Operation, *, urgent: bool = False) -> None:
        """Queues an operation; an urgent one is carried out at once, with all before it."""
        with self.changed:
            if isinstance(operation, Points):
                operation = operation.missing()
                if not operation.metrics:
                    return
                self._values += len(operation.metrics)
            if not self.queue:
                self._oldest = time.monotonic()
            self.queue.append(operation)
            if urgent:
                self._all_due()
            # The first one wakes the thread to wait for `flush_seconds` from now on.
            first = len(self.queue) == 1
            if urgent or first or self._values >= self._flush_metrics or self._outage():
                self.changed.notify()

    def flush(self) -> None:
        """Has all that is queued carried out at once."""
        with self.changed:
            self._all_due()
            self.changed.notify()

    def patience(self, seconds: float, now: float) -> float:
        """Returns how long is left of being patient: what the lane has failed for counts."""
        if self.failing_since is None:
            return seconds
        return max(min(LAST_TRY_SECONDS, seconds), seconds - (now - self.failing_since))

    def close(self) -> None:
        """Has all carried out and the thread end then."""
        with self.changed:
            self._closing = True
            self._all_due()
            self.progress = time.monotonic()
            self.changed.notify()

    def abandon(self) -> None:
        """Tells the thread to end without more attempts."""
        with self.changed:
            self._abandoned = True
            self.changed.notify()

    def settle(self) -> None:
        """Lets go of whoever waits for an operation in the queue."""
        with self.changed:
            queued = list(self.queue)
        _settle(queued)

    def unspooled(self) -> list[Operation]:
        """Returns what the spool lacks of the queue."""
        with self.changed:
            return list(self.queue.fresh)

    def unopened(self) -> list[Operation]:
        """Returns what the spool has of the queue and what it lacks may depend on."""
        with self.changed:
            return [each for each in self.queue.spooled if isinstance(each, OpenRun)]

    def keep(self) -> None:
        """Adds to the spool what it lacks of the queue."""
        lines = spooled_lines(self.unspooled())
        with self.changed:
            if self._spool is not None and not self._abandoned:
                self._spool.append(lines)
                self.queue.kept(len(lines))

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            if not batch:
                self.keep()
            elif not self._is_open(batch[0]):
                self._set_aside(batch, "its run was never opened")
            elif batch[0].run.refused is not None:
                self._set_aside(batch, batch[0].run.refused)
            else:
                self._carry_out(batch)

    def _carry_out(self, batch: list[Operation]) -> None:
        try:
            perform(self._store, batch)
        # Any error of any store means the same here: not taken.
        except Exception as error:
            reason = " ".join(str(error).split())[:500] or type(error).__name__
            if not self._store.refuses(error):
                self._failed(batch, reason)
            elif len(batch) > 1:
                self._alone = len(batch)  # one of them is refused, or some
            else:
                self._set_aside(batch, reason)
        else:
            self._taken(batch)

    def _next(self) -> list[Operation] | None:
        """Waits until something is due; None when the thread is to end, [] to spool first."""
        with self.changed:
            while not self._abandoned:
                if not self.queue:
                    if self._closing:
                        return None
                    self.changed.wait()
                    continue
                if self._to_be_kept():
                    return []
                wait = self._oldest + self._flush_seconds - time.monotonic()
                if not self._due and (self._values >= self._flush_metrics or wait <= 0.0):
                    self._all_due()
                if self._due and (self._opens_runs or self._is_open(self.queue.first)):
                    return self._head()
                self.changed.wait(OPENING_POLL_SECONDS if self._due else wait)
            return None

    def _to_be_kept(self) -> bool:
        return self._spool is not None and bool(self.queue.fresh) and self._outage()

    @staticmethod
    def _is_open(operation: Operation) -> bool:
        run = operation.run
        opens = isinstance(operation, OpenRun)
        return opens or run.run_id is not None or run.refused is not None

    def _all_due(self) -> None:
        # Not "until the queue is empty": what training adds meanwhile waits for a batch of its
        # own instead of going out in crumbs.
        self._due = len(self.queue)
        self._oldest = time.monotonic()

    def _head(self) -> list[Operation]:
        """Returns the queue's first operation, or the leading metrics of one run together."""
        first = self.queue.first
        if not isinstance(first, Points) or self._alone:
            return [first]
        batch: list[Operation] = [first]
        values = len(first.metrics)
        for operation in islice(self.queue, 1, None):
            if not isinstance(operation, Points) or operation.run is not first.run:
                break
            values += len(operation.metrics)
            if values > MAX_VALUES_PER_BATCH:
                break
            batch.append(operation)
        return batch

    def _taken(self, batch: list[Operation]) -> None:
        first = batch[0]
        with self.changed:
            found = first.run.found if isinstance(first, OpenRun) else None
            if not self._pop(batch):
                return
            if found:
                self._pass_over(first.run, found)
        if found:
            self._on_found()
        _settle(batch)

    def _set_aside(self, batch: list[Operation], reason: str) -> None:
        """Takes off the queue what the store will never take, and says so."""
        with self.changed:
            if not self._pop(batch):
                return
        for operation in batch:
            if isinstance(operation, OpenRun):
                operation.run.refused = reason
            if self._spool is not None:
                self._spool.refuse(operation, reason)
            kind = (type(operation), operation.run.label)
            if kind not in self._warned:
                self._warned.add(kind)
                what = describe(operation)
                _logger.warning("%s refuses %s (%s); the run goes on", self._name, what, reason)
        _settle(batch)

    def _pop(self, batch: list[Operation]) -> bool:
        """Takes a batch off the queue; False where others have to do with it since."""
        if self._abandoned:
            return False
        count = len(batch)
        self._values -= sum(len(each.metrics) for each in batch if isinstance(each, Points))
        self._due, self._alone = max(0, self._due - count), max(0, self._alone - count)
        from_spool = self.queue.pop(count)
        if self._spool is not None:
            self._spool.taken(from_spool)
        self.progress = time.monotonic()
        if self._failures:
            _logger.info("%s takes %s again; nothing is lost", self._name, self._subject)
        self._failures, self.failing_since = 0, None
        return True

    def _pass_over(self, run: RunReference, found: dict[str, Counter[int]]) -> None:
        """Empties of points that the store has already what was logged again of a run."""
        run.later, run.found = found, None
        for part in (self.queue.spooled, self.queue.fresh):
            for index, operation in enumerate(part):
                if operation.run is not run:
                    continue
                if isinstance(operation, OpenRun):
                    # What follows was logged by yet another process, and this opening sees to it.
                    run.later = {}
                    return
                if isinstance(operation, Points):
                    part[index] = rest = operation.missing()
                    self._values -= len(operation.metrics) - len(rest.metrics)

    def _failed(self, batch: list[Operation], reason: str) -> None:
        with self.changed:
            self._failures += 1
            if self.failing_since is None:
                self.failing_since = time.monotonic()
        if self._failures == 1 and not self._abandoned:
            _logger.warning(
                "%s does not take %s (%s); the run goes on, they are kept and tried again",
                self._name,
                self._subject,
                reason,
            )
        _settle(batch)
        self._on_failure()
        delay = min(FIRST_RETRY_SECONDS * 2.0 ** (self._failures - 1), LONGEST_RETRY_SECONDS)
        deadline = time.monotonic() + delay
        while self._waits_until(deadline):
            self.keep()

    def _waits_until(self, deadline: float) -> bool:
        """Returns True as soon as something is to be spooled, False when the time is over."""
        with self.changed:
            while not self._abandoned:
                if self._to_be_kept():
                    return True
                if self._closing:
                    deadline = min(deadline, time.monotonic() + CLOSING_RETRY_SECONDS)
                left = deadline - time.monotonic()
                if left <= 0.0:
                    break
                self.changed.wait(left)
            return False


def _settle(operations: Sequence[Operation]) -> None:
    for operation in operations:
        if isinstance(operation, StoreArtifact | OpenRun):
            operation.settled.set()
