"""What an agent sees: named features, an egocentric map, and the mask of open intents.

Offsets are squashed as ``d / (6 + |d|)``: in (-1, 1), finest near by. Everything else is scaled
to about [-1, 1]. An observation depends on the state alone, and never on the coming action.
"""

from typing import Any

from journeyman.env.town import names
from journeyman.env.town.compiled import compiled
from journeyman.env.town.constants import Constants
from journeyman.env.town.maps import draw_map
from journeyman.env.town.names import COOK, EAT, SHOWER, position
from journeyman.env.town.rules.affordances import is_served, price_factor
from journeyman.env.town.rules.intents import fill_mask
from journeyman.env.town.rules.places import (
    NO_KEY,
    at_work,
    chat_partner,
    distance,
    nearest_rival,
    nearness,
    object_cost,
    whose,
)
from journeyman.env.town.rules.queues import rival_in_queue
from journeyman.env.town.state import NOBODY, NOTHING, World

_TIME = position("need_hunger")
_SHIFT = position("shift_none")
_JOB = position("has_job")
_USE = position("using_fridge")
_QUEUE = position("queueing_fridge")
_OBJECTS = position("fridge_dx")
_STOCK = position("fridge_stock")
_LAST = position("last_action_wait")
_NEIGHBOURS = position("neighbour0_present")
_AGGREGATES = position("trust_mean")
_CHAT = position("chat_cooldown")
_TOWN = position("price")
_PERSONALITY = names.COMMON_FEATURES

_ACTIONS = len(names.ACTION_NAMES)
_OBJECT_WIDTH, _NEIGHBOUR_WIDTH = names.OBJECT_WIDTH, names.NEIGHBOUR_WIDTH
_DAY = 1440
_UNREACHABLE = 1e9
"""Above what any object costs."""
_SHIFT_HORIZON = 120
"""Ticks before a shift from which on its coming shows."""


@compiled
def see_self(world: World, constants: Constants, a: int, row: Any) -> None:
    """Writes needs, wallet and time, and what the agent did last."""
    agent, tick = world.agents[a], world.clock["tick"]
    row[_LAST + agent["last_action"]] = 1.0
    row[_LAST + _ACTIONS] = agent["last_success"]
    row[_TIME] = agent["hunger"]
    row[_TIME + 1] = agent["hygiene"]
    row[_TIME + 2] = agent["energy"]
    row[_TIME + 3] = min(agent["wallet"], 4.0) / 4.0
    row[_TIME + 4] = world.clock["time_sin"]
    row[_TIME + 5] = world.clock["time_cos"]
    row[_TIME + 6] = tick / constants.numbers["episode_ticks"]


@compiled
def see_work(world: World, constants: Constants, a: int, row: Any) -> None:
    """Writes the shift and the way to its site."""
    agent = world.agents[a]
    row[_SHIFT + agent["shift_state"]] = 1.0
    row[_SHIFT + 6] = 1.0
    row[_SHIFT + 9] = 1.0
    if agent["job"] == NOTHING:
        return
    time = world.clock["tick"] % _DAY
    if agent["shift_start"] <= time < agent["shift_end"]:
        row[_SHIFT + 5] = 1.0
        row[_SHIFT + 6] = 0.0
        row[_SHIFT + 7] = (agent["shift_end"] - time) / (agent["shift_end"] - agent["shift_start"])
    else:
        until = (agent["shift_start"] - time) % _DAY
        row[_SHIFT + 6] = min(until, _SHIFT_HORIZON) / _SHIFT_HORIZON
    if agent["lateness"] > 0:
        row[_SHIFT + 8] = min(1.0, agent["lateness"] / constants.numbers["jobs_absent_after"])
    if agent["due_ticks"] > 0:
        row[_SHIFT + 9] = agent["attended_ticks"] / agent["due_ticks"]
    row[_JOB] = 1.0
    row[_JOB + 1] = constants.squashed[agent["site_x"] - agent["x"]]
    row[_JOB + 2] = constants.squashed[agent["site_y"] - agent["y"]]
    row[_JOB + 3] = 1.0 if at_work(agent) else 0.0


