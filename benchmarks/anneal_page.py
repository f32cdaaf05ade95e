"""Draws the committed results of anneal.py into docs/annealing.md.

python benchmarks/anneal.py --plot
"""

from pathlib import Path
from typing import Any

import numpy as np
from anneal_tasks import SCRATCH
from pages import require_marks, write_tables

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "annealing.md"
PICTURE = ROOT / "docs" / "images" / "anneal.png"
ALONE = "imitation alone"
COLUMNS = 2


def draw(document: dict[str, Any]) -> None:
    """Draws the curves into the picture and writes the tables into the page.

    Raises:
        ValueError: the page has lost the marks that the tables stand between.
    """
    require_marks(PAGE)
    curves(document["tasks"])
    write_tables(PAGE, tables(document))


def curves(tasks: dict[str, Any]) -> None:
    """Draws a panel for each task: a line and a band for each method over its seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(COLUMNS, len(tasks))
    rows = -(-len(tasks) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(5.5 * columns, 4.2 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(tasks) :]:
        axis.set_axis_off()
    for axis, task in zip(axes.flat, tasks.values(), strict=False):
        axis.spines[["top", "right"]].set_visible(False)
        for method, row in task["methods"].items():
            if "curve" not in row:
                continue
            curve = {name: np.array(values) for name, values in row["curve"].items()}
            shown = curve["steps"] <= task["budget"] * 1.02
            steps = curve["steps"][shown] / 1000.0
            colour = "black" if method == SCRATCH else None
            (line,) = axis.plot(steps, curve["iqm"][shown], linewidth=1.4, label=method, c=colour)
            low, high = curve["low"][shown], curve["high"][shown]
            axis.fill_between(steps, low, high, alpha=0.12, color=line.get_color(), linewidth=0)
        axis.axhline(task["demonstrator"]["iqm"], color="black", linewidth=0.9, linestyle=":")
        if ALONE in task["methods"]:
            imitated = task["methods"][ALONE]["final"]["iqm"]
            axis.axhline(imitated, color="grey", linewidth=0.9, linestyle="--")
        axis.set(title=task["env"], xlabel="thousand environment steps")
    axes[0, 0].set_ylabel("return")
    axes[0, 0].legend(frameon=False, fontsize="small")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


def tables(document: dict[str, Any]) -> str:
    """Returns all that the page says of the results."""
    lines: list[str] = []
    for task in document["tasks"].values():
        lines += ["", f"### {task['env']}", "", *opening(task), "", *table(task), "", *misses(task)]
    packages = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    commits = sorted({run["commit"] for task in document["tasks"].values() for run in task["runs"]})
    lines += [
        "",
        f"`{document['command']}`, commit {', '.join(commits)}; {document['machine']}; {packages}.",
        "",
    ]
    return "\n".join([*headlines(document), *lines])


def headlines(document: dict[str, Any]) -> list[str]:
    """Returns what the whole comes to, for the default preset and the best one."""
    found = document["figures"]
    ratio, best = found["steps_to_demonstrator_over_scratch"], found["best_preset"]
    bound = "at most " if found["steps_to_demonstrator_over_scratch_is_a_bound"] else ""
    reached = "never reached the demonstrator" if ratio is None else f"{bound}{ratio:.3f}"
    best_ratio = found["best_steps_to_demonstrator_over_scratch"]
    steps = "never" if best_ratio is None else f"{bound}{best_ratio:.3f}"
    goals = {
        f"reaches the demonstrator with a fifth of the steps of PPO from scratch ({steps})": found[
            "best_within_a_fifth"
        ],
        "ends above the demonstrator, intervals apart": found["best_ends_above_demonstrator"],
        "ends above imitation alone, intervals apart": found["best_ends_above_imitation"],
        "no seed ends below imitation alone": found["best_seeds_below_imitation"] == 0,
    }
    return [
        f"In town/neighbourhood, of the default preset, `{document['default']}`: steps to the "
        f"demonstrator's return over those of PPO from scratch: **{reached}** (goal: 0.2). The "
        f"preset that ends highest is `{best}`:",
        "",
        "| goal of that preset | reached |",
        "|---|---|",
        *(f"| {goal} | {'yes' if held else 'no'} |" for goal, held in goals.items()),
    ]


def opening(task: dict[str, Any]) -> list[str]:
    """Returns who demonstrates, and the budget."""
    updates = task["demonstrator_updates"]
    who = (
        "the town's scripted one"
        if updates is None
        else f"our own PPO with the settings below, stopped after {updates} updates"
    )
    seeds = len({run["seed"] for run in task["runs"]})
    return [
        f"Demonstrator: {who}, {task['demonstrator']['iqm']:.2f}; untrained policies "
        f"{task['untrained']:.2f}. {task['budget']:,} environment steps, {seeds} seeds."
    ]


def table(task: dict[str, Any]) -> list[str]:
    """Returns a row for each method."""
    events = list(task["demonstrator"]["rates"])
    names = {"queue_conflict": "conflicts", "faint": "faints"}
    head = ["method", "return (IQM)", "95 % interval", "worst seed", "steps to demonstrator"]
    head += ["above demonstrator", "above imitation", "above scratch", "stages held, rolled back"]
    head += [names[event] for event in events]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for method, row in task["methods"].items():
        end = row["final"]
        cells = [
            f"`{method}`" if "stages" in row else method,
            f"**{end['iqm']:.2f}**",
            f"{end['low']:.2f} to {end['high']:.2f}",
            f"{end['worst']:.2f}",
            steps_in_words(row, task),
            *(
                probability(row, f"better_than_{other}")
                for other in ("demonstrator", "imitation", "scratch")
            ),
            f"{row['held']}, {row['rolled_back']} of {row['stages']}" if "stages" in row else "-",
            *(f"{row['rates'][event]:.2f}" for event in events),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def probability(row: dict[str, Any], key: str) -> str:
    """Returns a probability with its interval, which there is none of where all pairs agree."""
    if key not in row:
        return "-"
    low, high = row[f"{key}_interval"]
    return f"{row[key]:.2f}" + ("" if low == high else f" [{low:.2f}, {high:.2f}]")


def steps_in_words(row: dict[str, Any], task: dict[str, Any]) -> str:
    """Returns the median of the steps to the demonstrator, and how many seeds got there."""
    if "steps_to_demonstrator" not in row:
        return "-"
    steps, median = row["steps_to_demonstrator"], row["median_steps_to_demonstrator"]
    there = sum(one is not None for one in steps)
    if median is None:
        last = row["curve"]["steps"][-1]
        return f"over {last:,.0f} ({there} of {len(steps)} seeds got there)"
    return f"{median:,.0f}" + ("" if there == len(steps) else f" ({there} of {len(steps)} seeds)")


def misses(task: dict[str, Any]) -> list[str]:
    """Returns a sentence on each preset that does not help here."""
    alone = task["methods"].get(ALONE)
    lines = []
    for method, row in task["methods"].items():
        if "stages" not in row or alone is None:
            continue
        found = []
        if row["final"]["low"] <= alone["final"]["high"]:
            found.append("its interval is not above that of imitation alone")
        if row["stopped"]:
            found.append(f"a guardrail ended {row['stopped']} of its seeds early")
        if row["seeds_below_imitation"]:
            found.append(f"{row['seeds_below_imitation']} seeds end below imitation alone")
        if row["final"]["low"] <= task["demonstrator"]["high"]:
            found.append("its interval is not above the demonstrator's")
        low, high = row.get("better_than_scratch_interval", (1.0, 1.0))
        if high < 0.5:
            found.append("PPO from scratch ends higher")
        elif low <= 0.5:
            found.append("in this budget PPO from scratch may end as high")
        if found:
            lines.append(f"- `{method}` does not help all the way: {'; '.join(found)}.")
    return lines
