"""Schedules: their ends, their bounds, and their documentation."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman import schedules, session
from journeyman.schedules import interpolate
from journeyman.settings import schedule as schedule_settings
from journeyman.settings.schedule import Ramp, value_at
from journeyman.settings.social_reward import SocialRewardSettings

SHAPES = st.sampled_from(["linear", "cosine", "exponential", "step"])
VALUES = st.floats(0.0, 10.0)


@given(start=VALUES, end=VALUES, progress=st.floats(0.0, 1.0), shape=SHAPES)
def test_a_schedule_stays_between_its_ends(
    start: float, end: float, progress: float, shape: str
) -> None:
    value = interpolate(start, end, progress, shape)  # type: ignore[arg-type]
    assert min(start, end) - 1e-9 <= value <= max(start, end) + 1e-9


@given(start=VALUES, end=VALUES, shape=SHAPES)
def test_a_schedule_meets_its_ends(start: float, end: float, shape: str) -> None:
    assert interpolate(start, end, 0.0, shape) == pytest.approx(start)  # type: ignore[arg-type]
    assert interpolate(start, end, 1.0, shape) == pytest.approx(end)  # type: ignore[arg-type]


@given(start=VALUES, end=VALUES, shape=SHAPES, steps=st.integers(2, 20))
def test_a_schedule_never_turns_back(start: float, end: float, shape: str, steps: int) -> None:
    values = [value_at(Ramp(start=start, end=end, shape=shape), i, steps) for i in range(steps)]  # type: ignore[arg-type]
    ordered = sorted(values, reverse=start > end)
    assert values == pytest.approx(ordered)


def test_progress_outside_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        interpolate(1.0, 0.0, 1.1, "linear")


@pytest.mark.parametrize("module", [schedules, schedule_settings, session])
def test_the_examples_in_the_docstrings_hold(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0
    assert result.failed == 0


def test_the_social_stage_follows_the_cycle_and_the_override_wins() -> None:
    schedule = ({"cycle": 0, "stage": "OFF"}, {"cycle": 2, "stage": "C1"})
    staged = SocialRewardSettings.model_validate({"schedule": schedule, "override": None})
    assert [staged.stage_at(cycle) for cycle in range(4)] == ["OFF", "OFF", "C1", "C1"]
    pinned = SocialRewardSettings.model_validate({"schedule": schedule, "override": "C3"})
    assert {pinned.stage_at(cycle) for cycle in range(4)} == {"C3"}
    for bad in (({"cycle": 1, "stage": "OFF"},), (schedule[0], schedule[0])):
        with pytest.raises(ValueError, match="cycle"):
            SocialRewardSettings.model_validate({"schedule": bad, "override": None})
