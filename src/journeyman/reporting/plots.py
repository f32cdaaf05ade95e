"""Curves with bands as SVG, for pages that load nothing from elsewhere."""

import io
from collections.abc import Sequence

from journeyman.reporting.comparison import Configuration, bands
from journeyman.tracking.tags import COLOURS

STEP_NAMES = {"bc": "epochs"}
"""What a metric group's step counts, where it is not environment steps."""


def draw_curves(configurations: Sequence[Configuration], metric: str) -> str | None:
    """Draws a metric of up to ten configurations over their seeds.

    Args:
        configurations: the best first; the first ten are drawn.
        metric: e.g. ``eval/return_mean``.

    Returns:
        An ``<svg>`` element, the same text for the same figures; None where no job has the
        metric.
    """
    drawn = [
        (colour, band)
        for colour, each in zip(COLOURS, configurations, strict=False)
        if (band := bands(each, metric)) is not None
    ]
    if not drawn:
        return None
    # Without pyplot: it keeps figures for ever and looks for a display.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": metric, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for colour, band in drawn:
            marker = "o" if len(band.steps) < 30 else ""
            axes.plot(
                band.steps, band.middle, color=colour, linewidth=1.5, marker=marker, markersize=3
            )
            axes.fill_between(band.steps, band.low, band.high, color=colour, alpha=0.2, linewidth=0)
            if len(band.steps) == 1:
                axes.vlines(band.steps, band.low, band.high, color=colour, linewidth=3, alpha=0.3)
        axes.set_xlabel(STEP_NAMES.get(metric.partition("/")[0], "environment steps"))
        axes.set_ylabel(metric.partition("/")[2].replace("_", " "))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        target = io.StringIO()
        figure.savefig(target, format="svg", metadata={"Date": None}, transparent=True)
    text = target.getvalue()
    return text[text.index("<svg") :]
