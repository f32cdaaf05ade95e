"""Distances, steps, and what is nearest."""

from typing import Any

from journeyman.env.town.compiled import compiled
from journeyman.env.town.constants import Constants
from journeyman.env.town.names import EAT
from journeyman.env.town.state import NOBODY, NOTHING, World

_FAR = 1_000_000.0


@compiled
def distance(ax: int, ay: int, bx: int, by: int) -> int:
    """Returns the steps from one tile to another."""
    return abs(ax - bx) + abs(ay - by)


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
    people = thing["queue_length"]
    if thing["user"] != NOBODY and thing["user"] != a:
        people += 1
    cost = distance(agent["x"], agent["y"], thing["x"], thing["y"])
    cost += constants.numbers["queues_crowd_distance"] * people
    cost += max(0, world.cooldowns[o, a] - world.clock["tick"])
    if thing["kind"] == EAT and thing["stock"] == 0:
        cost += _FAR
    return float(cost)


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
    best, best_steps = NOBODY, 1_000_000
    for b in range(world.agents.shape[0]):
        other = world.agents[b]
        if b != a and other["use"] == 0 and other["chat_ready"] <= tick:
            steps = distance(agent["x"], agent["y"], other["x"], other["y"])
            if steps < best_steps:
                best, best_steps = b, steps
    return best


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
