"""What tracking costs: the same run with MLflow and without, in turns.

    python benchmarks/tracking.py [--quick] [--json benchmarks/results/tracking.json]

Practice by PPO as a user runs it, each run a process of its own: CartPole-v1 with 8 lanes, rollouts
of 128 steps, and the town with 64 worlds of 8 agents, rollouts of 32 ticks; some twenty seconds of
training. One side has ``tracking=mlflow`` with the embedded store, which holds the runs before it
too, the other ``tracking=none``; both write ``metrics.jsonl``, and both have the same seed, so that
they compute the same.

A round is a tracked run and two untracked ones, forks of one process, at once but in turns of a
tenth of a second, each stopped while the others work (``turns.py``). The cost share is the median,
over rounds, of what the tracked run worked longer from its first update to its last than the
untracked ones, as a share of their mean; its interval (95 %) is bootstrapped over rounds. The null
share is the same of the one untracked run against the other: what cannot be told from nothing.

Two more figures say where the cost comes from: the share of the training thread's time that is
spent in tracking, metrics.jsonl included, and the processor time of all other threads, and of the
process that writes to the store, beyond that of the untracked runs. What does not grow with a run
(the store opened, the model, the last delivery) is told apart, in seconds: whole short runs, each a
new process, by turns tracked and untracked.
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
from itertools import chain
from pathlib import Path

import numpy as np
from circumstances import circumstances
from peers.sides import OURS, THREADS, conclude, read_options
from scipy import stats
from turns import Nursery, RunInTurns, take_turns

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
UPDATES = {"cartpole": 200, "town": 12}
QUICK_UPDATES = {"cartpole": 20, "town": 2}
ROUNDS = {"cartpole": 24, "town": 6}  # the town logs far less a second, and a round takes longer
SHORT_RUNS = 8
# The time between two deliveries goes on while a run is stopped, two thirds of the time.
IN_TURNS = "tracking.flush_seconds=15"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run took, in seconds, the time it was stopped left out but where said.

    Attributes:
        training: from its first update to its last.
        tracking: of the training thread, in tracking, ``metrics.jsonl`` included; a stop that falls
            into it counts, too.
        others: processor time of all other threads, and of processes it started, during training.
    """

    training: float
    tracking: float
    others: float


def environment() -> dict[str, str]:
    """Returns the variables of all runs."""
    found = {**os.environ, **dict.fromkeys(THREADS, "1")}
    found.pop("MLFLOW_TRACKING_URI", None)
    return found


def run_round(outputs: Path, work: str, number: int, updates: int) -> list[Run]:
    """Runs one work in turns; who begins changes with the round's number.

    Returns:
        The tracked run, and the two untracked ones.

    Raises:
        RuntimeError: one failed.
    """
    sides = ((TRACKED, IN_TURNS), (UNTRACKED,), (UNTRACKED,))
    with Nursery(environment()) as nursery:
        runs = [
            RunInTurns(
                nursery, [*COMMON, *WORKS[work], *side, f"strategy.updates={updates}"], outputs
            )
            for side in sides
        ]
        first = number % len(runs)
        take_turns([*runs[first:], *runs[:first]])
    return [measure(run) for run in runs]


def measure(run: RunInTurns) -> Run:
    """Returns what a run took that has ended."""
    first, *_, last = run.updates_logged()
    parts = json.loads((run.folder / "profile.json").read_text())["parts"]
    return Run(
        training=run.working(first, last),
        tracking=parts.get("tracking", {"seconds": 0.0})["seconds"],
        others=run.others_by(last) - run.turns[0].others,
    )


def seconds_of_a_short_run(outputs: Path, side: str) -> float:
    """Returns what two updates of CartPole take as a process of their own."""
    command = [*COMMON, *WORKS["cartpole"], side, "strategy.updates=2", f"outputs={outputs}"]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "journeyman", *command],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
        cwd=outputs,
    )
    return time.perf_counter() - began


def compare(rounds: Sequence[Sequence[Run]]) -> dict[str, float]:
    """Returns the medians over rounds of (tracked, untracked, untracked), with intervals."""
    costs = [2.0 * t.training / (a.training + b.training) - 1.0 for t, a, b in rounds]
    nulls = [b.training / a.training - 1.0 for _, a, b in rounds]
    found = {}
    for name, shares in (("cost_share", costs), ("null_share", nulls)):
        found[name] = statistics.median(shares)
        if len(shares) > 1:
            interval = stats.bootstrap(
                (shares,), np.median, method="percentile", rng=np.random.default_rng(0)
            ).confidence_interval
            found[f"{name}_low"] = float(interval.low)
            found[f"{name}_high"] = float(interval.high)
    return found | {
        "cost_share_mean": statistics.mean(costs),
        "thread_share": statistics.median(t.tracking / t.training for t, _, _ in rounds),
        "delivery_share": statistics.median(
            (t.others - (a.others + b.others) / 2.0) / t.training for t, a, b in rounds
        ),
    }


def main() -> None:
    """Measures, prints a table, and the figures in the last lines."""
    options = read_options(__doc__)
    updates = QUICK_UPDATES if options.quick else UPDATES
    header = circumstances([*OURS, "mlflow", "sqlalchemy"], "runs in turns, each on 1 thread")
    print(header["machine"], header["versions"], sep="\n", flush=True)
    measured: dict[str, list[list[Run]]] = {work: [] for work in WORKS}
    short: dict[str, list[float]] = {TRACKED: [], UNTRACKED: []}
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder)
        for _ in range(1 if options.quick else SHORT_RUNS):
            for side, took in short.items():
                took.append(seconds_of_a_short_run(outputs, side))
        for work, rounds in measured.items():
            if not options.quick:  # compiled code and the store are there from now on
                run_round(outputs, work, 0, 2)
            for number in range(1 if options.quick else ROUNDS[work]):
                rounds.append(run_round(outputs, work, number, updates[work]))
                said = compare(rounds[-1:])
                cost, null = said["cost_share"], said["null_share"]
                print(f"round {number + 1}, {work}: {cost:+.2%}, null {null:+.2%}", flush=True)
    found = {work: compare(rounds) for work, rounds in measured.items()}
    print(f"{'work':>10} {'side':>16} {'training s':>11} {'others s':>9} {'runs':>5}")
    rows: list[dict[str, object]] = [{"work": "short", "seconds": short}]
    for work, rounds in measured.items():
        tracked, *untracked = zip(*rounds, strict=True)
        for side, runs in ((TRACKED, tracked), (UNTRACKED, [*chain(*untracked)])):
            training = statistics.median(each.training for each in runs)
            others = statistics.median(each.others for each in runs)
            print(f"{work:>10} {side:>16} {training:>11.2f} {others:>9.2f} {len(runs):>5}")
        rows += [{"work": work, "round": [vars(run) for run in runs]} for runs in rounds]
    figures = {
        f"tracking_{name}_{work}": value for work in found for name, value in found[work].items()
    }
    differences = (t - u for t, u in zip(short[TRACKED], short[UNTRACKED], strict=True))
    figures["tracking_fixed_seconds"] = statistics.median(differences)
    worst = max(each["cost_share"] for each in found.values())
    conclude(options.json, header, rows, figures | {"tracking_cost_share": worst})


if __name__ == "__main__":
    main()
