"""Queues: joining, leaving, hand-over, idle occupants and conflicts."""

from journeyman.env.town.compiled import compiled
from journeyman.env.town.constants import Constants
from journeyman.env.town.names import (
    EVENT_AVOIDED,
    EVENT_CONFLICT,
    EVENT_INTENSITY,
    TERM_CONFLICT,
)
from journeyman.env.town.rules.affordances import leave_object, start_use
from journeyman.env.town.rules.relations import clamp, goodwill, relate
from journeyman.env.town.state import NOBODY, NOTHING, World


@compiled
def join_queue(world: World, constants: Constants, a: int, o: int) -> bool:
    """Puts an agent at the end of a queue; refuses where the queue is full."""
    thing = world.objects[o]
    length = thing["queue_length"]
    if length >= constants.numbers["queues_limit"]:
        return False
    thing["queue_length"] = length + 1
    agent = world.agents[a]
    agent["queue"] = o
    agent["queue_place"] = length
    agent["queue_since"] = world.clock["tick"]
    return True


@compiled
def remove_from_queue(world: World, a: int) -> None:
    """Takes an agent out of its queue; those behind move up."""
    agent = world.agents[a]
    o = agent["queue"]
    for b in range(world.agents.shape[0]):
        other = world.agents[b]
        if other["queue"] == o and other["queue_place"] > agent["queue_place"]:
            other["queue_place"] -= 1
    world.objects[o]["queue_length"] -= 1
    agent["queue"] = NOTHING
    agent["queue_place"] = 0


@compiled
def rival_in_queue(world: World, constants: Constants, a: int) -> bool:
    """Says whether a rival of ``a`` uses, or queues for, what ``a`` queues for."""
    rival_at = constants.numbers["relationships_rival_at"]
    o = world.agents[a]["queue"]
    thing = world.objects[o]
    if thing["user"] != NOBODY and world.pairs[a, thing["user"]]["rivalry"] >= rival_at:
        return True
    for b in range(world.agents.shape[0]):
        if world.agents[b]["queue"] == o and world.pairs[a, b]["rivalry"] >= rival_at:
            return True
    return False


@compiled
def leave_queue(world: World, constants: Constants, a: int, stage: int) -> None:
    """Leaves a queue by choice; counts when it is for a rival's sake.

    The cooldown that follows a use follows this as well: else joining and leaving in turn
    would earn the reward of avoiding without end.
    """
    o = world.agents[a]["queue"]
    if rival_in_queue(world, constants, a):
        world.agents[a]["avoid_count"] += 1
        world.events[a, EVENT_AVOIDED] += 1
        if stage >= 2:
            world.ledger[a, TERM_CONFLICT] += constants.numbers["social_conflict_avoided"]
    remove_from_queue(world, a)
    world.cooldowns[o, a] = world.clock["tick"] + constants.numbers["queues_cooldown"]


@compiled
def waiter_at(world: World, o: int, place: int) -> int:
    """Returns who has a place in an object's queue, or -1."""
    for a in range(world.agents.shape[0]):
        if world.agents[a]["queue"] == o and world.agents[a]["queue_place"] == place:
            return a
    return NOBODY


@compiled
def next_in_queue(world: World, constants: Constants, o: int) -> int:
    """Returns who gets a free object: whom the last user favours, else who is due.

    Favour is goodwill less a little for each place in the queue, and counts above 0. Due is
    the least of place minus ``wait_weight`` times ticks waited. Ties go to the one in front.
    """
    numbers = constants.numbers
    thing = world.objects[o]
    giver = thing["giver"]
    favoured, favour = NOBODY, 0.0
    due, due_score = NOBODY, 1e18
    for place in range(thing["queue_length"]):
        a = waiter_at(world, o, place)
        if giver != NOBODY:
            score = goodwill(world, giver, a) - numbers["queues_goodwill_index_weight"] * place
            if score > favour:
                favoured, favour = a, score
        waited = world.clock["tick"] - world.agents[a]["queue_since"]
        score = place - numbers["queues_wait_weight"] * waited
        if score < due_score:
            due, due_score = a, score
    return favoured if favoured != NOBODY else due


@compiled
def move_on_idle(world: World, constants: Constants, o: int) -> None:
    """Frees an object whose occupant has done nothing for ``idle_ticks``."""
    user = world.objects[o]["user"]
    if user != NOBODY and world.agents[user]["use"] == 0:
        world.agents[user]["idle"] += 1
        if world.agents[user]["idle"] > constants.numbers["queues_idle_ticks"]:
            leave_object(world, user)


@compiled
def hand_over(world: World, constants: Constants, o: int) -> None:
    """Gives a free object to the next in the queue, who starts at once or occupies it idle."""
    thing = world.objects[o]
    if thing["user"] != NOBODY or thing["queue_length"] == 0:
        return
    a = next_in_queue(world, constants, o)
    remove_from_queue(world, a)
    if not start_use(world, constants, a, o):
        thing["user"] = a
        thing["giver"] = NOBODY
        world.agents[a]["holds"] = o
        world.agents[a]["idle"] = 0


@compiled
def quarrel(
    world: World, constants: Constants, a: int, rival: int, length: int, stage: int
) -> None:
    """Books a conflict of a waiter with the user who blocks it; both grow rivals."""
    numbers = constants.numbers
    intensity = clamp(
        numbers["queues_conflict_base"] + numbers["queues_conflict_per_waiter"] * (length - 1),
        numbers["queues_conflict_min"],
        numbers["queues_conflict_max"],
    )
    world.pairs[a, rival]["conflict_ready"] = (
        world.clock["tick"] + numbers["queues_conflict_interval"]
    )
    gain = numbers["relationships_rivalry_per_intensity"] * intensity
    relate(world, a, rival, 0.0, 0.0, gain * (1.0 - world.agents[a]["forgiveness"]))
    relate(world, rival, a, 0.0, 0.0, gain * (1.0 - world.agents[rival]["forgiveness"]))
    world.events[a, EVENT_CONFLICT] += 1
    world.events[a, EVENT_INTENSITY] += intensity
    if stage >= 2:
        world.ledger[a, TERM_CONFLICT] -= numbers["social_conflict_caused"] * intensity


@compiled
def fire_conflicts(world: World, constants: Constants, o: int, stage: int) -> None:
    """Lets every waiter out of patience quarrel, once an interval with the same rival."""
    thing = world.objects[o]
    rival = thing["user"]
    if rival == NOBODY:
        return
    tick = world.clock["tick"]
    for place in range(thing["queue_length"]):
        a = waiter_at(world, o, place)
        waited = tick - world.agents[a]["queue_since"]
        ready = world.pairs[a, rival]["conflict_ready"] <= tick
        if waited > constants.numbers["queues_patience"] and ready:
            quarrel(world, constants, a, rival, thing["queue_length"], stage)


@compiled
def serve_queues(world: World, constants: Constants, stage: int) -> None:
    """Does one tick of every object's queue."""
    for o in range(world.objects.shape[0]):
        move_on_idle(world, constants, o)
        hand_over(world, constants, o)
        fire_conflicts(world, constants, o, stage)
