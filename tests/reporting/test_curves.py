"""Curves that are drawn by hand have their points where they belong."""

import re

import pytest

from journeyman.reporting.curves import HEIGHT, WIDTH, draw_curve, ticks


def points(svg):
    (line,) = re.findall(r'polyline points="([^"]*)"', svg)
    return [tuple(map(float, point.split(","))) for point in line.split()]


def draw(steps, values):
    return draw_curve(steps, values, title="a & b", axis="steps", colour="#123456")


def test_points_lie_where_their_numbers_say():
    found = points(draw([0.0, 50.0, 100.0], [1.0, 3.0, 2.0]))
    xs, ys = zip(*found, strict=True)
    # The middle step is in the middle; the middle value is half-way up: larger is higher.
    assert xs[1] == pytest.approx((xs[0] + xs[2]) / 2, abs=0.1)
    assert ys[2] == pytest.approx((ys[0] + ys[1]) / 2, abs=0.1)
    assert ys[1] < ys[2] < ys[0]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in found)


@pytest.mark.parametrize(
    ("steps", "values"),
    [
        ([5.0], [2.0]),
        ([0.0, 1.0], [0.0, 0.0]),
        ([0.0, 1.0], [1e6, 1e6 + 1e-9]),
        ([0.0, 1e9], [-1e12, 1e12]),
        ([1.0, 2.0], [1e-12, 2e-12]),
    ],
)
def test_whatever_is_drawn_stays_within_the_picture(steps, values):
    svg = draw(steps, values)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points(svg))
    assert "nan" not in svg
    assert "inf" not in svg


def test_ticks_are_round_and_within():
    for low, high in ((0.0, 1.0), (-17.3, -5.1), (0.0, 98_304.0), (2e-5, 9e-5)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 6
        assert all(low - 1e-9 * abs(low) <= tick <= high * (1 + 1e-9) or high < 0 for tick in found)
        assert found == sorted(found)


def test_few_points_are_marked_and_titles_are_escaped():
    assert draw([0.0, 1.0], [0.0, 1.0]).count("<circle") == 2
    many = [float(step) for step in range(100)]
    assert draw(many, many).count("<circle") == 0
    assert "<title>a &amp; b</title>" in draw([0.0, 1.0], [0.0, 1.0])
