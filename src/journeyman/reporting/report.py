"""``report.html``: what a sweep found, on one page that needs nothing but a browser."""

from collections.abc import Sequence
from html import escape

from journeyman.reporting.comparison import (
    CONFIDENCE,
    RESAMPLES,
    Comparison,
    Configuration,
    Estimate,
    compare_jobs,
    probability_of_improvement,
)
from journeyman.reporting.page import page, table
from journeyman.reporting.plots import draw_curves
from journeyman.tracking.history import CURVES, JobHistory
from journeyman.tracking.tags import COLOURS

_MOST_COMPARED = 10

_STYLE = """
td:first-child { white-space: normal; max-width: 45rem; }
.key { display: inline-block; width: .8em; height: .8em; margin-right: .5em; border-radius: 2px; }
.curves { grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); }
figure { background: #fff; color: #000; border-radius: 4px; padding: .5rem; }
.done { color: #2a7d2a; } .failed { color: #c62828; } .stopped, .pending { color: #b26a00; }
"""


def render_report(title: str, command: str | None, jobs: Sequence[JobHistory]) -> str:
    """Returns a whole HTML page: table, curves, probabilities of improvement, every command.

    It loads nothing from elsewhere and holds no script. The same jobs give the same page.

    Args:
        title: what was compared.
        command: what the sweep was started with; None where jobs are gathered from several.
        jobs: at least one.
    """
    comparison = compare_jobs(jobs)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p><code>{escape(command)}</code></p>" if command else "",
        _shared(comparison),
        "<h2>Configurations</h2>",
        _configurations(comparison),
        _curves(comparison),
        _improvement(comparison),
        "<h2>Jobs</h2>",
        _jobs(jobs),
    ]
    return page(title, parts, style=_STYLE)


def _shared(comparison: Comparison) -> str:
    if not comparison.shared:
        return ""
    return f"<p>All jobs share <code>{escape(' '.join(comparison.shared))}</code></p>"


def _configurations(comparison: Comparison) -> str:
    level = f"{100.0 * CONFIDENCE:g}%"
    head = ["configuration", "return (IQM)", f"{level} interval", "seeds", "wall time", "jobs"]
    rows = []
    for rank, each in enumerate(comparison.configurations):
        estimate = each.return_iqm
        cells = [
            f"{_key(rank)}<code>{escape(each.label)}</code>",
            "no score" if estimate is None else f"{estimate.value:.3f}",
            _interval(estimate, ".3f"),
            f"{len(each.scores)}{f' ({each.repeated} run again)' if each.repeated else ''}",
            _seconds(each.duration_sec),
            ", ".join(
                f'<span class="{status}">{count} {status}</span>'
                for status, count in each.statuses.items()
            ),
        ]
        rows.append(cells)
    note = (
        "Return: mean over a job's evaluation episodes, of its final policy; IQM: interquartile "
        f"mean over seeds, with a percentile bootstrap over seeds ({RESAMPLES} resamples). "
        "Seeds: jobs that are done and have a return. Wall time: mean of a job that is done."
    )
    again = sum(each.repeated for each in comparison.configurations)
    if again:
        note += " Run again: of several runs of one seed the last that is done counts."
    said = f'<p class="note">{note}</p>{_contradictions(comparison)}'
    return table(head, rows, numbers=(1, 2, 3, 4)) + said


def _contradictions(comparison: Comparison) -> str:
    """Says which configurations gave, with the same seed, not the same return."""
    found = [each for each in comparison.configurations if each.contradicted]
    return "".join(
        f'<p class="failed">{_label(comparison, each)}: runs of the same seed have not the same '
        f"return (of {each.contradicted} {'seed' if each.contradicted == 1 else 'seeds'}); "
        "something else changed between them: code, versions or machine. "
        "<code>journeyman rerun RUN --verify</code> says what.</p>"
        for each in found
    )


def _curves(comparison: Comparison) -> str:
    figures = []
    for metric in CURVES:
        svg = draw_curves(comparison.configurations, metric)
        if svg is not None:
            figures.append(f"<figure><figcaption>{metric}</figcaption>{svg}</figure>")
    if not figures:
        return ""
    cut = len(comparison.configurations) - len(COLOURS)
    note = "Lines: interquartile mean over seeds; bands: its interval at each point."
    if cut > 0:
        note += f" The {len(COLOURS)} best are drawn; {cut} are left out."
    return f'<h2>Curves</h2><div class="curves">{"".join(figures)}</div><p class="note">{note}</p>'


def _improvement(comparison: Comparison) -> str:
    several = [each for each in comparison.configurations if len(each.scores) > 1]
    compared = several[:_MOST_COMPARED]
    if len(compared) < 2:
        return ""
    head = ["P(row beats column)", *(_label(comparison, each) for each in compared)]
    rows = []
    for one in compared:
        cells = [_label(comparison, one)]
        for other in compared:
            if one is other:
                cells.append("")
                continue
            estimate = probability_of_improvement(one.scores, other.scores)
            cells.append(f"{estimate.value:.2f} {_interval(estimate, '.2f')}")
        rows.append(cells)
    note = (
        "How likely a run of the row's configuration has a higher return than one of the "
        "column's: the share of all pairs of seeds, a tie counts half."
    )
    if len(several) > len(compared):
        note += f" The {len(compared)} best are compared."
    shares = table(head, rows, numbers=range(1, len(head)))
    return f'<h2>Probability of improvement</h2>{shares}<p class="note">{note}</p>'


def _jobs(jobs: Sequence[JobHistory]) -> str:
    head = ["job", "seed", "status", "return", "wall time", "command"]
    rows = []
    for job in jobs:
        reason = f": {escape(job.reason)}" if job.reason else ""
        cells = [
            escape(job.name),
            "" if job.seed is None else str(job.seed),
            f'<span class="{job.status}">{job.status}</span>{reason}',
            f"{job.score:.3f}" if job.status == "done" and job.score is not None else "",
            _seconds(job.duration_sec),
            f"<code>{escape(job.command)}</code>",
        ]
        rows.append(cells)
    return table(head, rows, numbers=(1, 3, 4))


def _label(comparison: Comparison, configuration: Configuration) -> str:
    rank = comparison.configurations.index(configuration)
    return f"{_key(rank)}<code>{escape(configuration.label)}</code>"


def _key(rank: int) -> str:
    if rank >= len(COLOURS):
        return ""
    return f'<span class="key" style="background:{COLOURS[rank]}"></span>'


def _interval(estimate: Estimate | None, form: str) -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    return f"[{estimate.low:{form}}, {estimate.high:{form}}]"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60.0:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
