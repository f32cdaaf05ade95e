"""How well PPO learns, from scratch, over five seeds.

    python benchmarks/learning.py [--quick] [--json benchmarks/results/learning.json]
    python benchmarks/learning.py --tasks cartpole pendulum --seeds 10 11
    python benchmarks/learning.py --plot

Each run is a shipped experiment, as `journeyman experiment=cartpole seed=0 tracking=none` makes
it, in a process of its own on one thread; `--jobs` run side by side. simple_spread needs
`pip install mpe2` and is left out, and said to be, without it. The score of a seed is the final
policy's mean return over the evaluation episodes; of the seeds it is the interquartile mean with
a 95 % bootstrap interval, and of all tasks together that of the scores scaled between an
untrained policy and a reference, resampled within each task (Agarwal et al. 2021). `--plot`
draws the committed JSON into docs/learning.md. `--quick` runs one seed of CartPole to its end, 22
seconds of one core: it prints that task's figures, which one seed tells little of.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from circumstances import ROOT, circumstances, installed
from learning_tasks import TASKS, WINDOW
from numpy.typing import NDArray

RESULTS = ROOT / "benchmarks" / "results" / "learning.json"
PACKAGES = ("journeyman", "torch", "numpy", "gymnasium", "pettingzoo", "mpe2")
RESAMPLES = 10_000
CURVE_POINTS = 120


def run_seed(name: str, seed: int) -> dict[str, Any]:
    """Runs an experiment as a user would, and returns what it came to.

    Every training episode is noted with the steps made when its rollout ended, which the run's
    own metrics have only as a mean a rollout.

    Returns:
        seed, steps, seconds, score (the final policy's mean return), untrained (the same before
        training), demonstrator (the same of the demonstrator, or None), episodes, curve ([steps,
        mean of the last ``WINDOW`` returns], once there are as many) and, for tasks with a
        threshold, steps_to_threshold (or None).
    """
    from journeyman.composition import compose_settings
    from journeyman.learning.collector import Collector
    from journeyman.learning.rollout import Rollout
    from journeyman.orchestrator import Orchestrator
    from journeyman.results import AnnealSummary, TrainingSummary

    task, collect = TASKS[name], Collector.collect
    ended: list[tuple[int, NDArray[np.float64]]] = []

    def noting(self: Collector, *arguments: Any, **options: Any) -> Rollout:
        rollout = collect(self, *arguments, **options)
        before = ended[-1][0] if ended else 0
        ended.append((before + rollout.transitions, rollout.episode_returns.copy()))
        return rollout

    with tempfile.TemporaryDirectory() as folder:
        arguments = [f"experiment={task.experiment}", f"seed={seed}", "tracking=none"]
        settings = compose_settings([*arguments, f"outputs={folder}", *task.overrides])
        Collector.collect = noting  # type: ignore[method-assign]
        try:
            result = Orchestrator(settings).run()
        finally:
            Collector.collect = collect  # type: ignore[method-assign]
    assert isinstance(result, TrainingSummary | AnnealSummary)
    curve = running_mean(ended)
    figures: dict[str, Any] = {
        "seed": seed,
        "steps": ended[-1][0],
        "seconds": round(result.duration_sec, 1),
        "score": round(result.final.episode_return.mean, 4),
        "untrained": round(result.untrained.episode_return.mean, 4),
        "demonstrator": None,
        "episodes": sum(len(returns) for _, returns in ended),
        "curve": thinned(curve),
    }
    if result.demonstrator is not None:
        figures["demonstrator"] = round(result.demonstrator.episode_return.mean, 4)
    if task.threshold is not None:
        reached = [steps for steps, mean in curve if mean >= task.threshold]
        figures["steps_to_threshold"] = reached[0] if reached else None
    return figures


def running_mean(ended: Sequence[tuple[int, NDArray[np.float64]]]) -> list[tuple[int, float]]:
    """Returns (steps, mean of the last ``WINDOW`` returns) after each rollout that has as many.

    >>> running_mean([(8, np.zeros(99)), (16, np.full(2, 50.0))])
    [(16, 1.0)]
    """
    returns, curve = np.zeros(0), []
    for steps, more in ended:
        returns = np.concatenate([returns, more])[-WINDOW:]
        if len(returns) == WINDOW:
            curve.append((steps, float(returns.mean())))
    return curve


def thinned(curve: Sequence[tuple[int, float]]) -> list[list[float]]:
    """Returns at most ``CURVE_POINTS`` points, the last one among them."""
    keep: Any = np.unique(np.linspace(len(curve) - 1, 0, CURVE_POINTS).astype(int)) if curve else []
    return [[curve[i][0], round(curve[i][1], 3)] for i in keep]


def interquartile_interval(
    scores: Sequence[Sequence[float]], rng: np.random.Generator
) -> dict[str, float]:
    """Returns the interquartile mean of all scores with its 95 % stratified bootstrap interval.

    Args:
        scores: one sequence a task; seeds are resampled within each.
        rng: draws the resamples.
    """
    from scipy.stats import trim_mean

    drawn = [
        np.asarray(task)[rng.integers(0, len(task), (RESAMPLES, len(task)))] for task in scores
    ]
    means = trim_mean(np.concatenate(drawn, axis=1), 0.25, axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    middle = trim_mean(np.concatenate([np.asarray(task) for task in scores]), 0.25)
    return {"iqm": float(middle), "low": float(low), "high": float(high)}


def scaled(name: str, runs: Sequence[dict[str, Any]]) -> list[float]:
    """Returns each seed's score, 0 for the mean of untrained policies, 1 for the reference."""
    floor, reference = mean_of(runs, "untrained"), reference_of(name, runs)
    return [(run["score"] - floor) / (reference - floor) for run in runs]


