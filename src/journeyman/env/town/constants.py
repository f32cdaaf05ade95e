"""The settings and the layout in the form compiled rules take them."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from journeyman.env.town.compiled import inlined
from journeyman.env.town.names import KINDS
from journeyman.env.town.scenarios import Layout
from journeyman.settings.base import Section
from journeyman.settings.env import TownSettings
from journeyman.settings.town_rules import DAY_TICKS

AFFORDANCE = np.dtype(
    [
        ("ticks", "i8"),
        ("hunger", "f8"),
        ("hygiene", "f8"),
        ("energy", "f8"),
        ("price", "f8"),
        ("meals", "i8"),
        ("objects", "i8"),  # that afford it
    ]
)

GRAIN = 1048576.0
"""Rewards are multiples of 1 / GRAIN."""

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


class Constants(NamedTuple):
    """What the rules read and never write, as they take it.

    Attributes:
        numbers: a record whose field ``queues_patience`` is the setting ``queues.patience``;
            ``grid``, ``episode_ticks`` and what else the layout says are there as well.
        affordances: (5,) of AFFORDANCE by kind of object, 0 unused.
        squashed: (2 * grid,) float32, offsets in tiles as numbers in (-1, 1); negative ones
            count from the end. Looking one up takes a fraction of the time of a division.
    """

    numbers: Any
    affordances: NDArray[Any]
    squashed: NDArray[np.float32]


class Tables(NamedTuple):
    """The constants as arrays, as kernels take them.

    Attributes:
        numbers: (1,) of the record in ``Constants``.
        affordances: (5,) of AFFORDANCE.
        squashed: (2 * grid,) float32, as in ``Constants``.
        day: (1440, 2) float64 sine and cosine of the time of day.
    """

    numbers: NDArray[Any]
    affordances: NDArray[Any]
    squashed: NDArray[np.float32]
    day: NDArray[np.float64]


@inlined
def constants_of(tables: Tables) -> Constants:
    """Returns the constants as rules take them."""
    return Constants(tables.numbers[0], tables.affordances, tables.squashed)


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
