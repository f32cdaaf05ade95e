"""Runs of journeyman that work in turns of a tenth of a second, each while the others are stopped.

What the machine does meanwhile, to other guests or by its clock, then meets all of them alike.
They are forks of one process (``nursery.py``), and their first threads share one core, since cores
and the addresses that a process gets differ, too. Other threads, and processes that a run starts
before its first update, run where they may, and are stopped with it. Two runs of the same differ by
one or two hundredths then, where one whole run after another can differ by a tenth. Linux only.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from journeyman.tracking.jsonl import FILE_NAME, read_metrics

TURN_SECONDS = 0.1
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


class Nursery:
    """The process that the runs are forks of.

    Args:
        environment: variables of it and all runs.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("nursery.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
        )
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:  # closes its input, at which it ends
            pass

    def begin(self, argv: Sequence[str], cwd: Path, said: Path) -> int:
        """Begins a run and returns its process id."""
        return self._ask({"begin": argv, "cwd": str(cwd), "said": str(said)})

    def wait(self, process: int) -> int:
        """Waits for the end of a run and returns its exit code."""
        return self._ask({"wait": process})

    def _ask(self, order: Mapping[str, object]) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()
        return int(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


class RunInTurns:
    """A run of journeyman that works only when it has its turn.

    Args:
        nursery: forks it.
        overrides: its configuration.
        outputs: where it runs.
    """

    def __init__(self, nursery: Nursery, overrides: Sequence[str], outputs: Path) -> None:
        self.folder = outputs / f"run-{time.time_ns()}"
        self.turns: list[Turn] = []
        self.ended = False
        self._children: list[int] = []
        self._command = [*overrides, f"outputs={outputs}", f"hydra.run.dir={self.folder}"]
        self._nursery, self._outputs = nursery, outputs
        self._said = outputs / f"{self.folder.name}.txt"

    def __enter__(self) -> Self:
        self._began = time.time()
        self._process = self._nursery.begin(self._command, self._outputs, self._said)
        self._end = os.pidfd_open(self._process)
        return self

    def __exit__(self, *_: object) -> None:
        if not self.ended:
            self._signal(signal.SIGKILL)
            self._nursery.wait(self._process)
        os.close(self._end)

    def has_begun(self) -> bool:
        """Says whether the run has logged its first update; if so, its first turn is over.

        From then on its first thread stays on one core, the same for all runs.

        Raises:
            RuntimeError: it ended before, or does not get there in five minutes.
        """
        if self.updates_logged():
            self._children = _children(self._process)
            self._pause(self._began)
            os.sched_setaffinity(self._process, {min(os.sched_getaffinity(0))})
            return True
        if time.time() > self._began + _START_SECONDS or self._has_ended(0.005):
            raise RuntimeError(self._failure("did not come to its first update"))
        return False

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
        if self._nursery.wait(self._process):
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
        process = self._process
        others = -_processor_seconds(process, thread=process)
        with suppress(FileNotFoundError):
            others += sum(_processor_seconds(each) for each in [process, *self._children])
        self.turns.append(Turn(start=start, end=end, others=others))

    def _signal(self, number: signal.Signals) -> None:
        for process in [self._process, *self._children]:
            with suppress(ProcessLookupError):  # the run ends just now
                os.kill(process, number)

    def _has_ended(self, seconds: float) -> bool:
        return bool(select.select([self._end], [], [], seconds)[0])

    def _failure(self, what: str) -> str:
        return f"{' '.join(self._command)} {what}:\n{self._said.read_text()[-4000:]}"


def take_turns(runs: Sequence[RunInTurns]) -> None:
    """Runs all to their ends: each to its first update, then in turns, in order.

    Raises:
        RuntimeError: one failed.
    """
    with ExitStack() as stack:
        starting = [stack.enter_context(run) for run in runs]
        while starting:
            starting = [run for run in starting if not run.has_begun()]
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
