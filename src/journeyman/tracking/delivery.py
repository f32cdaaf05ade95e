"""A thread that carries queued operations to a store, in order, each until it is taken.

Training only appends to a queue. An operation leaves the queue after the store has taken it, so
an outage loses nothing; metrics keep the time they were logged at, so that a batch delivered
twice (the store took it but its answer was lost) is recognised as the same rows by MLflow.
"""

import logging
import math
import threading
import time
from collections import deque
from itertools import islice

from journeyman.tracking.operations import Operation, Points, Store, StoreArtifact, perform

MAX_METRICS_PER_CALL = 1000
"""MLflow's limit of one ``log_batch``."""
THREAD_NAME = "journeyman-tracking"
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0
CLOSING_RETRY_SECONDS = 1.0

_logger = logging.getLogger(__name__)


class Delivery:
    """A queue and the daemon thread that empties it.

    Args:
        store: carries operations out; called on the thread only.
        name: what the store is called in warnings.
        flush_seconds: metrics wait at most this long.
        flush_metrics: the thread starts at once when this many values wait.
    """

    def __init__(
        self, store: Store, *, name: str, flush_seconds: float, flush_metrics: int
    ) -> None:
        self._store = store
        self._name = name
        self._flush_seconds = flush_seconds
        self._flush_metrics = flush_metrics
        self._changed = threading.Condition()
        self._queue: deque[Operation] = deque()
        self._values = 0
        self._oldest = 0.0
        self._due = 0  # operations at the queue's head that wait for nothing more
        self._closing = False
        self._abandoned = False
        self._failures = 0
        self._progress = time.monotonic()
        self._thread = threading.Thread(target=self._work, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def put(self, operation: Operation, *, urgent: bool = False) -> None:
        """Queues an operation; an urgent one is carried out at once, with all before it."""
        with self._changed:
            if not self._queue:
                self._oldest = time.monotonic()
            self._queue.append(operation)
            if isinstance(operation, Points):
                self._values += len(operation.metrics)
            if urgent or len(self._queue) == 1 or self._values >= self._flush_metrics:
                # The first one wakes the thread to wait for `flush_seconds` from now on.
                if urgent:
                    self._all_due()
                self._changed.notify()

    def waiting(self) -> list[Operation]:
        """Returns what the store has not answered for yet, in order."""
        with self._changed:
            return list(self._queue)

    def close(
        self, *, patience_seconds: float, at_most_seconds: float = math.inf
    ) -> list[Operation]:
        """Carries out what is queued and ends the thread.

        Args:
            patience_seconds: give up when the store has taken nothing for this long.
            at_most_seconds: give up after this long in any case.

        Returns:
            What the store did not take, in order; empty as a rule. Also when interrupted, the
            thread is told to end and the rest stays to be had from ``abandon``.
        """
        with self._changed:
            self._closing = True
            self._all_due()
            self._progress = time.monotonic()
            self._changed.notify()
        deadline = time.monotonic() + at_most_seconds
        while self._thread.is_alive():
            self._thread.join(0.05)
            now = time.monotonic()
            if now - self._progress > patience_seconds or now > deadline:
                break
        return self.abandon()

    def abandon(self) -> list[Operation]:
        """Tells the thread to end without more attempts and returns what is left."""
        with self._changed:
            self._abandoned = True
            self._changed.notify()
            return list(self._queue)

    def _work(self) -> None:
        while batch := self._next():
            try:
                perform(self._store, batch)
            # Any error of any store means the same here: not taken, kept, tried again.
            except Exception as error:
                self._failed(batch, error)
            else:
                self._taken(batch)

    def _next(self) -> list[Operation] | None:
        """Waits until something is due; None when the thread is to end."""
        with self._changed:
            while not self._abandoned:
                if not self._queue:
                    if self._closing:
                        return None
                    self._changed.wait()
                    continue
                wait = self._oldest + self._flush_seconds - time.monotonic()
                if not self._due and (self._values >= self._flush_metrics or wait <= 0.0):
                    self._all_due()
                if self._due:
                    return self._head()
                self._changed.wait(wait)
            return None

    def _all_due(self) -> None:
        # Not "until the queue is empty": what training adds meanwhile waits for a batch of its
        # own instead of going out in crumbs.
        self._due = len(self._queue)
        self._oldest = time.monotonic()

    def _head(self) -> list[Operation]:
        """Returns the queue's first operation, or the leading metrics of one run together."""
        first = self._queue[0]
        if not isinstance(first, Points):
            return [first]
        batch: list[Operation] = [first]
        values = len(first.metrics)
        for operation in islice(self._queue, 1, None):
            if not isinstance(operation, Points) or operation.run is not first.run:
                break
            values += len(operation.metrics)
            if values > MAX_METRICS_PER_CALL:
                break
            batch.append(operation)
        return batch

    def _taken(self, batch: list[Operation]) -> None:
        with self._changed:
            for operation in batch:
                self._queue.popleft()
                if isinstance(operation, Points):
                    self._values -= len(operation.metrics)
            self._due = max(0, self._due - len(batch))
            self._progress = time.monotonic()
            failures, self._failures = self._failures, 0
        _settle(batch)
        if failures:
            _logger.info("%s takes metrics again; nothing is lost", self._name)

    def _failed(self, batch: list[Operation], error: Exception) -> None:
        _settle(batch)
        self._failures += 1
        if self._failures == 1:
            _logger.warning(
                "%s does not take metrics (%s); the run goes on, they are kept and tried again",
                self._name,
                " ".join(str(error).split())[:500] or type(error).__name__,
            )
        delay = min(FIRST_RETRY_SECONDS * 2.0 ** (self._failures - 1), LONGEST_RETRY_SECONDS)
        deadline = time.monotonic() + delay
        with self._changed:
            while not self._abandoned:
                if self._closing:
                    deadline = min(deadline, time.monotonic() + CLOSING_RETRY_SECONDS)
                left = deadline - time.monotonic()
                if left <= 0.0:
                    break
                self._changed.wait(left)


def _settle(batch: list[Operation]) -> None:
    for operation in batch:
        if isinstance(operation, StoreArtifact):
            operation.settled.set()
