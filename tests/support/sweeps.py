"""Sweeps as a test starts them, and what they leave behind."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.cartpole import PRACTICE

PPO = (*PRACTICE, "strategy.updates=40")
"""Practice in seconds: the smallest job that learns."""

DEADLY = """
import os
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Deadly(CartPoleEnv):
    def __init__(self, steps, **options):
        super().__init__(**options)
        self.left = steps

    def step(self, action):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), 9)  # as when the machine has no memory left
        return super().step(action)

gymnasium.register("Deadly-v0", Deadly, max_episode_steps=100)
"""
"""A module with an environment that kills its process after so many steps."""


def sweep_folder(work: Path) -> Path:
    """Returns the folder of the one sweep that was started in a folder."""
    (found,) = (work / "outputs" / "multirun").glob("*/*")
    return found


def jobs_of(folder: Path) -> list[dict[str, Any]]:
    """Returns the jobs that a sweep's record lists."""
    jobs: list[dict[str, Any]] = json.loads((folder / "sweep.json").read_text())["jobs"]
    return jobs


@contextmanager
def started(work: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a command line in a process group of its own, as a terminal does.

    What it says goes to ``said.txt``: workers that live on would hold a pipe open. What is left
    of the group at the end is killed.
    """
    with (work / "said.txt").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "journeyman", *arguments],
            cwd=work,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "MLFLOW_TRACKING_URI": ""},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for pid in group_of(process.pid):
            os.kill(pid, 9)
        process.wait(10)


def wait_for(condition: Callable[[], Any], what: str, *, seconds: float = 200.0) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def group_of(leader: int) -> list[int]:
    """Returns the processes of a group that have not ended."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(group) == leader and state not in ("Z", "X"):
            found.append(int(folder.name))
    return found
