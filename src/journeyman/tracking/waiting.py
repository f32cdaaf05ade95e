"""Operations that wait for a store, in order; those at the head are in the spool already."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

from journeyman.tracking.operations import Operation


class Waiting:
    """A queue in two parts, so that what the spool lacks is at hand however long the queue is.

    Args:
        spooled: operations that the spool holds already.

    Attributes:
        spooled: at the head.
        fresh: behind them; the spool lacks these.
    """

    def __init__(self, spooled: Iterable[Operation]) -> None:
        self.spooled: deque[Operation] = deque(spooled)
        self.fresh: deque[Operation] = deque()

    def __len__(self) -> int:
        return len(self.spooled) + len(self.fresh)

    def __iter__(self) -> Iterator[Operation]:
        return chain(self.spooled, self.fresh)

    @property
    def first(self) -> Operation:
        """The head."""
        return self.spooled[0] if self.spooled else self.fresh[0]

    def append(self, operation: Operation) -> None:
        """Adds what the spool lacks."""
        self.fresh.append(operation)

    def pop(self, count: int) -> int:
        """Takes operations off the head, and returns how many of them the spool has."""
        from_spool = min(count, len(self.spooled))
        for _ in range(from_spool):
            self.spooled.popleft()
        for _ in range(count - from_spool):
            self.fresh.popleft()
        return from_spool

    def kept(self, count: int) -> None:
        """Notes that the spool has so many more of them now."""
        for _ in range(count):
            self.spooled.append(self.fresh.popleft())
