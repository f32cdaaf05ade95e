"""A number that may change over a stage."""

from typing import Annotated, Literal

from pydantic import Field

from journeyman.schedules import interpolate
from journeyman.settings.base import Section


class Ramp(Section):
    """A value going from ``start`` to ``end``."""

    start: float = Field(ge=0.0)
    """Value at the first update."""
    end: float = Field(ge=0.0)
    """Value at the last update."""
    shape: Literal["linear", "cosine", "exponential", "step"] = "linear"
    """The way between."""


Scheduled = Annotated[float, Field(ge=0.0)] | Ramp


def check_ends(name: str, scheduled: Scheduled, highest: float) -> None:
    """Raises ``ValueError`` unless it starts above 0 and no end exceeds ``highest``."""
    ends = (scheduled.start, scheduled.end) if isinstance(scheduled, Ramp) else (scheduled,)
    if ends[0] <= 0.0 or max(ends) > highest:
        raise ValueError(f"{name} must start above 0 and stay within {highest}, got {ends}")


def value_at(scheduled: Scheduled, index: int, count: int) -> float:
    """Returns the value at step ``index`` of ``count``; the last step has the end value.

    >>> value_at(0.5, 3, 10)
    0.5
    >>> value_at(Ramp(start=1.0, end=0.0), 4, 5)
    0.0
    """
    if isinstance(scheduled, Ramp):
        progress = 0.0 if count <= 1 else index / (count - 1)
        return interpolate(scheduled.start, scheduled.end, progress, scheduled.shape)
    return scheduled
