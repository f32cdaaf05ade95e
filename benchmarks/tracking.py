"""What tracking costs: the same run with MLflow and without, in turns.

    python benchmarks/tracking.py [--quick] [--json benchmarks/results/tracking.json]

Practice by PPO as a user runs it, each run a process of its own: CartPole-v1 with 8 lanes, rollouts
of 128 steps, and the town with 64 worlds of 8 agents, rollouts of 32 ticks; some twenty-five
seconds of training. One side has ``tracking=mlflow`` with the embedded store, which holds the runs
before it too, the other ``tracking=none``; both write ``metrics.jsonl``.

A machine that gets slower or faster while this goes on, and whatever the run before leaves to the
next, would count for one side where the sides simply follow each other. Hence blocks of four runs,
by turns tracked, untracked, untracked, tracked and the other way round: in each block either side
has the same mean place. The cost share is the median, over the blocks, of what the two tracked runs
trained longer than the two untracked ones, as a share of the latter; its interval (95 %) is
bootstrapped over blocks. What does not grow with the run (opening the store, the model, the last
delivery) is told apart, in seconds. Two more figures are there because wall time is noisy: the
share of the training thread's own time that is spent on tracking, metrics.jsonl included, and what
all threads of the process add up to.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from circumstances import circumstances
from peers.sides import OURS, THREADS, conclude, read_options
from scipy import stats

TRACKED, UNTRACKED = "tracking=mlflow", "tracking=none"
COMMON = (
    "strategy=ppo",
    "strategy.epochs=4",
    "strategy.critic_warmup=0",
    "promotion=off",
    "profile=true",
    "runtime.device=cpu",
    "evaluation.episodes=2",
    "evaluation.bootstrap_resamples=100",
)
WORKS = {
    "cartpole": (
        *("env=gymnasium", "env.id=CartPole-v1", "policy=small", "strategy.worlds=8"),
        *("strategy.rollout_ticks=128", "strategy.minibatch_size=256"),
    ),
    "town": (
        *("env=town", "env.agents=8", "env.episode_ticks=240", "strategy.worlds=64"),
        *("strategy.rollout_ticks=32", "strategy.minibatch_size=2048"),
    ),
}
UPDATES = {"cartpole": 600, "town": 16}
QUICK_UPDATES = {"cartpole": 40, "town": 3}
BLOCKS = 8
ORDERS = (
    (TRACKED, UNTRACKED, UNTRACKED, TRACKED),
    (UNTRACKED, TRACKED, TRACKED, UNTRACKED),
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run took.

    Attributes:
        whole: seconds from start to end of the process.
        training: seconds of practice.
        cpu: seconds of all threads together.
        tracking: seconds of the training thread spent on tracking, ``metrics.jsonl`` included.
    """

    whole: float
    training: float
    cpu: float
    tracking: float


def run(outputs: Path, work: str, side: str, updates: int) -> Run:
    """Runs journeyman in a process of its own.

    Raises:
        RuntimeError: it failed.
    """
    folder = outputs / f"run-{time.time_ns()}"
    command = [sys.executable, "-m", "journeyman", *COMMON, *WORKS[work], side]
    command += [f"strategy.updates={updates}", f"outputs={outputs}", f"hydra.run.dir={folder}"]
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    environment.pop("MLFLOW_TRACKING_URI", None)
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment, cwd=outputs)
        _, status, usage = os.wait4(process.pid, 0)
        whole = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended:\n{said.read()[-4000:]}")
    result = json.loads((folder / "results.json").read_text())["result"]
    parts = json.loads((folder / "profile.json").read_text())["parts"]
    return Run(
        whole=whole,
        training=result["training"]["duration_sec"],
        cpu=usage.ru_utime + usage.ru_stime,
        tracking=parts.get("tracking", {"seconds": 0.0})["seconds"],
    )


