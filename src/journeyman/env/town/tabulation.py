"""From settings and a layout to the numbers that compiled rules take.

No kernel imports this, so that the rules know nothing of settings and scenarios.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.env.town.constants import AFFORDANCE, GRAIN, Tables
from journeyman.env.town.names import KINDS
from journeyman.env.town.scenarios import Layout
from journeyman.settings.base import Section
from journeyman.settings.env import TownSettings
from journeyman.settings.town_rules import DAY_TICKS

_SCALAR_SECTIONS = (
    "needs",
    "food",
    "money",
    "queues",
    "relationships",
    "chat",
    "jobs",
    "perturbations",
    "reward",
    "social",
)


def tables_from(settings: TownSettings, layout: Layout) -> Tables:
    """Collects every number the rules need."""
    bound = settings.reward.clip_per_episode
    fields: list[tuple[str, float]] = [
        ("grid", layout.grid),
        ("episode_ticks", layout.episode_ticks),
        ("start_rivalry", layout.start_rivalry),
        ("episode_bound", math.inf if bound is None else math.floor(bound * GRAIN + 0.5) / GRAIN),
    ]
    for section in _SCALAR_SECTIONS:
        fields += _scalars(section, getattr(settings, section))
    dtype = np.dtype([(name, "i8" if isinstance(value, int) else "f8") for name, value in fields])
    affordances = np.zeros(KINDS, AFFORDANCE)
    affordances["ticks"][0] = 1
    kinds = [kind for kind, _ in layout.objects]
    for kind, (_, affordance) in enumerate(settings.affordances, start=1):
        for name, value in affordance:
            affordances[name][kind] = value
        affordances["objects"][kind] = kinds.count(kind)
    angle = 2.0 * np.pi * np.arange(DAY_TICKS) / DAY_TICKS
    return Tables(
        numbers=np.array([tuple(value for _, value in fields)], dtype),
        affordances=affordances,
        squashed=squashed_offsets(layout.grid),
        day=np.stack([np.sin(angle), np.cos(angle)], axis=1),
    )


def squashed_offsets(grid: int) -> NDArray[np.float32]:
    """Returns ``d / (6 + |d|)`` for every offset ``d`` in a town, at position ``d``."""
    offsets = np.concatenate([np.arange(grid), np.arange(-grid, 0)])
    squashed: NDArray[np.float64] = offsets / (6.0 + np.abs(offsets))
    return squashed.astype(np.float32)


def _scalars(prefix: str, section: Section) -> Iterator[tuple[str, Any]]:
    """Yields the numbers of a section and of the sections in it, named by their path."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _scalars(f"{prefix}_{name}", value)
        elif isinstance(value, int | float):
            yield f"{prefix}_{name}", value
