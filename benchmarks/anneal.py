"""Does it pay to imitate first? PPO from scratch, imitation alone and every preset, five seeds.

    python benchmarks/anneal.py [--quick] [--json benchmarks/results/anneal.json]
    python benchmarks/anneal.py --tasks neighbourhood --methods scratch linear --seeds 0 1
    python benchmarks/anneal.py --plot

Every run is one of the program's own (`journeyman strategy=anneal anneal=linear env=town ...`) on
one thread; `--jobs` run side by side. Presets are as they ship and have equal budgets of
environment steps; of PPO from scratch, which may go on for longer, the returns are those at that
budget. Each finished run is kept in `--cache` and not made again while its settings are the same,
so that the whole can be made in pieces: the last call, without filters, puts them together.
Snapshots of the policy under way are played on the evaluation worlds; a policy has reached the
demonstrator at the first of two snapshots in a row that return at least what the demonstrator does
in the same worlds. `--plot` draws the JSON into docs/annealing.md.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from anneal_figures import Runs, headline, summary
from anneal_runs import ROOT, commit, make_demonstrator, run_method
from anneal_tasks import PRESETS, SCRATCH, SEEDS, TASKS

RESULTS = ROOT / "benchmarks" / "results" / "anneal.json"
CACHE = ROOT / "outputs" / "benchmarks" / "anneal"
PACKAGES = ("journeyman", "torch", "numpy", "gymnasium")
METHODS = (SCRATCH, *PRESETS)
QUICK_METHODS = (SCRATCH, "linear")
HEADLINE = "neighbourhood"


def made(
    wanted: Sequence[tuple[str, str, int]], jobs: int, cache: Path, *, quick: bool
) -> dict[str, Runs]:
    """Makes or reads every (task, method, seed), ``jobs`` at a time; returns task -> runs."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = "1"  # read by the processes to come when they import
    runs: dict[str, Runs] = {}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        names = dict.fromkeys(task for task, _, _ in wanted)
        for future in [pool.submit(make_demonstrator, name, cache) for name in names]:
            future.result()
        waiting: list[tuple[str, str, Future[dict[str, Any]]]] = [
            (task, method, pool.submit(run_method, task, method, seed, cache, quick=quick))
            for task, method, seed in wanted
        ]
        for task, method, future in waiting:
            run = future.result()
            runs.setdefault(task, {}).setdefault(method, []).append(run)
            print(
                f"{task:>14} {method:>15} seed {run['seed']}: return "
                f"{run['final']['return']:9.2f} after {run['steps']:>9,} steps, "
                f"{run['cpu_seconds']:6.1f} s of CPU",
                flush=True,
            )
    return runs


def in_order(options: argparse.Namespace) -> list[tuple[str, str, int]]:
    """Returns what is to be made, the longest runs first, so that none is left alone at the end."""
    wanted = []
    for name, task in TASKS.items():
        if (options.tasks and name not in options.tasks) or (options.quick and task.quick is None):
            continue
        methods = QUICK_METHODS if options.quick else METHODS
        chosen = [m for m in methods if not options.methods or m in options.methods]
        wanted += [(name, method, seed) for method in chosen for seed in options.seeds]
    return wanted


def facts(jobs: int) -> dict[str, Any]:
    """Returns what the figures depend on: command, machine, versions, commit."""
    return {
        "command": " ".join(["python", "benchmarks/anneal.py", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {jobs} runs side by side, "
        f"1 thread each, Python {platform.python_version()}",
        "versions": {package: version(package) for package in PACKAGES},
        "commit": commit(),
    }


def table(task: dict[str, Any]) -> list[str]:
    """Returns a task's table for a terminal."""
    middle = task["demonstrator"]
    lines = [
        f"{task['env']}: demonstrator {middle['iqm']:.2f}, untrained {task['untrained']:.2f}, "
        f"{task['budget']:,} steps",
        f"{'method':>16} {'return (IQM)':>13} {'95 % interval':>20} {'worst':>8} "
        f"{'steps to demonstrator':>22} {'better than BC':>15}",
    ]
    for method, row in task["methods"].items():
        end = row["final"]
        interval = f"{end['low']:.2f} to {end['high']:.2f}"
        steps = row.get("median_steps_to_demonstrator")
        lines.append(
            f"{method:>16} {end['iqm']:>13.2f} {interval:>20} {end['worst']:>8.2f} "
            f"{'-' if steps is None else f'{steps:,.0f}':>22} "
            f"{row.get('better_than_imitation', float('nan')):>15.2f}"
        )
    return lines


def main() -> None:
    """Runs, prints tables, and figures in the last lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one task, two methods, short runs")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, help="default: all")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 0 to 4")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes side by side")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where finished runs are kept")
    parser.add_argument("--plot", action="store_true", help="only draw the JSON into the docs")
    options = parser.parse_args()
    if options.plot:
        from anneal_page import draw

        draw(json.loads((options.json or RESULTS).read_text()))
        return
    options.seeds = options.seeds or list(SEEDS[:2] if options.quick else SEEDS)
    header = facts(options.jobs)
    print(header["machine"], header["versions"], sep="\n")
    began = time.monotonic()
    runs = made(in_order(options), options.jobs, options.cache, quick=options.quick)
    tasks = {name: summary(name, found) for name, found in runs.items()}
    for task in tasks.values():
        print(*table(task), sep="\n")
    document = header | {"seconds": round(time.monotonic() - began), "tasks": tasks}
    document["default"] = default_preset()
    if complete(tasks.get(HEADLINE)):
        document["figures"] = headline(tasks[HEADLINE], document["default"])
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    for figure, value in document.get("figures", {}).items():
        print(f"figure {figure} {value}")


def complete(task: dict[str, Any] | None) -> bool:
    """Says whether there are both PPO from scratch and a preset to compare."""
    return task is not None and SCRATCH in task["methods"] and len(task["methods"]) > 1


def default_preset() -> str:
    """Returns the preset that ships as default."""
    from journeyman.composition import compose_settings

    return compose_settings([]).anneal.label


if __name__ == "__main__":
    main()
