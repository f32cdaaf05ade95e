"""Distances, steps, and what is nearest."""

from typing import Any

from journeyman.env.town.compiled import compiled
from journeyman.env.town.constants import Constants
from journeyman.env.town.names import EAT
from journeyman.env.town.state import NOBODY, NOTHING, World

_FAR = 1_000_000.0
_INDEX_BITS = 20
_INDEX_MASK = (1 << _INDEX_BITS) - 1
NO_KEY = 1 << 60
"""Above any ``nearness``."""


@compiled
def distance(ax: int, ay: int, bx: int, by: int) -> int:
    """Returns the steps from one tile to another."""
    return abs(ax - bx) + abs(ay - by)


@compiled
def nearness(agent: Any, other: Any, b: int) -> int:
    """Returns a number that is less the nearer ``b`` is, and of two as near less for the lower.

    The least of such numbers is found without a branch; which of the agents is nearest is as
    good as random, and a processor that guesses wrong loses more than it takes to compare.
    """
    steps = distance(agent["x"], agent["y"], other["x"], other["y"])
    return steps << _INDEX_BITS | b


@compiled
def whose(key: int) -> int:
    """Returns the ``b`` of a ``nearness``."""
    return key & _INDEX_MASK


@compiled
def step_towards(agent: Any, x: int, y: int) -> None:
    """Moves one tile along the longer way to (x, y), along x where both are as long."""
    dx, dy = x - agent["x"], y - agent["y"]
    if abs(dx) >= abs(dy):
        if dx > 0:
            agent["x"] += 1
        elif dx < 0:
            agent["x"] -= 1
    elif dy > 0:
        agent["y"] += 1
    else:
        agent["y"] -= 1


@compiled
def step_away(agent: Any, x: int, y: int, grid: int) -> bool:
    """Moves one tile away from (x, y), along the shorter way first; says whether it could."""
    dx, dy = agent["x"] - x, agent["y"] - y
    move_x = agent["x"] + (1 if dx >= 0 else -1)
    move_y = agent["y"] + (1 if dy >= 0 else -1)
    can_x, can_y = 0 <= move_x < grid, 0 <= move_y < grid
    if can_x and (abs(dx) <= abs(dy) or not can_y):
        agent["x"] = move_x
        return True
    if can_y:
        agent["y"] = move_y
        return True
    return False


@compiled
def object_cost(world: World, constants: Constants, a: int, o: int) -> float:
    """Returns how far object ``o`` seems to agent ``a``, in tiles or ticks.

    The way, the people there, and the time until the agent may use it again. An empty fridge
    seems farther than any that has a meal.
    """
    agent, thing = world.agents[a], world.objects[o]
    others = (thing["user"] != NOBODY) & (thing["user"] != a)
    people = thing["queue_length"] + (1 if others else 0)
    cost = distance(agent["x"], agent["y"], thing["x"], thing["y"])
    cost += constants.numbers["queues_crowd_distance"] * people
    cost += max(0, world.cooldowns[o, a] - world.clock["tick"])
    empty = (thing["kind"] == EAT) & (thing["stock"] == 0)
    return float(cost + (_FAR if empty else 0.0))


@compiled
def best_object(world: World, constants: Constants, a: int, kind: int) -> int:
    """Returns the object of a kind that an agent would go to, or -1 where there is none."""
    best, best_cost = NOTHING, 2.0 * _FAR
    for o in range(world.objects.shape[0]):
        if world.objects[o]["kind"] == kind:
            cost = object_cost(world, constants, a, o)
            if cost < best_cost:
                best, best_cost = o, cost
    return best


@compiled
def chat_partner(world: World, a: int) -> int:
    """Returns the nearest agent who is free to chat, or -1; a tie goes to the lower index."""
    agent, tick = world.agents[a], world.clock["tick"]
    nearest = NO_KEY
    for b in range(world.agents.shape[0]):
        other = world.agents[b]
        free = (b != a) & (other["use"] == 0) & (other["chat_ready"] <= tick)
        key = nearness(agent, other, b)
        nearest = min(nearest, key if free else NO_KEY)
    return whose(nearest) if nearest < NO_KEY else NOBODY


@compiled
def nearest_rival(world: World, constants: Constants, a: int) -> int:
    """Returns the nearest agent whom ``a`` holds for a rival, or -1."""
    agent = world.agents[a]
    best, best_steps = NOBODY, 1_000_000
    for b in range(world.agents.shape[0]):
        if world.pairs[a, b]["rivalry"] >= constants.numbers["relationships_rival_at"]:
            steps = distance(agent["x"], agent["y"], world.agents[b]["x"], world.agents[b]["y"])
            if steps < best_steps:
                best, best_steps = b, steps
    return best


@compiled
def at_work(agent: Any) -> bool:
    """Says whether an agent who has a job stands on or next to its site."""
    return bool(distance(agent["x"], agent["y"], agent["site_x"], agent["site_y"]) <= 1)
