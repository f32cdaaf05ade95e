"""From settings to a layout: how many of everything, and where it stands.

A layout is the same for every world and episode; what varies between episodes (needs, chance)
is drawn by the world itself. Pure Python, and cheap.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from journeyman.env.town.names import OBJECT_KINDS
from journeyman.errors import UserError
from journeyman.settings.env import TownSettings
from journeyman.settings.town_rules import ShiftSettings

Tile = tuple[int, int]

_GROCER = ShiftSettings(name="grocer", start=180, end=360, wage=0.02)
_BARISTA = ShiftSettings(name="barista", start=400, end=560, wage=0.025)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What a scenario says where the settings say null.

    Attributes:
        agents: agents of a world.
        grid: side of the grid in tiles.
        episode_ticks: ticks of an episode.
        objects: objects of each kind, in the order of ``OBJECT_KINDS``.
        shifts: the daily shifts.
        start_rivalry: rivalry at the start within each pair of agents (0 and 1, 2 and 3, ...).
    """

    agents: int
    grid: int
    episode_ticks: int = 720
    objects: tuple[int, int, int, int]
    shifts: tuple[ShiftSettings, ...] = (_GROCER, _BARISTA)
    start_rivalry: float = 0.0


SCENARIOS: dict[str, Scenario] = {
    "neighbourhood": Scenario(agents=8, grid=24, objects=(2, 2, 2, 2)),
    "kitchen_breakfast": Scenario(agents=2, grid=10, objects=(1, 1, 1, 1), shifts=(_GROCER,)),
    "queue_conflict": Scenario(agents=6, grid=16, objects=(2, 1, 1, 2)),
    "employment_punctuality": Scenario(agents=4, grid=20, objects=(2, 1, 1, 2)),
    "rivalry_decay": Scenario(agents=4, grid=12, objects=(1, 1, 1, 2), start_rivalry=0.9),
    "observation_baseline": Scenario(agents=1, grid=12, objects=(1, 1, 1, 1), shifts=(_GROCER,)),
    "crowd": Scenario(agents=64, grid=64, objects=(16, 16, 16, 16)),
}

_ROOMS = {"fridge": (0.15, 0.2), "stove": (0.35, 0.2), "shower": (0.75, 0.25), "bed": (0.25, 0.75)}
"""Where each kind of object stands, as a share of the grid's side."""

_WORKPLACES = ((0.65, 0.65), (0.8, 0.8), (0.5, 0.5), (0.9, 0.55))
"""Where the sites of jobs lie; further ones go around again."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The world as it is built.

    Attributes:
        agents: agents of a world.
        grid: side of the grid in tiles.
        episode_ticks: ticks of an episode.
        objects: (kind, tile) of each object; kind 1 fridge, 2 stove, 3 shower, 4 bed.
        homes: tile of each agent's home, all distinct.
        shifts: the daily shifts.
        sites: tile of each shift's site.
        start_rivalry: rivalry at the start within each pair of agents (0 and 1, 2 and 3, ...).
    """

    agents: int
    grid: int
    episode_ticks: int
    objects: tuple[tuple[int, Tile], ...]
    homes: tuple[Tile, ...]
    shifts: tuple[ShiftSettings, ...]
    sites: tuple[Tile, ...]
    start_rivalry: float


