"""Small curves as SVG, drawn without a library: importing one would take longer than a short run.

The pictures of sweeps, with their bands over seeds, are drawn by ``reporting.plots``.
"""

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 360, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 34
_MARKED = 30
"""Curves of fewer points have their points marked."""


def draw_curve(
    steps: Sequence[float], values: Sequence[float], *, title: str, axis: str, colour: str
) -> str:
    """Returns an ``<svg>`` element; the same text for the same figures.

    Args:
        steps: ascending, at least one.
        values: as many, finite.
        title: for those who do not see the picture.
        axis: what the steps count.
        colour: of the line.
    """
    low, high = _bounds(values)
    left, right = (steps[0], steps[-1]) if steps[-1] > steps[0] else (steps[0] - 1, steps[0] + 1)

    def x(step: float) -> float:
        return _LEFT + (step - left) / (right - left) * (WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (HEIGHT - _TOP - _BOTTOM)

    points = [(f"{x(s):.1f}", f"{y(v):.1f}") for s, v in zip(steps, values, strict=True)]
    parts = [_grid(y(tick), shown(tick)) for tick in ticks(low, high)]
    parts += [_foot(x(step), shown(step)) for step in ticks(left, right, 4) if step >= 0.0]
    line = " ".join(",".join(point) for point in points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    if len(points) < _MARKED:
        parts += [f'<circle cx="{cx}" cy="{cy}" r="2.2" fill="{colour}"/>' for cx, cy in points]
    parts.append(
        f'<text x="{(_LEFT + WIDTH - _RIGHT) // 2}" y="{HEIGHT - 3}" text-anchor="middle">'
        f"{escape(axis)}</text>"
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escape(title)}</title>'
        + "".join(parts)
        + "</svg>"
    )


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Returns round numbers from ``low`` to ``high``: multiples of 1, 2, 2.5 or 5 by powers of ten.

    >>> ticks(0.0, 1.0)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    >>> ticks(-3.0, 120.0, 4)
    [0.0, 50.0, 100.0]
    """
    rough = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step + 0.0 for index in range(first, last + 1)]


def shown(value: float) -> str:
    """Returns a number as an axis shows it.

    >>> [shown(value) for value in (0.0, 0.25, -14.0, 1500.0, 98304.0, 2e6, 3e-5)]
    ['0', '0.25', '-14', '1.5k', '98.3k', '2M', '3e-05']
    """
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}" if abs(value) > 1e-12 else "0"


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    # A curve that does not move, or by less than its digits show, lies in the middle.
    room = (high - low) * 0.05
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = abs(high) * 0.1 or 1.0
    return low - room, high + room


def _grid(y: float, label: str) -> str:
    return (
        f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
        f'<text x="{_LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{label}</text>'
    )


def _foot(x: float, label: str) -> str:
    return f'<text x="{x:.1f}" y="{HEIGHT - _BOTTOM + 14}" text-anchor="middle">{label}</text>'