@compiled
def see_use(world: World, constants: Constants, a: int, row: Any) -> None:
    """Writes what the agent is using or queueing for."""
    agent = world.agents[a]
    if agent["use"] > 0:
        row[_USE + agent["use"] - 1] = 1.0
        row[_USE + 4] = agent["use_left"] / constants.affordances[agent["use"]]["ticks"]
    if agent["queue"] != NOTHING:
        o = agent["queue"]
        row[_QUEUE + world.objects[o]["kind"] - 1] = 1.0
        row[_QUEUE + 4] = (agent["queue_place"] + 1) / constants.numbers["queues_limit"]
        waited = world.clock["tick"] - agent["queue_since"]
        row[_QUEUE + 5] = min(1.0, waited / 60.0)
        row[_QUEUE + 6] = 1.0 if rival_in_queue(world, constants, a) else 0.0


@compiled
def see_object(world: World, constants: Constants, a: int, o: int, row: Any) -> None:
    """Writes the features of the object of its kind that an intent would go to."""
    agent, thing = world.agents[a], world.objects[o]
    at = _OBJECTS + (thing["kind"] - 1) * _OBJECT_WIDTH
    seen = row[at : at + _OBJECT_WIDTH]
    dx, dy = thing["x"] - agent["x"], thing["y"] - agent["y"]
    seen[0] = constants.squashed[dx]
    seen[1] = constants.squashed[dy]
    seen[2] = abs(dx) + abs(dy) <= 1
    seen[3] = (thing["user"] != NOBODY) & (thing["user"] != a)
    if thing["queue_length"] > 0:
        seen[4] = thing["queue_length"] / constants.numbers["queues_limit"]
    left = world.cooldowns[o, a] - world.clock["tick"]
    if left > 0:
        seen[5] = left / max(1, constants.numbers["queues_cooldown"])
    if thing["kind"] == EAT:
        row[_STOCK] = thing["stock"] / constants.numbers["food_capacity"]


@compiled
def see_objects(world: World, constants: Constants, a: int, row: Any) -> None:
    """Writes, for each kind, the object that an intent would go to.

    Objects stand in the order of their kinds, so that one pass finds what ``best_object``
    finds for each kind.
    """
    objects = world.objects.shape[0]
    best, best_cost = NOTHING, _UNREACHABLE
    for o in range(objects):
        cost = object_cost(world, constants, a, o)
        best = o if cost < best_cost else best
        best_cost = min(cost, best_cost)
        if o + 1 == objects or world.objects[o + 1]["kind"] != world.objects[o]["kind"]:
            see_object(world, constants, a, best, row)
            best_cost = _UNREACHABLE


@compiled
def see_neighbour(
    world: World, constants: Constants, a: int, slot: int, key: int, row: Any
) -> None:
    """Writes one of the others; a key above all leaves the slot empty."""
    if key == NO_KEY:
        return
    b = whose(key)
    agent, other, pair = world.agents[a], world.agents[b], world.pairs[a, b]
    at = _NEIGHBOURS + slot * _NEIGHBOUR_WIDTH
    row[at] = 1.0
    row[at + 1] = constants.squashed[other["x"] - agent["x"]]
    row[at + 2] = constants.squashed[other["y"] - agent["y"]]
    row[at + 3] = pair["trust"]
    row[at + 4] = pair["familiarity"]
    row[at + 5] = pair["rivalry"]


