"""What the runs of anneal.py come to: one summary a task, and the goals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from anneal_tasks import SCRATCH, TASKS

from journeyman.reporting.comparison import probability_of_improvement
from learning import interquartile_interval

Runs = dict[str, list[dict[str, Any]]]
"""Method -> a record for each seed."""

CURVE_RESAMPLES = 2000

SLACK = 0.05
"""By how much budgets may differ: where lanes wait out an episode's end, such steps are none."""


def summary(name: str, runs: Runs) -> dict[str, Any]:
    """Returns a task's figures over its seeds, by method, with imitation alone among them.

    Imitation alone is what every preset begins with: with one seed the same in all of them, bit
    for bit, which is checked.

    Args:
        name: of the task.
        runs: of all methods, each with the same seeds.

    Raises:
        ValueError: two presets imitated differently with the same seed.
    """
    task = TASKS[name]
    runs = {method: carried_on(records) for method, records in runs.items()}
    first = next(iter(runs.values()))
    demonstrators = [run["demonstrator"]["return"] for run in first]
    imitated = imitation(runs)
    budget = common_budget(name, runs)
    scratch = [end(run, budget)["return"] for run in runs.get(SCRATCH, [])]
    methods = {}
    if imitated:
        methods["imitation alone"] = finals(imitated, demonstrators, imitated, scratch)
    for method, records in runs.items():
        ends = [end(run, budget) for run in records]
        row = finals(ends, demonstrators, imitated, scratch)
        row |= reached(records) | {
            "stopped": sum(run["stopped"] for run in records),
            "curve": curve(records),
            "steps": records[0]["steps"],
            "cpu_seconds": float(np.mean([run["cpu_seconds"] for run in records])),
        }
        if method != SCRATCH:
            row |= verdicts(records)
        methods[method] = row
    return {
        "env": task.env,
        "demonstrator": over_seeds(demonstrators)
        | {"rates": mean_rates([run["demonstrator"] for run in first])},
        "demonstrator_updates": task.demonstrator_updates,
        "budget": budget,
        "untrained": float(np.mean([run["untrained"]["return"] for run in first])),
        "methods": methods,
        "runs": [run for records in runs.values() for run in records],
    }


