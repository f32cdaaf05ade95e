"""What tracking costs: the same run with MLflow and without, in turns.

    python benchmarks/tracking.py [--quick] [--json benchmarks/results/tracking.json]

Practice by PPO as a user runs it, each run a process of its own: CartPole-v1 with 8 lanes, rollouts
of 128 steps, and the town with 64 worlds of 8 agents, rollouts of 32 ticks; more than half a minute
of training. One side has ``tracking=mlflow`` with the embedded store, which holds the runs before
it too, the other ``tracking=none``; both write ``metrics.jsonl``. The cost share is the median,
over the rounds, of what the tracked run's training took longer than that of the untracked run in
the same round, as a share of the latter. What does not grow with the run (opening the store, the
model, the last delivery) is told apart, in seconds. Two more figures are there because wall time is
noisy: the share of the training thread's own time that is spent on tracking, metrics.jsonl
included, and what all threads of the process add up to.
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

from circumstances import circumstances
from peers.sides import OURS, THREADS, conclude, read_options

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
UPDATES = {"cartpole": 900, "town": 24}
QUICK_UPDATES = {"cartpole": 40, "town": 3}


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


def compare(pairs: Sequence[tuple[Run, Run]]) -> dict[str, float]:
    """Returns the medians over rounds of (tracked, untracked)."""
    return {
        "cost_share": statistics.median(t.training / u.training - 1.0 for t, u in pairs),
        "thread_share": statistics.median(t.tracking / t.training for t, _ in pairs),
        "cpu_share": statistics.median(t.cpu / u.cpu - 1.0 for t, u in pairs),
        "fixed_seconds": statistics.median(
            (t.whole - t.training) - (u.whole - u.training) for t, u in pairs
        ),
        "whole_share": statistics.median(t.whole / u.whole - 1.0 for t, u in pairs),
    }


def main() -> None:
    """Measures, prints a table, and the figures in the last lines."""
    options = read_options(__doc__)
    rounds, updates = (1, QUICK_UPDATES) if options.quick else (5, UPDATES)
    header = circumstances([*OURS, "mlflow", "sqlalchemy"], "one run at a time on 1 thread")
    print(header["machine"], header["versions"], sep="\n", flush=True)
    measured: dict[str, list[tuple[Run, Run]]] = {work: [] for work in WORKS}
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder)
        if not options.quick:
            for work in WORKS:  # compiled code and the store are there from now on
                run(outputs, work, TRACKED, 2)
        for number in range(rounds):
            for work, pairs in measured.items():
                sides = (TRACKED, UNTRACKED) if number % 2 else (UNTRACKED, TRACKED)
                took = {side: run(outputs, work, side, updates[work]) for side in sides}
                pairs.append((took[TRACKED], took[UNTRACKED]))
    found = {work: compare(pairs) for work, pairs in measured.items()}
    print(f"{'work':>10} {'side':>16} {'training s':>11} {'whole s':>9} {'CPU s':>8} {'rounds':>7}")
    rows = []
    for work, pairs in measured.items():
        for side, runs in zip((TRACKED, UNTRACKED), zip(*pairs, strict=True), strict=True):
            medians = [
                statistics.median(getattr(each, name) for each in runs)
                for name in ("training", "whole", "cpu")
            ]
            print(
                f"{work:>10} {side:>16} {medians[0]:>11.2f} {medians[1]:>9.2f} {medians[2]:>8.2f} "
                f"{len(runs):>7}"
            )
            rows.append({"work": work, "side": side, "runs": [vars(each) for each in runs]})
    figures = {
        f"tracking_{name}_{work}": value for work in found for name, value in found[work].items()
    }
    worst = max(each["cost_share"] for each in found.values())
    conclude(options.json, header, rows, figures | {"tracking_cost_share": worst})


if __name__ == "__main__":
    main()
