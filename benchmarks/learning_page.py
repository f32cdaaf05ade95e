"""Draws the committed results of learning.py into docs/learning.md.

python benchmarks/learning.py --plot
"""

from pathlib import Path
from typing import Any

import numpy as np
from learning_tasks import WINDOW
from pages import require_marks, write_tables

from learning import median_seconds

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "learning.md"
PICTURE = ROOT / "docs" / "images" / "learning.png"
COLUMNS = 3


def draw(document: dict[str, Any]) -> None:
    """Draws the curves into the picture and writes the table into the page.

    Raises:
        ValueError: the page has lost the marks that the table stands between.
    """
    require_marks(PAGE)
    curves(document["tasks"])
    write_tables(PAGE, table(document))


def curves(tasks: dict[str, Any]) -> None:
    """Draws a panel for each task, a line for each seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = -(-len(tasks) // COLUMNS)
    figure, axes = pyplot.subplots(
        rows, COLUMNS, figsize=(11, 3.1 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, task in zip(axes.flat, tasks.values(), strict=False):
        axis.set_axis_on()
        axis.spines[["top", "right"]].set_visible(False)
        for run in task["runs"]:
            steps, means = np.array(run["curve"]).T
            axis.plot(steps / 1000.0, means, linewidth=1.2, label=f"seed {run['seed']}")
        axis.axhline(task["reference"], color="black", linewidth=0.8, linestyle=":")
        axis.axhline(task["untrained"], color="grey", linewidth=0.8, linestyle="--")
        axis.set(title=task["env"], xlabel="thousand steps")
    axes[0, 0].set_ylabel(f"mean of the last {WINDOW} returns")
    axes[0, 0].legend(frameon=False, fontsize="small")
    figure.savefig(PICTURE, dpi=110)


def table(document: dict[str, Any]) -> str:
    """Returns the page's table and the lines under it."""
    lines = [
        "| task | experiment | steps | seeds | untrained | final policy, IQM | 95 % interval "
        "| worst seed | reference | s a run, median |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for task in document["tasks"].values():
        score, runs = task["score"], task["runs"]
        digits = 3 if abs(task["reference"]) < 2.0 else 1
        cells = [
            task["env"],
            f"`{task['command'].split()[1].removeprefix('experiment=')}`",
            f"{task['steps']:,}",
            str(len(runs)),
            f"{task['untrained']:.{digits}f}",
            f"**{score['iqm']:.{digits}f}**",
            f"{score['low']:.{digits}f} to {score['high']:.{digits}f}",
            f"{min(run['score'] for run in runs):.{digits}f}",
            f"{task['reference']:.{digits}f}: {task['reference_source']}",
            f"{median_seconds(runs):.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for task in document["tasks"].values():
        if "threshold" in task:
            reached = [run["steps_to_threshold"] for run in task["runs"]]
            words = ", ".join("never" if steps is None else f"{steps:,}" for steps in reached)
            lines += [
                "",
                f"{task['env']}: steps until the last {WINDOW} training episodes averaged "
                f"{task['threshold']:.0f}, seed by seed: {words}.",
            ]
    everything = document["all_tasks"]
    packages = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    return "\n".join(
        [
            *lines,
            "",
            f"All tasks, scaled (0 untrained, 1 reference): IQM {everything['iqm']:.3f}, "
            f"{everything['low']:.3f} to {everything['high']:.3f}.",
            "",
            f"`{document['command']}`, commit {document['commit']}; {document['machine']}; "
            f"{packages}; {document['seconds'] / 60:.0f} minutes in all.",
            "",
        ]
    )