def carried_on(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns a method's records, those of runs that a guardrail ended as if they had gone on.

    What such a run ended with is what its user has: it counts to the end of the budget. A run
    ended early if it has fewer stages than others of its method.
    """
    whole = max(records, key=lambda run: (len(run.get("stages", ())), run["steps"]))
    found = []
    for run in records:
        stopped = len(run.get("stages", ())) < len(whole.get("stages", ()))
        if stopped:
            there, points = run["curve"], len(run["curve"]["steps"])
            missing = len(whole["curve"]["steps"]) - points
            rates = {event: [*v, *v[-1:] * missing] for event, v in there["rates"].items()}
            curve = {
                "steps": [*there["steps"], *whole["curve"]["steps"][points:]],
                "returns": [*there["returns"], *[run["final"]["return"]] * missing],
                "rates": rates,
            }
            run = {**run, "curve": curve, "steps": whole["steps"]}
        found.append({**run, "stopped": stopped})
    return found


def imitation(runs: Runs) -> list[dict[str, Any]]:
    """Returns the return and the rates that imitation alone ended with, seed by seed."""
    presets = [records for method, records in runs.items() if method != SCRATCH]
    found = []
    for same_seed in zip(*presets, strict=True):
        if len({run["stages"][0]["digest"] for run in same_seed}) != 1:
            raise ValueError(
                f"{same_seed[0]['task']}, seed {same_seed[0]['seed']}: presets imitated "
                "differently; their results are of different versions, make them anew"
            )
        found.append(same_seed[0]["imitated"])
    return found


def common_budget(name: str, runs: Runs) -> int:
    """Returns the environment steps of the presets, of PPO from scratch where it is alone.

    Raises:
        ValueError: they differ by more than ``SLACK``.
    """
    steps = [run["steps"] for method, one in runs.items() if method != SCRATCH for run in one]
    steps = steps or [run["steps"] for run in runs[SCRATCH]]
    if min(steps) < (1.0 - SLACK) * max(steps):
        raise ValueError(f"{name}: budgets differ, {min(steps)} to {max(steps)} environment steps")
    return max(steps)


def end(run: dict[str, Any], budget: int) -> dict[str, Any]:
    """Returns return and rates of a run where the budget was spent.

    Of a run that went on, those of the nearest point of its curve.
    """
    if run["steps"] <= budget:
        return dict(run["final"])
    played = run["curve"]
    nearest = int(np.argmin(np.abs(np.array(played["steps"]) - budget)))
    rates = {event: values[nearest] for event, values in played["rates"].items()}
    return {"return": played["returns"][nearest], "rates": rates}


def finals(
    ends: Sequence[dict[str, Any]],
    demonstrators: Sequence[float],
    imitated: Sequence[dict[str, Any]],
    scratch: Sequence[float],
) -> dict[str, Any]:
    """Returns what a method's seeds ended with, beside demonstrator, imitation and scratch."""
    returns = [one["return"] for one in ends]
    figures: dict[str, Any] = {"final": over_seeds(returns) | {"worst": min(returns)}}
    figures["rates"] = mean_rates(ends)
    others: dict[str, Sequence[float]] = {"demonstrator": demonstrators}
    if imitated:
        others["imitation"] = [one["return"] for one in imitated]
        pairs = zip(returns, others["imitation"], strict=False)
        figures["seeds_below_imitation"] = sum(one < other for one, other in pairs)
    if scratch:
        others["scratch"] = scratch
    for name, theirs in others.items():
        found = probability_of_improvement(returns, theirs)
        figures[f"better_than_{name}"] = found.value
        figures[f"better_than_{name}_interval"] = [found.low, found.high]
    return figures


def over_seeds(values: Sequence[float]) -> dict[str, float]:
    """Returns the interquartile mean over seeds with its 95 % bootstrap interval."""
    return interquartile_interval([values], np.random.default_rng(0))


def mean_rates(ends: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Returns each event's rate per 1000 agent-ticks, mean over seeds."""
    events = ends[0]["rates"]
    return {event: float(np.mean([end["rates"][event] for end in ends])) for event in events}


def reached(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the steps at which each seed reached the demonstrator's return, and their median."""
    steps = [steps_to(run["curve"], run["demonstrator_in_curve"]) for run in records]
    counted = [float("inf") if one is None else one for one in steps]
    median = float(np.median(counted))
    return {
        "steps_to_demonstrator": steps,
        "median_steps_to_demonstrator": median if np.isfinite(median) else None,
    }


def steps_to(curve_of: dict[str, Any], goal: float) -> int | None:
    """Returns the steps of the first point from which two in a row are at the goal or above.

    Of the last point alone one is enough.

    >>> steps_to({"steps": [0, 5, 9, 12], "returns": [3.0, 1.0, 3.0, 4.0]}, 2.0)
    9
    >>> steps_to({"steps": [0, 5], "returns": [1.0, 1.0]}, 2.0) is None
    True
    """
    there = [value >= goal for value in curve_of["returns"]]
    for index, steps in enumerate(curve_of["steps"]):
        if all(there[index : index + 2]):
            return int(steps)
    return None


def curve(records: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Returns steps, interquartile means and interval bounds over the seeds."""
    from scipy.stats import trim_mean

    rng, rows = np.random.default_rng(0), np.array([run["curve"]["returns"] for run in records])
    drawn = rows[rng.integers(0, len(rows), (CURVE_RESAMPLES, len(rows)))]
    low, high = np.quantile(trim_mean(drawn, 0.25, axis=1), (0.025, 0.975), axis=0)
    return {
        "steps": np.mean([run["curve"]["steps"] for run in records], axis=0).tolist(),
        "iqm": trim_mean(rows, 0.25, axis=0).tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
    }


def verdicts(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns how many stages were held or rolled back, and the last stage's diagnosis."""
    stages = [stage for run in records for stage in run["stages"]]
    last = [run["stages"][-1]["diagnosis"] for run in records]
    figures = ("kl_to_prior", "agreement", "value_rmse", "explained_variance")
    means = {name: [one[name] for one in last if one[name] is not None] for name in figures}
    return {
        "stages": len(stages),
        "held": sum(stage["status"] != "PASS" for stage in stages),
        "rolled_back": sum(stage["rolled_back"] for stage in stages),
        "diagnosis": {name: float(np.mean(found)) for name, found in means.items() if found},
    }


def headline(task: dict[str, Any], default: str) -> dict[str, Any]:
    """Returns the figures and goals of a task for the default preset and for the best one.

    Where PPO from scratch did not get there in its budget, the ratio is of that budget: an
    upper bound.

    Args:
        task: ``summary`` of it, with PPO from scratch.
        default: the preset that ships as default.
    """
    methods = task["methods"]
    scratch = methods[SCRATCH]
    spent = scratch["median_steps_to_demonstrator"]
    bounded = spent is None
    spent = scratch["curve"]["steps"][-1] if bounded else spent
    presets = {name: row for name, row in methods.items() if "stages" in row}
    ratios = {
        name: None
        if row["median_steps_to_demonstrator"] is None
        else row["median_steps_to_demonstrator"] / spent
        for name, row in presets.items()
    }
    best = max(presets, key=lambda name: presets[name]["final"]["iqm"])
    top, alone = presets[best]["final"], methods["imitation alone"]["final"]
    return {
        "steps_to_demonstrator_over_scratch": ratios.get(default),
        "steps_to_demonstrator_over_scratch_is_a_bound": bounded,
        "best_preset": best,
        "best_within_a_fifth": ratios[best] is not None and ratios[best] <= 0.2,
        "best_steps_to_demonstrator_over_scratch": ratios[best],
        "best_ends_above_demonstrator": top["low"] > task["demonstrator"]["high"],
        "best_ends_above_imitation": top["low"] > alone["high"],
        "best_seeds_below_imitation": presets[best]["seeds_below_imitation"],
    }
