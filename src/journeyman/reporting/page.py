"""What pages of ours are made of: one file that loads nothing from elsewhere and runs nothing."""

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: left; border-bottom: 1px solid #8884; }
td.number, th.number { text-align: right; white-space: nowrap; }
td:first-child { white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; }
caption { caption-side: bottom; text-align: left; }
code, pre { font: 13px/1.4 ui-monospace, monospace; }
td code, p code { overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .7rem; border: 1px solid #8884; border-radius: 4px; }
summary { cursor: pointer; margin: .8rem 0; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figure svg { width: 100%; height: auto; }
figcaption { font: 13px ui-monospace, monospace; }
svg text { font: 10px system-ui, sans-serif; fill: currentColor; }
svg .grid { stroke: currentColor; stroke-opacity: .18; }
.PASS, .FINISHED { color: #2a8a2a; } .FAIL, .FAILED { color: #d13a3a; }
.HOLD, .KILLED { color: #b26a00; }
.note, caption { color: #777; font-size: .9rem; }
"""


def page(title: str, parts: Iterable[str], *, style: str = "") -> str:
    """Returns a whole HTML document of the parts that are not empty; ``style`` adds to ours."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Iterable[int] = (),
    caption: str = "",
) -> str:
    """Returns a table.

    Args:
        head: one cell a column, as HTML.
        rows: cells as HTML, as many as there are columns.
        numbers: columns that are set flush right.
        caption: below the table, as text.
    """
    right = set(numbers)
    below = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "".join(_row("td", row, right) for row in rows)
    return (
        f'<div class="wide"><table>{below}'
        f"<thead>{_row('th', head, right)}</thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def word(verdict: str) -> str:
    """Returns a verdict or status in its colour."""
    return f'<span class="{escape(verdict)}">{escape(verdict)}</span>'


def number(value: float | None, form: str = ".3g") -> str:
    """Returns a number, or a dash where there is none.

    >>> number(0.12345, ".2f"), number(None)
    ('0.12', '-')
    """
    return "-" if value is None else format(value, form)


def details(summary: str, inner: str) -> str:
    """Returns what a reader may unfold; nothing where there is nothing inside."""
    return f"<details><summary>{escape(summary)}</summary>{inner}</details>" if inner else ""


def _row(tag: str, cells: Sequence[str], right: set[int]) -> str:
    return (
        "<tr>"
        + "".join(
            f"<{tag}{' class=number' if index in right else ''}>{cell}</{tag}>"
            for index, cell in enumerate(cells)
        )
        + "</tr>\n"
    )