@compiled
def see_neighbours(world: World, constants: Constants, a: int, row: Any) -> None:
    """Writes the nearest others; as near, the lower index comes first."""
    agent = world.agents[a]
    first, second, third, fourth = NO_KEY, NO_KEY, NO_KEY, NO_KEY
    for b in range(world.agents.shape[0]):
        key = nearness(agent, world.agents[b], b) if b != a else NO_KEY
        first, key = min(first, key), max(first, key)
        second, key = min(second, key), max(second, key)
        third, key = min(third, key), max(third, key)
        fourth = min(fourth, key)
    see_neighbour(world, constants, a, 0, first, row)
    see_neighbour(world, constants, a, 1, second, row)
    see_neighbour(world, constants, a, 2, third, row)
    see_neighbour(world, constants, a, 3, fourth, row)


@compiled
def see_relations(world: World, constants: Constants, a: int, row: Any) -> None:
    """Writes what the agent holds of all others together, and how near a rival is."""
    agent, agents = world.agents[a], world.agents.shape[0]
    trust, familiarity, rivalry, most = 0.0, 0.0, 0.0, 0.0
    for b in range(agents):
        pair = world.pairs[a, b]
        trust += pair["trust"]
        familiarity += pair["familiarity"]
        rivalry += pair["rivalry"]
        most = max(most, pair["rivalry"])
    others = max(1, agents - 1)
    row[_AGGREGATES] = trust / others
    row[_AGGREGATES + 1] = familiarity / others
    row[_AGGREGATES + 2] = rivalry / others
    row[_AGGREGATES + 3] = most
    if most >= constants.numbers["relationships_rival_at"]:
        rival = world.agents[nearest_rival(world, constants, a)]
        steps = distance(agent["x"], agent["y"], rival["x"], rival["y"])
        row[_AGGREGATES + 4] = 1.0 / (1.0 + steps)
    row[_AGGREGATES + 5] = min(1.0, agent["avoid_count"] / 10.0)


@compiled
def see_chat(world: World, constants: Constants, a: int, row: Any) -> None:
    """Writes when the agent may chat again, and whether somebody free to chat is beside it."""
    agent = world.agents[a]
    left = agent["chat_ready"] - world.clock["tick"]
    if left > 0:
        row[_CHAT] = min(1.0, left / max(1, constants.numbers["chat_cooldown"]))
    partner = chat_partner(world, a)
    if partner != NOBODY:
        other = world.agents[partner]
        steps = distance(agent["x"], agent["y"], other["x"], other["y"])
        row[_CHAT + 1] = steps <= 1


@compiled
def see_town(world: World, constants: Constants, a: int, row: Any) -> None:
    """Writes what befalls the town, and the agent's personality where it is seen."""
    agent, clock = world.agents[a], world.clock
    row[_TOWN] = min(1.0, price_factor(world) - 1.0)
    row[_TOWN + 1] = 1.0 if is_served(world, COOK) else 0.0
    row[_TOWN + 2] = 1.0 if is_served(world, SHOWER) else 0.0
    if clock["tick"] < clock["meet_until"]:
        row[_TOWN + 3] = 1.0
        row[_TOWN + 4] = constants.squashed[clock["meet_x"] - agent["x"]]
        row[_TOWN + 5] = constants.squashed[clock["meet_y"] - agent["y"]]
    if row.shape[0] > _PERSONALITY:
        row[_PERSONALITY] = agent["extroversion"]
        row[_PERSONALITY + 1] = agent["forgiveness"]
        row[_PERSONALITY + 2] = agent["ambition"]


@compiled
def observe(world: World, constants: Constants, a: int, row: Any, picture: Any, mask: Any) -> None:
    """Writes one agent's observation: (F,) features, (C, size, size) map, (9,) mask."""
    row[:] = 0.0  # what is 0 is left out below
    see_self(world, constants, a, row)
    see_work(world, constants, a, row)
    see_use(world, constants, a, row)
    see_objects(world, constants, a, row)
    see_neighbours(world, constants, a, row)
    see_relations(world, constants, a, row)
    see_chat(world, constants, a, row)
    see_town(world, constants, a, row)
    draw_map(world, constants, a, picture)
    fill_mask(world, constants, a, mask)
