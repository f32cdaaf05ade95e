"""What the rules read and never write: settings and layout as numbers; see ``tabulation``."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from journeyman.env.town.compiled import inlined

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
