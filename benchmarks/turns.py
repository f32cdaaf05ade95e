"""Runs of journeyman that work in turns of a second, each while the others are stopped.

What the machine does meanwhile, to other guests or by its clock, then meets all of them alike:
one whole run after another can differ by a tenth and more, runs in turns by some hundredths. Their
first threads share one core, since cores differ too; other threads, and processes that a run starts
before its first update, run where they may, and are stopped with it. Linux only.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Self

from journeyman.tracking.jsonl import FILE_NAME, read_metrics

TURN_SECONDS = 1.0
_START_SECONDS = 300.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One turn of a run.

    Attributes:
        start: seconds since the epoch.
        end: seconds since the epoch.
        others: seconds of processor time that all threads but the first had had by the end, with
            those of processes that the run started.
    """

    start: float
    end: float
    others: float


class RunInTurns:
    """A run of journeyman that works only when it has its turn.

    Args:
        overrides: its configuration.
        outputs: where it runs.
        environment: variables of its process.
    """

    def __init__(
        self, overrides: Sequence[str], outputs: Path, environment: Mapping[str, str]
    ) -> None:
        self.folder = outputs / f"run-{time.time_ns()}"
        self.turns: list[Turn] = []
        self.ended = False
        self._children: list[int] = []
        self._command = [sys.executable, "-m", "journeyman", *overrides]
        self._command += [f"outputs={outputs}", f"hydra.run.dir={self.folder}"]
        self._outputs, self._environment = outputs, environment
        self._said: IO[str]

    def __enter__(self) -> Self:
        self._said = tempfile.TemporaryFile("w+")
        self._began = time.time()
        self._process = subprocess.Popen(
            self._command,
            stdout=self._said,
            stderr=self._said,
            env=self._environment,
            cwd=self._outputs,
        )
        self._end = os.pidfd_open(self._process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._end)
        self._said.close()

    def begin(self) -> None:
        """Lets the run work until its first update is logged; that is its first turn.

        From then on its first thread stays on one core, the same for all runs.

        Raises:
            RuntimeError: it ended before, or did not get there in five minutes.
        """
        deadline = time.time() + _START_SECONDS
        while not self.updates_logged():
            if time.time() > deadline or self._has_ended(0.01):
                raise RuntimeError(self._failure("did not come to its first update"))
        self._children = _children(self._process.pid)
        self._pause(self._began)
        os.sched_setaffinity(self._process.pid, {min(os.sched_getaffinity(0))})

    def turn(self) -> None:
        """Lets the run work for a turn, or until it ends if that is sooner.

        Raises:
            RuntimeError: it failed.
        """
        start = time.time()
        self._signal(signal.SIGCONT)
        if not self._has_ended(TURN_SECONDS):
            self._pause(start)
            return
        self.ended = True
        self.turns.append(Turn(start=start, end=time.time(), others=self.turns[-1].others))
        if self._process.wait():
            raise RuntimeError(self._failure("failed"))

    def updates_logged(self) -> list[float]:
        """Returns when each update of practice was logged, in seconds since the epoch."""
        if not (self.folder / FILE_NAME).is_file():
            return []
        lines = [line for line in read_metrics(self.folder) if line["group"] == "ppo"]
        return [datetime.fromisoformat(line["time"]).timestamp() for line in lines]

    def working(self, start: float, end: float) -> float:
        """Returns for how many seconds the run had its turn between two times."""
        shared = (min(turn.end, end) - max(turn.start, start) for turn in self.turns)
        return sum(each for each in shared if each > 0.0)

    def others_by(self, end: float) -> float:
        """Returns the processor time of the other threads as of the last turn over at a time."""
        return [turn.others for turn in self.turns if turn.end <= end][-1]

    def _pause(self, start: float) -> None:
        self._signal(signal.SIGSTOP)
        end = time.time()
        process = self._process.pid
        others = -_processor_seconds(process, thread=process)
        with suppress(FileNotFoundError):
            others += sum(_processor_seconds(each) for each in [process, *self._children])
        self.turns.append(Turn(start=start, end=end, others=others))

    def _signal(self, number: signal.Signals) -> None:
        for process in [self._process.pid, *self._children]:
            with suppress(ProcessLookupError):  # the run ends just now
                os.kill(process, number)

    def _has_ended(self, seconds: float) -> bool:
        return bool(select.select([self._end], [], [], seconds)[0])

    def _failure(self, what: str) -> str:
        self._said.seek(0)
        return f"{' '.join(self._command)} {what}:\n{self._said.read()[-4000:]}"


def take_turns(runs: Sequence[RunInTurns]) -> None:
    """Runs all to their ends: each to its first update, in order, then in turns.

    Raises:
        RuntimeError: one failed.
    """
    with ExitStack() as stack:
        for run in runs:
            stack.enter_context(run).begin()
        while waiting := [run for run in runs if not run.ended]:
            for run in waiting:
                run.turn()


def _children(process: int) -> list[int]:
    """Returns the processes that one has started and that are still there."""
    lists = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for each in lists for child in each.read_text().split()]


def _processor_seconds(process: int, *, thread: int | None = None) -> float:
    """Returns processor time, user's and system's, of a process or one of its threads."""
    place = f"/proc/{process}" if thread is None else f"/proc/{process}/task/{thread}"
    fields = Path(place, "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
