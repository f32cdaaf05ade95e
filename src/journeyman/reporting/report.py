"""``report.html``: what a sweep found, on one page that needs nothing but a browser."""

from collections.abc import Collection, Sequence
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
from journeyman.reporting.plots import draw_curves
from journeyman.tracking.history import CURVES, JobHistory
from journeyman.tracking.tags import COLOURS

_MOST_COMPARED = 10

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: left; border-bottom: 1px solid #8884; }
td.number, th.number { text-align: right; white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; }
code { font: 13px/1.4 ui-monospace, monospace; }
td code, p code { overflow-wrap: anywhere; }
.key { display: inline-block; width: .8em; height: .8em; margin-right: .5em; border-radius: 2px; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem; }
figure { margin: 0; background: #fff; color: #000; border-radius: 4px; padding: .5rem; }
figure svg { width: 100%; height: auto; } figcaption { font: 13px ui-monospace, monospace; }
.done { color: #2a7d2a; } .failed { color: #c62828; } .stopped, .pending { color: #b26a00; }
.note { color: #777; font-size: .9rem; }
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
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def _shared(comparison: Comparison) -> str:
    if not comparison.shared:
        return ""
    return f"<p>All jobs share <code>{escape(' '.join(comparison.shared))}</code></p>"


def _configurations(comparison: Comparison) -> str:
    level = f"{100.0 * CONFIDENCE:g}%"
    head = _row(
        "th",
        ["configuration", "return (IQM)", f"{level} interval", "seeds", "wall time", "jobs"],
        numbers={1, 2, 3, 4},
    )
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
        rows.append(_row("td", cells, numbers={1, 2, 3, 4}))
    note = (
        "Return: mean over a job's evaluation episodes, of its final policy; IQM: interquartile "
        f"mean over seeds, with a percentile bootstrap over seeds ({RESAMPLES} resamples). "
        "Seeds: jobs that are done and have a return. Wall time: mean of a job that is done."
    )
    again = sum(each.repeated for each in comparison.configurations)
    if again:
        note += " Run again: of several runs of one seed the last that is done counts."
    return _table(head, rows) + f'<p class="note">{note}</p>' + _contradictions(comparison)


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
    head = _row(
        "th", ["P(row beats column)", *(_label(comparison, each) for each in compared)], numbers=()
    )
    rows = []
    for one in compared:
        cells = [_label(comparison, one)]
        for other in compared:
            if one is other:
                cells.append("")
                continue
            estimate = probability_of_improvement(one.scores, other.scores)
            cells.append(f"{estimate.value:.2f} {_interval(estimate, '.2f')}")
        rows.append(_row("td", cells, numbers=set(range(1, len(cells)))))
    note = (
        "How likely a run of the row's configuration has a higher return than one of the "
        "column's: the share of all pairs of seeds, a tie counts half."
    )
    if len(several) > len(compared):
        note += f" The {len(compared)} best are compared."
    return f'<h2>Probability of improvement</h2>{_table(head, rows)}<p class="note">{note}</p>'


def _jobs(jobs: Sequence[JobHistory]) -> str:
    head = _row(
        "th", ["job", "seed", "status", "return", "wall time", "command"], numbers={1, 3, 4}
    )
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
        rows.append(_row("td", cells, numbers={1, 3, 4}))
    return _table(head, rows)


def _label(comparison: Comparison, configuration: Configuration) -> str:
    rank = comparison.configurations.index(configuration)
    return f"{_key(rank)}<code>{escape(configuration.label)}</code>"


def _key(rank: int) -> str:
    if rank >= len(COLOURS):
        return ""
    return f'<span class="key" style="background:{COLOURS[rank]}"></span>'


def _table(head: str, rows: Sequence[str]) -> str:
    body = "".join(rows)
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def _row(tag: str, cells: Sequence[str], *, numbers: Collection[int]) -> str:
    return (
        "<tr>"
        + "".join(
            f"<{tag}{' class=number' if index in numbers else ''}>{cell}</{tag}>"
            for index, cell in enumerate(cells)
        )
        + "</tr>\n"
    )


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
