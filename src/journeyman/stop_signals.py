"""SIGINT and SIGTERM end work at a safe point, or where it is if it comes to none."""

import logging
import math
import signal
import threading
import time
from types import FrameType
from typing import Any, NoReturn, Self

from journeyman.context import RunStopped

_LOG = logging.getLogger(__name__)
GRACE_SECONDS = 2.0
"""How long work may go on to its next safe point once a signal has asked it to end."""


class StopSignals:
    """Remembers SIGINT and SIGTERM so that work can end at a safe point.

    Work that comes to none within ``GRACE_SECONDS`` is interrupted where it is, as it is by a
    second signal: what is saved is whole, and what was kept in memory is saved on the way out.
    Signals that come on this way do not cut it short, unless it takes ``GRACE_SECONDS`` itself.
    Outside the main thread no handler can be installed; then only a direct request stops a run.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._left_at = -math.inf
        self._at_end = self._is_final = False
        self._previous: dict[int, Any] = {}
        self._alarm: Any = None
        self._timer: tuple[float, float] | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self.disarm()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def take(self) -> int | None:
        """Returns the signal received, if any; whoever asks at a safe point is not interrupted."""
        if self.received is not None:
            self.disarm()
            if self._left_at == -math.inf:
                self._left_at = time.monotonic()
        return self.received

    def end(self, *, is_bounded: bool) -> None:
        """Lets what closes a run be done, whatever signals come.

        Args:
            is_bounded: it ends soon by itself; else a signal, be it one that came too late for
                the work, ends it after ``GRACE_SECONDS``.
        """
        self._at_end, self._is_final = True, is_bounded
        self.disarm()
        if self.received is not None and not is_bounded:
            self._arm()

    def disarm(self) -> None:
        """Lets the work at hand end in its own time."""
        if self._timer is not None:
            signal.setitimer(signal.ITIMER_REAL, *self._timer)
            signal.signal(signal.SIGALRM, self._alarm)
            self._timer = None

    def _arm(self) -> None:
        self._alarm = signal.signal(signal.SIGALRM, self._on_alarm)
        self._timer = signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._is_final or time.monotonic() - self._left_at < GRACE_SECONDS:
            return
        if self.received is None:
            self.received = number
            self._arm()
            _LOG.warning("signal %d: ending at the next safe point", number)
        elif not self._at_end:
            self._interrupt(number)

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        self.disarm()
        assert self.received is not None
        self._interrupt(self.received)

    def _interrupt(self, number: int) -> NoReturn:
        self._left_at, self._is_final = time.monotonic(), self._at_end
        raise RunStopped(number)
