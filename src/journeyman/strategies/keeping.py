"""Which states of a stage in progress are kept, and what a stage does when it is asked to stop."""

from collections.abc import Generator
from contextlib import contextmanager

from journeyman.checkpoint import Checkpoint
from journeyman.context import RunStopped, TrainingContext

SLOW_SECONDS = 0.5
"""After an update or epoch this long its state is kept in memory, since the next one may have to
be given up in its middle; keeping it takes milliseconds."""


class Keeper:
    """Keeps the last good state of a stage, and writes it when that is due or the run ends.

    Args:
        context: the run's surroundings.
        start: what the stage begins with.
        count: updates or epochs of the stage.
        keep_all: every state is wanted back, not only those that are written.

    Attributes:
        good: the last state kept.
        count: updates or epochs of the stage.
    """

    def __init__(
        self, context: TrainingContext, start: Checkpoint, count: int, *, keep_all: bool = False
    ) -> None:
        self.good = start
        self.count = count
        self._context, self._keep_all = context, keep_all
        self._written = True

    def asked_to_stop(self) -> bool:
        """Says whether a signal has asked the run to end: at each safe point."""
        return self._context.stop_requested() is not None

    def stop(self, state: Checkpoint) -> None:
        """Writes the state as it is now and raises ``RunStopped``."""
        self.good = state
        self._write()
        self._context.should_stop()

    def wants(self, done: int, seconds: float) -> bool:
        """Says whether the state after an update or epoch is wanted.

        Args:
            done: updates or epochs so far.
            seconds: how long this one took.
        """
        return self._due(done) or self._keep_all or seconds >= SLOW_SECONDS

    def keep(self, done: int, state: Checkpoint) -> None:
        """Keeps the state after an update or epoch, and writes it if that is due."""
        self.good, self._written = state, False
        if self._due(done):
            self._write()

    @contextmanager
    def rescue(self) -> Generator[None]:
        """Writes the last good state if work is ended in the middle of an update or epoch."""
        try:
            yield
        except RunStopped:
            if not self._written:
                self._write()
            raise

    def _due(self, done: int) -> bool:
        return done % self._context.settings.checkpoint.every == 0 and done < self.count

    def _write(self) -> None:
        self._context.save(self.good)
        self._written = True
