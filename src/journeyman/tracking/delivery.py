"""Carries a run's operations to a store: metrics never wait for artifacts, training for neither.

While the store fails, what is queued is also appended to the run folder's spool, on the delivery
threads: a process that is killed in an outage leaves it there.
"""

import math
import time
from collections.abc import Sequence

from journeyman.tracking.lane import Lane
from journeyman.tracking.operations import ARTIFACTS, Operation, Store, StoreArtifact
from journeyman.tracking.spool import Spool, spooled_lines


class Delivery:
    """A queue of metrics and one of artifacts, each with a thread that empties it.

    Args:
        store: carries operations out; called on the threads only.
        name: what the store is called in warnings.
        flush_seconds: metrics wait at most this long.
        flush_metrics: the thread starts at once when this many values wait.
        spool: where what waits is kept in an outage; None: nowhere.
        waiting: operations that the spool holds already; they come first.
    """

    def __init__(
        self,
        store: Store,
        *,
        name: str,
        flush_seconds: float,
        flush_metrics: int,
        spool: Spool | None = None,
        waiting: Sequence[Operation] = (),
    ) -> None:
        self._spool = spool
        self._metrics = Lane(
            store,
            spool,
            name=name,
            subject="metrics",
            flush_seconds=flush_seconds,
            flush_metrics=flush_metrics,
            opens_runs=True,
            waiting=[each for each in waiting if not isinstance(each, ARTIFACTS)],
            outage=lambda: self._metrics.failing_since is not None,
            on_failure=self._settle,
            on_found=self._respool,
        )
        self._artifacts = Lane(
            store,
            spool,
            name=name,
            subject="artifacts",
            flush_seconds=0.0,
            flush_metrics=1,
            opens_runs=False,
            waiting=[each for each in waiting if isinstance(each, ARTIFACTS)],
            outage=lambda: self.failing,
            on_failure=self._settle,
            on_found=self._respool,
        )
        self._lanes = (self._metrics, self._artifacts)
        for lane in self._lanes:
            lane.thread.start()

    @property
    def failing(self) -> bool:
        """Whether the store did not take what it was last sent."""
        return any(lane.failing_since is not None for lane in self._lanes)

    def put(self, operation: Operation, *, urgent: bool = False) -> None:
        """Queues an operation; an urgent one is carried out at once, with all before it."""
        if not isinstance(operation, ARTIFACTS):
            self._metrics.put(operation, urgent=urgent)
            return
        if urgent:
            self._metrics.flush()
        self._artifacts.put(operation)
        if self.failing and isinstance(operation, StoreArtifact):
            operation.settled.set()  # nobody is to wait for it

    def waiting(self) -> list[Operation]:
        """Returns what neither the store has answered for nor the spool holds, in order.

        What opens runs that are not open yet is among it in any case: by the time it is looked
        at, the spool may have been delivered and be gone.
        """
        lacking = [each for lane in self._lanes for each in lane.unspooled()]
        return [*self._metrics.unopened(), *lacking] if lacking else []

    def pending(self) -> int:
        """Returns how many operations the store has not answered for."""
        return sum(len(lane.queue) for lane in self._lanes)

    def close(self, *, patience_seconds: float, at_most_seconds: float = math.inf) -> None:
        """Carries out what is queued and ends the threads.

        A store that is known to be away for longer than one is patient is tried a few seconds.

        Args:
            patience_seconds: give up when the store has taken nothing for this long.
            at_most_seconds: give up after this long in any case.
        """
        now = time.monotonic()
        patience = {lane: lane.patience(patience_seconds, now) for lane in self._lanes}
        for lane in self._lanes:
            lane.close()
        deadline = now + at_most_seconds
        while running := [lane for lane in self._lanes if lane.thread.is_alive()]:
            running[0].thread.join(0.05)
            now = time.monotonic()
            if now > deadline or all(now - lane.progress > patience[lane] for lane in running):
                break

    def leave(self) -> int:
        """Ends the threads without more attempts; what is left is in the spool then.

        Returns:
            How many operations the store did not take; 0 as a rule.
        """
        for lane in self._lanes:
            lane.abandon()
        left = self.pending()
        if left and self._spool is not None:
            rest = [each for lane in self._lanes for each in lane.unspooled()]
            self._spool.append(spooled_lines(rest), sync=True)
        return left

    def abandon(self) -> None:
        """Ends the threads and keeps nothing, as if the process were killed."""
        for lane in self._lanes:
            lane.abandon()

    def _settle(self) -> None:
        for lane in self._lanes:
            lane.settle()

    def _respool(self) -> None:
        """Writes the spool anew, once it is known which points of the queue the store has."""
        if self._spool is None:
            return
        with self._metrics.changed, self._artifacts.changed:
            metrics, artifacts = self._metrics.queue, self._artifacts.queue
            if self._spool.rewrite(spooled_lines([*metrics, *artifacts.spooled])):
                metrics.kept(len(metrics.fresh))
