"""Intents: which are open to an agent, and how the world carries one out for a tick."""

from typing import Any

from journeyman.env.town.compiled import compiled
from journeyman.env.town.constants import Constants
from journeyman.env.town.names import (
    AVOID,
    CHAT,
    EAT,
    RELEASE,
    SLEEP,
    WAIT,
    WORK,
)
from journeyman.env.town.rules.affordances import leave_object, start_use, stop_use
from journeyman.env.town.rules.company import can_speak
from journeyman.env.town.rules.places import (
    at_work,
    best_object,
    chat_partner,
    distance,
    nearest_rival,
    step_away,
    step_towards,
)
from journeyman.env.town.rules.queues import join_queue, leave_queue
from journeyman.env.town.state import NOBODY, NOTHING, World


@compiled
def is_open(world: World, constants: Constants, a: int, action: int) -> bool:
    """Says whether the mask allows an intent.

    While using an object: wait and release. In a queue: these, and chat with somebody beside.
    Else: all but release, as far as the scenario has a target for it.
    """
    agent = world.agents[a]
    if agent["use"] > 0:
        return action in (WAIT, RELEASE)
    if agent["queue"] != NOTHING:
        if action == CHAT:
            partner = chat_partner(world, a)
            return partner != NOBODY and can_speak(world, a, partner)
        return action in (WAIT, RELEASE)
    if EAT <= action <= SLEEP:
        return bool(constants.affordances[action]["objects"] > 0)
    if action == WORK:
        return bool(agent["job"] != NOTHING)
    if action in (CHAT, AVOID):
        return bool(world.agents.shape[0] > 1)
    return action == WAIT


@compiled
def fill_mask(world: World, constants: Constants, a: int, mask: Any) -> None:
    """Writes which intents are open: (9,) what ``is_open`` says of each."""
    agent = world.agents[a]
    free = (agent["use"] == 0) & (agent["queue"] == NOTHING)
    mask[WAIT] = True
    for action in range(EAT, SLEEP + 1):
        mask[action] = free & (constants.affordances[action]["objects"] > 0)
    mask[WORK] = free & (agent["job"] != NOTHING)
    mask[CHAT] = is_open(world, constants, a, CHAT)
    mask[AVOID] = free & (world.agents.shape[0] > 1)
    mask[RELEASE] = not free


@compiled
def seek_object(world: World, constants: Constants, a: int, kind: int) -> bool:
    """Steps towards the best object of a kind, or uses it or queues when beside it.

    Returns:
        whether something came of it: a step, the start of a use, or a place in the queue.
    """
    agent = world.agents[a]
    o = best_object(world, constants, a, kind)
    thing = world.objects[o]
    if distance(agent["x"], agent["y"], thing["x"], thing["y"]) > 1:
        step_towards(agent, thing["x"], thing["y"])
        return True
    if world.cooldowns[o, a] > world.clock["tick"]:
        return False
    if thing["user"] == NOBODY and thing["queue_length"] == 0:
        return start_use(world, constants, a, o)
    return join_queue(world, constants, a, o)


@compiled
def go_to_work(agent: Any) -> bool:
    """Steps towards the job's site until beside it; being there is a success."""
    if not at_work(agent):
        step_towards(agent, agent["site_x"], agent["site_y"])
    return True


@compiled
def approach(world: World, a: int) -> bool:
    """Steps towards the nearest agent who is free to chat, until beside; says whether it did."""
    agent = world.agents[a]
    partner = chat_partner(world, a)
    if partner == NOBODY:
        return False
    other = world.agents[partner]
    if distance(agent["x"], agent["y"], other["x"], other["y"]) <= 1:
        return False
    step_towards(agent, other["x"], other["y"])
    return True


@compiled
def avoid(world: World, constants: Constants, a: int) -> bool:
    """Steps away from the nearest rival; says whether there was one and room to step."""
    rival = nearest_rival(world, constants, a)
    if rival == NOBODY:
        return False
    other = world.agents[rival]
    return step_away(world.agents[a], other["x"], other["y"], constants.numbers["grid"])


@compiled
def carry_out(world: World, constants: Constants, a: int, action: int, stage: int) -> bool:
    """Carries out an open intent; returns whether it did something, ``last_success``."""
    agent = world.agents[a]
    if action == RELEASE:
        if agent["use"] > 0:
            stop_use(world, constants, a)
            leave_object(world, a)
        else:
            leave_queue(world, constants, a, stage)
        return True
    if agent["use"] > 0 or agent["queue"] != NOTHING:
        return action == WAIT
    if agent["holds"] != NOTHING and action != WAIT:
        leave_object(world, a)
    if EAT <= action <= SLEEP:
        return seek_object(world, constants, a, action)
    if action == WORK:
        return go_to_work(agent)
    if action == CHAT:
        return approach(world, a)
    if action == AVOID:
        return avoid(world, constants, a)
    return True


@compiled
def act_all(world: World, constants: Constants, actions: Any, stage: int) -> None:
    """Carries out everybody's intent, in an order that rotates from tick to tick.

    A masked intent is carried out, and remembered, as wait. What is masked is settled before
    anybody acts, since that is what agents saw when they chose: a neighbour's step may bring a
    partner for a chat beside a queue, or take it away.
    """
    agents = world.agents.shape[0]
    for a in range(agents):
        chosen = actions[a]
        world.agents[a]["last_action"] = chosen if is_open(world, constants, a, chosen) else WAIT
    for i in range(agents):
        a = (i + world.clock["tick"]) % agents
        success = carry_out(world, constants, a, world.agents[a]["last_action"], stage)
        world.agents[a]["last_success"] = 1 if success else 0
