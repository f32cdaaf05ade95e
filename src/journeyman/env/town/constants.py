"""The settings and the layout in the form compiled rules take them."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    """

    numbers: Any
    affordances: NDArray[Any]


class Tables(NamedTuple):
    """The constants as arrays, as kernels take them.

    Attributes:
        numbers: (1,) of the record in ``Constants``.
        affordances: (5,) of AFFORDANCE.
        day: (1440, 2) float64 sine and cosine of the time of day.
    """

    numbers: NDArray[Any]
    affordances: NDArray[Any]
    day: NDArray[np.float64]


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
        day=np.stack([np.sin(angle), np.cos(angle)], axis=1),
    )


def _scalars(prefix: str, section: Section) -> Iterator[tuple[str, Any]]:
    """Yields the numbers of a section and of the sections in it, named by their path."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _scalars(f"{prefix}_{name}", value)
        elif isinstance(value, int | float):
            yield f"{prefix}_{name}", value
