"""Signals end work at a safe point, or where it is if it comes to none."""

import os
import signal
import time

import pytest

from journeyman import session
from journeyman.context import RunStopped
from journeyman.session import StopSignals


def busy(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def signalled(*numbers: int) -> None:
    """Works on, whatever the signals say."""
    with StopSignals():
        for number in numbers:
            os.kill(os.getpid(), number)
        busy(5.0)


def test_a_safe_point_in_time_is_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "GRACE_SECONDS", 0.2)
    with StopSignals() as signals:
        assert signals.take() is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.take() == signal.SIGTERM
        busy(0.4)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_work_without_a_safe_point_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(session, "GRACE_SECONDS", 0.2)
    began = time.monotonic()
    with pytest.raises(RunStopped) as stopped:
        signalled(number)
    assert stopped.value.signal_number == number
    assert 0.2 <= time.monotonic() - began < 2.0


def test_a_second_signal_is_final() -> None:
    began = time.monotonic()
    with pytest.raises(RunStopped):
        signalled(signal.SIGINT, signal.SIGINT)
    assert time.monotonic() - began < session.GRACE_SECONDS


def test_handlers_and_timers_of_others_come_back() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: heard.append(number))
    left = signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        terminate = signal.getsignal(signal.SIGTERM)
        with StopSignals():
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is terminate
        busy(0.5)
        assert heard == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *left)
