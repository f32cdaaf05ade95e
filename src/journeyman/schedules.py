"""Values that change over training, as pure functions of progress."""

import math
from typing import Literal

Shape = Literal["linear", "cosine", "exponential", "step"]

EXPONENTIAL_FLOOR = 0.01
"""An exponential towards zero ends within this share of its start."""


def interpolate(start: float, end: float, progress: float, shape: Shape) -> float:
    """Returns the value at ``progress`` in [0, 1] of the way from ``start`` to ``end``.

    ``exponential`` decays geometrically; since a geometric decay never reaches zero it is
    shifted and scaled to meet both ends exactly. ``step`` holds ``start`` for the first half.

    Raises:
        ValueError: if progress is outside [0, 1].

    >>> [interpolate(1.0, 0.0, p, "linear") for p in (0.0, 0.25, 1.0)]
    [1.0, 0.75, 0.0]
    >>> round(interpolate(1.0, 0.0, 0.5, "cosine"), 6)
    0.5
    >>> round(interpolate(1.0, 0.0, 0.5, "exponential"), 4)
    0.0909
    >>> [interpolate(1.0, 0.2, p, "step") for p in (0.49, 0.5)]
    [1.0, 0.2]
    """
    if not 0.0 <= progress <= 1.0:
        raise ValueError(f"progress must be in [0, 1], got {progress}")
    if shape == "linear":
        share_left = 1.0 - progress
    elif shape == "cosine":
        share_left = 0.5 * (1.0 + math.cos(math.pi * progress))
    elif shape == "exponential":
        share_left = (EXPONENTIAL_FLOOR**progress - EXPONENTIAL_FLOOR) / (1.0 - EXPONENTIAL_FLOOR)
    else:
        share_left = 1.0 if progress < 0.5 else 0.0
    return end + (start - end) * share_left
