"""What tracking costs: the same run with MLflow and without, in turns.

    python benchmarks/tracking.py [--quick] [--json benchmarks/results/tracking.json]

Practice by PPO as a user runs it, each run a process of its own: CartPole-v1 with 8 lanes, rollouts
of 128 steps, and the town with 64 worlds of 8 agents, rollouts of 32 ticks; some twenty seconds of
training. One side has ``tracking=mlflow`` with the embedded store, which holds the runs before it
too, the other ``tracking=none``; both write ``metrics.jsonl``, and both have the same seed, so that
they compute the same.

Both runs of a pair go at once, but in turns of a second, each stopped while the other works
(``turns.py``); by turns the one and the other begins. The cost share is the median, over the pairs,
of what the tracked run worked longer from its first update to its last, as a share of the
untracked run's time; its interval (95 %) is bootstrapped over pairs. What does not grow with the
run (opening the store, the model, the last delivery) is told apart, in seconds. Two more figures
say where it comes from: the share of the training thread's time that is spent in tracking,
metrics.jsonl included, and the processor time of all other threads, and of the process that writes
to the store, beyond that of the untracked run.
"""

import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from circumstances import circumstances
from peers.sides import OURS, THREADS, conclude, read_options
from scipy import stats
from turns import RunInTurns, take_turns

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
UPDATES = {"cartpole": 400, "town": 16}
QUICK_UPDATES = {"cartpole": 40, "town": 3}
PAIRS = {"cartpole": 16, "town": 4}  # the town logs far less a second, and a pair takes longer
# The time between two deliveries goes on while a run is stopped, half of the time.
SIDES = {TRACKED: (TRACKED, "tracking.flush_seconds=10"), UNTRACKED: (UNTRACKED,)}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run took, in seconds, the time it was stopped left out but where said.

    Attributes:
        whole: from start to end of the process.
        training: from its first update to its last.
        tracking: of the training thread, in tracking, ``metrics.jsonl`` included; a stop that falls
            into it counts, which medians pass over.
        others: processor time of all other threads, and of processes it started, during training.
    """

    whole: float
    training: float
    tracking: float
    others: float


def run_pair(outputs: Path, work: str, order: Sequence[str], updates: int) -> dict[str, Run]:
    """Runs one work on both sides, in turns.

    Returns:
        By side.

    Raises:
        RuntimeError: one failed.
    """
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    environment.pop("MLFLOW_TRACKING_URI", None)
    runs = {}
    for side in order:
        overrides = [*COMMON, *WORKS[work], *SIDES[side], f"strategy.updates={updates}"]
        runs[side] = RunInTurns(overrides, outputs, environment)
    take_turns(list(runs.values()))
    return {side: measure(run) for side, run in runs.items()}


def measure(run: RunInTurns) -> Run:
    """Returns what a run took that has ended."""
    first, *_, last = run.updates_logged()
    parts = json.loads((run.folder / "profile.json").read_text())["parts"]
    return Run(
        whole=run.working(run.turns[0].start, run.turns[-1].end),
        training=run.working(first, last),
        tracking=parts.get("tracking", {"seconds": 0.0})["seconds"],
        others=run.others_by(last) - run.turns[0].others,
    )


def longer(tracked: Run, untracked: Run) -> float:
    """Returns what the tracked run trained longer, as a share of the untracked run's time."""
    return tracked.training / untracked.training - 1.0


def compare(pairs: Sequence[tuple[Run, Run]]) -> dict[str, float]:
    """Returns the medians over pairs of (tracked, untracked), and the interval of the first."""
    shares = [longer(tracked, untracked) for tracked, untracked in pairs]
    found = {"cost_share": statistics.median(shares)}
    if len(shares) > 1:
        interval = stats.bootstrap(
            (shares,), np.median, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
        found |= {"cost_share_low": float(interval.low), "cost_share_high": float(interval.high)}
    return found | {
        "thread_share": statistics.median(t.tracking / t.training for t, _ in pairs),
        "delivery_share": statistics.median((t.others - u.others) / t.training for t, u in pairs),
        "fixed_seconds": statistics.median(
            (t.whole - t.training) - (u.whole - u.training) for t, u in pairs
        ),
        "whole_share": statistics.median(t.whole / u.whole - 1.0 for t, u in pairs),
    }


def main() -> None:
    """Measures, prints a table, and the figures in the last lines."""
    options = read_options(__doc__)
    updates = QUICK_UPDATES if options.quick else UPDATES
    header = circumstances([*OURS, "mlflow", "sqlalchemy"], "runs in turns, each on 1 thread")
    print(header["machine"], header["versions"], sep="\n", flush=True)
    measured: dict[str, list[tuple[Run, Run]]] = {work: [] for work in WORKS}
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder)
        for work, pairs in measured.items():
            if not options.quick:  # compiled code and the store are there from now on
                run_pair(outputs, work, (TRACKED, UNTRACKED), 2)
            for number in range(1 if options.quick else PAIRS[work]):
                order = (TRACKED, UNTRACKED) if number % 2 else (UNTRACKED, TRACKED)
                took = run_pair(outputs, work, order, updates[work])
                pairs.append((took[TRACKED], took[UNTRACKED]))
                print(f"pair {number + 1}, {work}: {longer(*pairs[-1]):+.2%}", flush=True)
    found = {work: compare(pairs) for work, pairs in measured.items()}
    print(
        f"{'work':>10} {'side':>16} {'training s':>11} {'whole s':>9} {'others s':>9} {'runs':>5}"
    )
    rows = []
    for work, pairs in measured.items():
        for side, runs in zip((TRACKED, UNTRACKED), zip(*pairs, strict=True), strict=True):
            medians = [
                statistics.median(getattr(each, name) for each in runs)
                for name in ("training", "whole", "others")
            ]
            print(
                f"{work:>10} {side:>16} {medians[0]:>11.2f} {medians[1]:>9.2f} {medians[2]:>9.2f} "
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