def resolve_layout(settings: TownSettings) -> Layout:
    """Fills nulls from the scenario and places everything.

    Raises:
        UserError: where such a world cannot be, one sentence for each reason.
    """
    scenario = SCENARIOS[settings.scenario]
    agents = scenario.agents if settings.agents is None else settings.agents
    grid = scenario.grid if settings.grid is None else settings.grid
    ticks = scenario.episode_ticks if settings.episode_ticks is None else settings.episode_ticks
    shifts = scenario.shifts if settings.jobs.shifts is None else settings.jobs.shifts
    rivalry = settings.relationships.start_rivalry
    asked = settings.objects.model_dump()
    counts = {
        kind: scenario.objects[i] if asked[kind] is None else asked[kind]
        for i, kind in enumerate(OBJECT_KINDS)
    }
    problems = [*_impossible(agents, grid, counts, shifts), *_starving(settings, counts)]
    if problems:
        raise UserError(problems)
    taken: set[Tile] = set()
    objects = tuple(
        (kind, _nearest_free(grid, _ROOMS[name], taken, spaced=True))
        for kind, name in enumerate(OBJECT_KINDS, start=1)
        for _ in range(counts[name])
    )
    sites = {
        name: _nearest_free(grid, _WORKPLACES[i % len(_WORKPLACES)], taken, spaced=True)
        for i, name in enumerate(dict.fromkeys(shift.name for shift in shifts))
    }
    homes = tuple(_nearest_free(grid, spot, taken) for spot in islice(_lattice(agents), agents))
    return Layout(
        agents=agents,
        grid=grid,
        episode_ticks=ticks,
        objects=objects,
        homes=homes,
        shifts=shifts,
        sites=tuple(sites[shift.name] for shift in shifts),
        start_rivalry=scenario.start_rivalry if rivalry is None else rivalry,
    )


def _impossible(
    agents: int, grid: int, counts: dict[str, int], shifts: tuple[ShiftSettings, ...]
) -> Iterator[str]:
    tiles = grid * grid
    sites = len({shift.name for shift in shifts})
    things = sum(counts.values()) + sites
    if agents > tiles:
        yield (
            f"env.agents: {agents} agents need a home tile each, but env.grid={grid} has only "
            f"{tiles} tiles; raise env.grid or lower env.agents"
        )
    elif agents + things > tiles:
        yield (
            f"env.objects: {things} objects and job sites and {agents} homes do not fit on the "
            f"{tiles} tiles of env.grid={grid}; raise env.grid"
        )
    if counts["fridge"] == 0:
        yield "env.objects.fridge: a town without a fridge starves; there must be at least 1"
    if counts["bed"] == 0:
        yield "env.objects.bed: a town without a bed never sleeps; there must be at least 1"


def _starving(settings: TownSettings, counts: dict[str, int]) -> Iterator[str]:
    food, affordances = settings.food, settings.affordances
    cooked = counts["stove"] > 0 and affordances.cook_meal.meals > 0
    if food.start == 0 and food.restock_per_day == 0.0 and not cooked:
        yield (
            "env.food: there is never a meal; set env.food.start or env.food.restock_per_day "
            "above 0, or have a stove that cooks"
        )
    if affordances.eat_meal.hunger <= 0.0:
        yield (
            f"env.affordances.eat_meal.hunger: a meal that gives {affordances.eat_meal.hunger:g} "
            "feeds nobody; it must be above 0"
        )


def _lattice(agents: int) -> Iterator[tuple[float, float]]:
    """Yields at least ``agents`` spots spread evenly over the grid, as shares of its side."""
    side = 1
    while side * side < agents:
        side += 1
    for row in range(side):
        for column in range(side):
            yield (column + 0.5) / side, (row + 0.5) / side


def _nearest_free(
    grid: int, spot: tuple[float, float], taken: set[Tile], *, spaced: bool = False
) -> Tile:
    """Takes the free tile nearest to a spot; ``spaced`` prefers tiles with none beside them."""
    x0, y0 = int(spot[0] * grid), int(spot[1] * grid)

    def distance(tile: Tile) -> tuple[int, int, int]:
        return abs(tile[0] - x0) + abs(tile[1] - y0), tile[1], tile[0]

    def alone(tile: Tile) -> bool:
        return all(abs(tile[0] - x) + abs(tile[1] - y) > 1 for x, y in taken)

    free = [(x, y) for x in range(grid) for y in range(grid) if (x, y) not in taken]
    accept: Callable[[Tile], bool] = alone if spaced else lambda tile: True
    tile = min([tile for tile in free if accept(tile)] or free, key=distance)
    taken.add(tile)
    return tile
