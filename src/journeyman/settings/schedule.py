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


def ends_of(scheduled: Scheduled) -> tuple[float, ...]:
    """Returns the one value it has, or start and end."""
    return (scheduled.start, scheduled.end) if isinstance(scheduled, Ramp) else (scheduled,)


def in_words(scheduled: Scheduled) -> str:
    """Returns it as a person would write it.

    >>> in_words(Ramp(start=1.0, end=0.5, shape="cosine"))
    '1 -> 0.5 cosine'
    """
    shape = scheduled.shape if isinstance(scheduled, Ramp) else "linear"
    words = " -> ".join(f"{end:g}" for end in ends_of(scheduled))
    return words if shape == "linear" else f"{words} {shape}"


def check_share(name: str, scheduled: Scheduled) -> None:
    """Raises ``ValueError`` unless it stays within [0, 1]."""
    if max(ends_of(scheduled)) > 1.0:
        raise ValueError(f"{name} must lie in [0, 1], got {in_words(scheduled)}")


def check_ends(name: str, scheduled: Scheduled, highest: float) -> None:
    """Raises ``ValueError`` unless it starts above 0 and no end exceeds ``highest``."""
    ends = ends_of(scheduled)
    if ends[0] <= 0.0 or max(ends) > highest:
        raise ValueError(
            f"{name} must start above 0 and stay within {highest:g}, got {in_words(scheduled)}"
        )


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