def reference_of(name: str, runs: Sequence[dict[str, Any]]) -> float:
    """Returns the task's reference, the demonstrator's mean return where it has none itself."""
    reference = TASKS[name].reference
    return mean_of(runs, "demonstrator") if reference is None else reference


def mean_of(runs: Sequence[dict[str, Any]], key: str) -> float:
    """Returns the mean of a figure over the seeds."""
    return float(np.mean([run[key] for run in runs]))


def summary(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns a task's figures over its seeds, the runs among them."""
    task, rng = TASKS[name], np.random.default_rng(0)
    figures: dict[str, Any] = {
        "command": " ".join(
            [f"journeyman experiment={task.experiment} seed=0 tracking=none", *task.overrides]
        ),
        "env": task.env,
        "reference": round(reference_of(name, runs), 4),
        "reference_source": task.reference_source,
        "score": interquartile_interval([[run["score"] for run in runs]], rng),
        "untrained": round(mean_of(runs, "untrained"), 4),
        "scaled": [round(value, 4) for value in scaled(name, runs)],
        "steps": runs[0]["steps"],
        "seconds_median": round(median_seconds(runs), 1),
    }
    if task.threshold is not None:
        # A seed that never got there counts as infinitely slow, which a median can bear.
        reached = [run["steps_to_threshold"] or float("inf") for run in runs]
        figures["threshold"] = task.threshold
        figures["steps_to_threshold"] = {
            "median": finite_or_none(float(np.median(reached))),
            "worst": finite_or_none(max(reached)),
        }
    return figures | {"runs": runs}


def median_seconds(runs: Sequence[dict[str, Any]]) -> float:
    """Returns the median wall time of a run: what else the machine does delays some, not all."""
    return float(np.median([run["seconds"] for run in runs]))


def finite_or_none(value: float) -> float | None:
    """Returns the value; None for infinity, which JSON has no number for."""
    return value if np.isfinite(value) else None


def measured(names: Sequence[str], seeds: Sequence[int], jobs: int) -> dict[str, dict[str, Any]]:
    """Runs every task with every seed, ``jobs`` processes at a time; returns task -> summary."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = "1"  # read by the processes to come when they import
    context = get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting = {
            (name, seed): pool.submit(run_seed, name, seed) for name in names for seed in seeds
        }
        tasks = {}
        for name in names:
            tasks[name] = summary(name, [waiting[name, seed].result() for seed in seeds])
            print(row(name, tasks[name]), flush=True)
    return tasks


HEADER = (
    f"{'task':>14} {'seeds':>5} {'steps':>9} {'untrained':>10} {'score (IQM)':>12} "
    f"{'95 % interval':>20} {'s a run':>8}"
)


def row(name: str, task: dict[str, Any]) -> str:
    """Returns a line of the table, and one on the threshold where there is one."""
    score = task["score"]
    digits = 3 if abs(task["reference"]) < 2.0 else 1
    interval = f"{score['low']:.{digits}f} to {score['high']:.{digits}f}"
    line = (
        f"{name:>14} {len(task['runs']):>5} {task['steps']:>9,} {task['untrained']:>10.{digits}f} "
        f"{score['iqm']:>12.{digits}f} {interval:>20} {task['seconds_median']:>8}"
    )
    if "threshold" in task:
        reached = [run["steps_to_threshold"] for run in task["runs"]]
        line += f"\n{'':>14} steps until {WINDOW} episodes average {task['threshold']}: {reached}"
    return line


def main() -> None:
    """Runs, prints a table, and figures in the last lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed of CartPole alone")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, help="default: all there are")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 0 to 4")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes side by side")
    parser.add_argument("--plot", action="store_true", help="only draw the JSON into the docs")
    options = parser.parse_args()
    if options.plot:
        from learning_page import draw

        draw(json.loads((options.json or RESULTS).read_text()))
        return
    names = [n for n in options.tasks or TASKS if not options.quick or TASKS[n].quick]
    seeds = options.seeds or list(range(1 if options.quick else 5))
    header = circumstances(PACKAGES, f"{options.jobs} runs side by side, 1 thread each")
    print(header["machine"], header["versions"], sep="\n")
    for name in [n for n in names if not installed(TASKS[n].needs or "journeyman")]:
        names.remove(name)
        print(f"{name}: left out, needs `pip install {TASKS[name].needs}`")
    print(HEADER)
    began = time.monotonic()
    tasks = measured(names, seeds, options.jobs)
    everything = interquartile_interval(
        [tasks[name]["scaled"] for name in names], np.random.default_rng(0)
    )
    document = header | {"seconds": round(time.monotonic() - began), "tasks": tasks}
    document["all_tasks"] = everything
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    report(tasks, everything)


def report(tasks: dict[str, dict[str, Any]], everything: dict[str, float]) -> None:
    """Prints the last lines: a figure each."""
    for name, task in tasks.items():
        if "threshold" in task:
            for which, steps in task["steps_to_threshold"].items():
                print(f"figure {name}_steps_to_{task['threshold']:.0f}_{which} {steps}")
        print(f"figure {name}_return_iqm {task['score']['iqm']:.3f}")
    if len(tasks) > 1:
        print(f"figure all_tasks_scaled_iqm {everything['iqm']:.3f}")


if __name__ == "__main__":
    main()
