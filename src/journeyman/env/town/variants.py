"""The variants of the observation: which channels the map has, and how far it reaches.

Nothing here imports numba, so that a lane's specification costs nothing.
"""

from dataclasses import dataclass

from journeyman.env.town.names import MAP_CHANNELS, MAP_SIZE


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The map of one variant; the features are the same in all.

    Attributes:
        channels: names of the C channels, in their order.
        size: side of the egocentric map in tiles, odd: the agent stands in its middle.
        highest: the largest value in the map.
    """

    channels: tuple[str, ...]
    size: int
    highest: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """The (C, size, size) of the map."""
        return len(self.channels), self.size, self.size


VARIANTS = {
    "hybrid": Variant(channels=MAP_CHANNELS, size=MAP_SIZE, highest=1),
    "full": Variant(channels=(*MAP_CHANNELS, "path_dx", "path_dy"), size=MAP_SIZE, highest=2),
    "compact": Variant(channels=(*MAP_CHANNELS, "walkable"), size=7, highest=1),
}
"""By the name in ``env.observation.variant``. Kernels tell them apart by their number of
channels, so no two may have as many."""

STAY = 1
"""In ``path_dx`` and ``path_dy``: no step along this axis; 0 is a step back, 2 a step forth."""
