"""Which states of a stage in progress are kept, and what a stage does when it is asked to stop."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter

from journeyman.checkpoint import Checkpoint
from journeyman.context import RunStopped, TrainingContext

SLOW_SECONDS = 0.5
"""After an update or epoch this long its state is kept in memory in any case, since the next one
may have to be given up in its middle; keeping it takes milliseconds."""
KEEPING_SHARE = 0.01
"""Of quick ones as many states are kept as can be in this share of the stage's time, and ..."""
KEEPING_SECONDS = 0.1
"""... in this time, so that short stages lose nothing."""

_LOG = logging.getLogger(__name__)


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
        self._emitted = context.emitted
        self._began = self._asked = perf_counter()
        self._spent = 0.0

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
        self._asked = perf_counter()
        allowed = KEEPING_SECONDS + KEEPING_SHARE * (self._asked - self._began)
        cheap = self._spent <= allowed
        return self._due(done) or self._keep_all or seconds >= SLOW_SECONDS or cheap

    def keep(self, done: int, state: Checkpoint) -> None:
        """Keeps the state after an update or epoch, and writes it if that is due."""
        self.good, self._written = state, False
        self._emitted = self._context.emitted
        self._spent += perf_counter() - self._asked
        if self._due(done):
            self._write()

    @contextmanager
    def rescue(self) -> Generator[None]:
        """Writes the last good state if work is ended in the middle of an update or epoch.

        Ended by whatever it may be: a signal, an environment that broke, a number that is not
        finite. What is wrong with the disk is told by the first error, not by one of the rescue.
        """
        try:
            yield
        except RunStopped:
            self._write_good()
            raise
        except Exception:
            try:
                self._write_good()
            except OSError as error:
                _LOG.warning("the last good state could not be written: %s", error)
            raise

    def _write_good(self) -> None:
        # Metrics that were emitted since belong to a later state: with this one, which knows
        # them as said, a resumed run would say them twice.
        if not self._written and self._context.emitted == self._emitted:
            self._write()

    def _due(self, done: int) -> bool:
        return done % self._context.settings.checkpoint.every == 0 and done < self.count

    def _write(self) -> None:
        self._context.save(self.good)
        self._written = True
