"""A run ends truthfully, whatever signals come."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from journeyman import stop_signals
from journeyman.composition import compose_settings
from journeyman.context import RunStopped
from journeyman.reporting.progress import SilentProgress
from journeyman.run_folder import status_of
from journeyman.session import RunSession
from journeyman.stop_signals import StopSignals
from journeyman.tracking.protocol import RunStatus
from support.cartpole import PRACTICE


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
    monkeypatch.setattr(stop_signals, "GRACE_SECONDS", 0.2)
    with StopSignals() as signals:
        assert signals.take() is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.take() == signal.SIGTERM
        busy(0.4)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_work_without_a_safe_point_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(stop_signals, "GRACE_SECONDS", 0.2)
    began = time.monotonic()
    with pytest.raises(RunStopped) as stopped:
        signalled(number)
    assert stopped.value.signal_number == number
    assert 0.2 <= time.monotonic() - began < 2.0


def test_a_second_signal_is_final() -> None:
    began = time.monotonic()
    with pytest.raises(RunStopped):
        signalled(signal.SIGINT, signal.SIGINT)
    assert time.monotonic() - began < stop_signals.GRACE_SECONDS


def test_signals_on_the_way_out_do_not_cut_it_short(monkeypatch: pytest.MonkeyPatch) -> None:
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.take() == signal.SIGINT
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        busy(0.05)
        # A way out that takes long is left where it is.
        monkeypatch.setattr(stop_signals, "GRACE_SECONDS", 0.01)
        with pytest.raises(RunStopped):
            os.kill(os.getpid(), signal.SIGINT)


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


class Ending:
    """A run whose tracker does something before it ends, as a signal may come at any moment."""

    def __init__(self, folder: Path, before: Callable[[], None]) -> None:
        settings = compose_settings([*PRACTICE, "tracking=none", f"outputs={folder}"])
        self.folder = folder / "run"
        self.session = RunSession(settings, self.folder, None, SilentProgress())
        self.finished: list[RunStatus] = []
        self._before, self._finish = before, self.session.tracker.finish
        self.session.tracker.finish = self.finish  # type: ignore[method-assign]

    def finish(self, status: RunStatus) -> None:
        try:
            self._before()
        finally:
            self._finish(status)
            self.finished.append(status)

    @property
    def status(self) -> str | None:
        return status_of(self.folder)


def interrupt(times: int = 1) -> None:
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)


def _stopped(session: RunSession) -> None:
    with session:
        interrupt()
        raise RunStopped(session.signals.take() or 0)


def test_a_stopped_run_ends_as_killed_however_often_it_is_told(tmp_path: Path) -> None:
    run = Ending(tmp_path, before=lambda: interrupt(3))
    with pytest.raises(RunStopped):
        _stopped(run.session)
    assert (run.status, run.finished) == ("KILLED", [RunStatus.KILLED])


def test_a_signal_at_a_finished_runs_end_leaves_it_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its store may be away: whoever signals does not wait for it, and what it lacks is kept."""
    monkeypatch.setattr(stop_signals, "GRACE_SECONDS", 0.2)

    def before() -> None:
        interrupt(2)
        busy(5.0)

    run = Ending(tmp_path, before)
    began = time.monotonic()
    with pytest.raises(RunStopped), run.session:
        pass
    assert time.monotonic() - began < 4.0
    assert (run.status, run.finished) == ("FINISHED", [RunStatus.FINISHED])


def test_a_signal_too_late_for_the_work_hurries_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Ending(tmp_path, before=lambda: busy(5.0))
    monkeypatch.setattr(stop_signals, "GRACE_SECONDS", 0.2)
    with pytest.raises(RunStopped), run.session:
        interrupt()
    assert (run.status, run.finished) == ("FINISHED", [RunStatus.FINISHED])


def test_a_run_whose_tracking_fails_at_its_end_is_not_finished(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError("no space left")

    run = Ending(tmp_path, fail)
    with pytest.raises(OSError, match="no space"), run.session:
        pass
    assert run.status == "FAILED"