@dataclass(frozen=True, kw_only=True)
class Block:
    """Runs of one work, two a side, in an order that favours neither."""

    tracked: tuple[Run, ...]
    untracked: tuple[Run, ...]

    def means(self, name: str) -> tuple[float, float]:
        """Returns what is called ``name``, averaged over the runs: (tracked, untracked)."""
        return (
            statistics.fmean(getattr(each, name) for each in self.tracked),
            statistics.fmean(getattr(each, name) for each in self.untracked),
        )

    def longer(self, name: str) -> float:
        """Returns by what share the tracked runs have more of what is called ``name``."""
        tracked, untracked = self.means(name)
        return tracked / untracked - 1.0


def run_block(outputs: Path, work: str, order: Sequence[str], updates: int) -> Block:
    """Runs one work in the given order of sides."""
    done: dict[str, list[Run]] = {TRACKED: [], UNTRACKED: []}
    for side in order:
        done[side].append(run(outputs, work, side, updates))
    return Block(tracked=tuple(done[TRACKED]), untracked=tuple(done[UNTRACKED]))


def compare(blocks: Sequence[Block]) -> dict[str, float]:
    """Returns the medians over blocks, and the interval of the first."""
    shares = [block.longer("training") for block in blocks]
    fixed = []
    for block in blocks:
        whole, training = block.means("whole"), block.means("training")
        fixed.append((whole[0] - training[0]) - (whole[1] - training[1]))
    found = {"cost_share": statistics.median(shares)}
    if len(shares) > 1:
        interval = stats.bootstrap(
            (shares,), np.median, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
        found |= {"cost_share_low": float(interval.low), "cost_share_high": float(interval.high)}
    return found | {
        "thread_share": statistics.median(
            each.tracking / each.training for block in blocks for each in block.tracked
        ),
        "cpu_share": statistics.median(block.longer("cpu") for block in blocks),
        "fixed_seconds": statistics.median(fixed),
        "whole_share": statistics.median(block.longer("whole") for block in blocks),
    }


def main() -> None:
    """Measures, prints a table, and the figures in the last lines."""
    options = read_options(__doc__)
    count, updates = (1, QUICK_UPDATES) if options.quick else (BLOCKS, UPDATES)
    header = circumstances([*OURS, "mlflow", "sqlalchemy"], "one run at a time on 1 thread")
    print(header["machine"], header["versions"], sep="\n", flush=True)
    measured: dict[str, list[Block]] = {work: [] for work in WORKS}
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder)
        if not options.quick:
            for work in WORKS:  # compiled code and the store are there from now on
                run(outputs, work, TRACKED, 2)
        for number in range(count):
            for work, blocks in measured.items():
                blocks.append(run_block(outputs, work, ORDERS[number % 2], updates[work]))
                longer = blocks[-1].longer("training")
                print(f"block {number + 1} of {count}, {work}: {longer:+.1%}", flush=True)
    found = {work: compare(blocks) for work, blocks in measured.items()}
    print(f"{'work':>10} {'side':>16} {'training s':>11} {'whole s':>9} {'CPU s':>8} {'runs':>5}")
    rows = []
    for work, blocks in measured.items():
        for side, name in ((TRACKED, "tracked"), (UNTRACKED, "untracked")):
            runs = [each for block in blocks for each in getattr(block, name)]
            medians = [
                statistics.median(getattr(each, part) for each in runs)
                for part in ("training", "whole", "cpu")
            ]
            print(
                f"{work:>10} {side:>16} {medians[0]:>11.2f} {medians[1]:>9.2f} {medians[2]:>8.2f} "
                f"{len(runs):>5}"
            )
            rows.append({"work": work, "side": side, "runs": [vars(each) for each in runs]})
    figures = {
        f"tracking_{name}_{work}": value for work in found for name, value in found[work].items()
    }
    worst = max(each["cost_share"] for each in found.values())
    conclude(options.json, header, rows, figures | {"tracking_cost_share": worst})


if __name__ == "__main__":
    main()
