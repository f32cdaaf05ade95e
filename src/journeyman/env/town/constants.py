"""The settings and the layout in the form compiled rules take them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from journeyman.env.town.names import KINDS
from journeyman.env.town.scenarios import Layout
from journeyman.settings.base import Section
from journeyman.settings.env import DAY_TICKS, TownSettings

AFFORDANCE = np.dtype(
    [
        ("ticks", "i8"),
        ("hunger", "f8"),
        ("hygiene", "f8"),
        ("energy", "f8"),
        ("price", "f8"),
        ("meals", "i8"),
    ]
)
SHIFT = np.dtype([("start", "i8"), ("end", "i8"), ("wage", "f8"), ("x", "i8"), ("y", "i8")])
PERSONALITY = np.dtype([("extroversion", "f8"), ("forgiveness", "f8"), ("ambition", "f8")])

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
    """What the rules read and never write.

    Attributes:
        numbers: (1,) of one record; its field ``queues_patience`` is the setting ``queues.patience``.
            ``grid`` and ``episode_ticks`` are there as well.
        affordances: (5,) of AFFORDANCE, 0 unused, else by kind of object.
        shifts: (J,) of SHIFT.
        personalities: (P,) of PERSONALITY.
        homes: (A, 2) int64 tiles.
        things: (O, 3) int64: kind and tile of each object.
        kinds: (5,) int64 number of objects of each kind.
        clock: (1440, 2) float64 sine and cosine of the time of day.
    """

    numbers: NDArray[Any]
    affordances: NDArray[Any]
    shifts: NDArray[Any]
    personalities: NDArray[Any]
    homes: NDArray[np.int64]
    things: NDArray[np.int64]
    kinds: NDArray[np.int64]
    clock: NDArray[np.float64]


def constants_from(settings: TownSettings, layout: Layout) -> Constants:
    """Collects every number the rules need."""
    fields = [("grid", layout.grid), ("episode_ticks", layout.episode_ticks)]
    for section in _SCALAR_SECTIONS:
        fields += _scalars(section, getattr(settings, section))
    dtype = np.dtype([(name, "i8" if isinstance(value, int) else "f8") for name, value in fields])
    numbers = np.array([tuple(value for _, value in fields)], dtype)
    affordances = np.zeros(KINDS, AFFORDANCE)
    affordances["ticks"][0] = 1
    for kind, (_, affordance) in enumerate(settings.affordances, start=1):
        affordances[kind] = tuple(getattr(affordance, name) for name in AFFORDANCE.names or ())
    shifts = [
        (shift.start, shift.end, shift.wage, *site)
        for shift, site in zip(layout.shifts, layout.sites, strict=True)
    ]
    tempers = [(p.extroversion, p.forgiveness, p.ambition) for p in settings.personalities]
    things = np.array([(kind, *tile) for kind, tile in layout.objects], np.int64)
    angle = 2.0 * np.pi * np.arange(DAY_TICKS) / DAY_TICKS
    return Constants(
        numbers=numbers,
        affordances=affordances,
        shifts=np.array(shifts, SHIFT),
        personalities=np.array(tempers, PERSONALITY),
        homes=np.array(layout.homes, np.int64),
        things=things,
        kinds=np.bincount(things[:, 0], minlength=KINDS).astype(np.int64),
        clock=np.stack([np.sin(angle), np.cos(angle)], axis=1),
    )


def _scalars(prefix: str, section: Section) -> Iterator[tuple[str, Any]]:
    """Yields the numbers of a section and of the sections in it, named by their path."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _scalars(f"{prefix}_{name}", value)
        elif isinstance(value, int | float):
            yield f"{prefix}_{name}", value
