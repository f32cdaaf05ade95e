"""The egocentric map an agent sees, drawn into (C, size, size) uint8; see ``variants``."""

from typing import Any

from journeyman.env.town.compiled import compiled
from journeyman.env.town.constants import Constants
from journeyman.env.town.names import EAT, SHOWER, SLEEP
from journeyman.env.town.rules.places import best_object
from journeyman.env.town.state import NOBODY, NOTHING, World
from journeyman.env.town.variants import STAY, VARIANTS

_WALKABLE_CHANNELS = len(VARIANTS["compact"].channels)
_PATH_CHANNELS = len(VARIANTS["full"].channels)
_EXTRA = len(VARIANTS["hybrid"].channels)
"""Position of the first channel that ``hybrid`` does not have."""


@compiled
def mark(picture: Any, channel: int, x: int, y: int, there: bool) -> None:
    """Marks a tile if something is there, and if the map reaches so far.

    What is not marked is written as it was, onto the nearest tile: whether there is something to
    mark is as good as random, and a branch that is guessed wrong takes longer than a write.
    """
    last = picture.shape[1] - 1
    column, row = min(max(x, 0), last), min(max(y, 0), last)
    picture[channel, row, column] |= there & (x == column) & (y == row)


@compiled
def draw_map(world: World, constants: Constants, a: int, picture: Any) -> None:
    """Draws the map around an agent: itself, others, objects, objects in use, and extras."""
    picture[:] = 0
    middle = picture.shape[1] // 2
    picture[0, middle, middle] = 1
    agent = world.agents[a]
    left, top = agent["x"] - middle, agent["y"] - middle
    for b in range(world.agents.shape[0]):
        other = world.agents[b]
        mark(picture, 1, other["x"] - left, other["y"] - top, b != a)
    for o in range(world.objects.shape[0]):
        thing = world.objects[o]
        x, y = thing["x"] - left, thing["y"] - top
        mark(picture, 2, x, y, True)
        mark(picture, 3, x, y, thing["user"] != NOBODY)
    if picture.shape[0] == _WALKABLE_CHANNELS:
        draw_walkable(constants.numbers["grid"], left, top, picture)
    elif picture.shape[0] == _PATH_CHANNELS:
        draw_path(world, constants, a, left, top, picture)


@compiled
def draw_walkable(grid: int, left: int, top: int, picture: Any) -> None:
    """Marks the tiles that exist: tiles can be shared, so that only the town's edge bounds."""
    for row in range(picture.shape[1]):
        for column in range(picture.shape[1]):
            if 0 <= left + column < grid and 0 <= top + row < grid:
                picture[_EXTRA, row, column] = 1


@compiled
def urgent_object(world: World, constants: Constants, a: int) -> int:
    """Returns the object that serves the lowest need there is an object for, or -1.

    Of equal needs hunger comes before hygiene, and hygiene before energy.
    """
    agent = world.agents[a]
    best, lowest = NOTHING, 2.0
    for kind in (EAT, SHOWER, SLEEP):
        if kind == EAT:
            need = agent["hunger"]
        elif kind == SHOWER:
            need = agent["hygiene"]
        else:
            need = agent["energy"]
        if need < lowest and constants.affordances[kind]["objects"] > 0:
            best, lowest = best_object(world, constants, a, kind), need
    return best


@compiled
def draw_path(
    world: World, constants: Constants, a: int, left: int, top: int, picture: Any
) -> None:
    """Draws, for each tile, the step from there to the object of the most urgent need.

    The step is the one the world would take: along the longer way, along x where both are as
    long, none when beside the object or outside the town.
    """
    picture[_EXTRA:] = STAY
    o = urgent_object(world, constants, a)
    if o == NOTHING:
        return
    grid, thing = constants.numbers["grid"], world.objects[o]
    for row in range(picture.shape[1]):
        for column in range(picture.shape[1]):
            x, y = left + column, top + row
            dx, dy = thing["x"] - x, thing["y"] - y
            inside = 0 <= x < grid and 0 <= y < grid
            if not inside or abs(dx) + abs(dy) <= 1:
                continue
            if abs(dx) >= abs(dy):
                picture[_EXTRA, row, column] = STAY + (1 if dx > 0 else -1)
            else:
                picture[_EXTRA + 1, row, column] = STAY + (1 if dy > 0 else -1)
