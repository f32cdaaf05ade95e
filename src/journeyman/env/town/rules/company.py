"""Company: chats and shared meals."""

from journeyman.env.town.compiled import compiled
from journeyman.env.town.constants import Constants
from journeyman.env.town.names import (
    CHAT,
    EAT,
    EVENT_CHAT_FAILURE,
    EVENT_CHAT_QUALITY,
    EVENT_CHAT_SUCCESS,
    EVENT_SHARED_MEAL,
    TERM_CHAT,
    TERM_MEAL,
)
from journeyman.env.town.rules.chance import draw
from journeyman.env.town.rules.places import chat_partner, distance
from journeyman.env.town.rules.relations import clamp, relate, relate_both
from journeyman.env.town.state import NOBODY, World


@compiled
def is_at_meet(world: World, constants: Constants, a: int) -> bool:
    """Says whether an agent is at an arranged meet."""
    clock, agent = world.clock, world.agents[a]
    if clock["tick"] >= clock["meet_until"]:
        return False
    steps = distance(agent["x"], agent["y"], clock["meet_x"], clock["meet_y"])
    return bool(steps <= constants.numbers["perturbations_arranged_meet_radius"])


@compiled
def chat_quality(world: World, constants: Constants, speaker: int, listener: int) -> float:
    """Returns the quality of a chat, which is also the probability that it succeeds."""
    numbers, pair = constants.numbers, world.pairs[speaker, listener]
    quality = (
        numbers["chat_base"]
        + numbers["chat_extroversion"] * world.agents[speaker]["extroversion"]
        + numbers["chat_trust"] * pair["trust"]
        + numbers["chat_familiarity"] * pair["familiarity"]
        + numbers["chat_rivalry"] * pair["rivalry"]
    )
    if is_at_meet(world, constants, speaker) and is_at_meet(world, constants, listener):
        quality += numbers["perturbations_arranged_meet_quality_bonus"]
    return clamp(quality, numbers["chat_quality_min"], numbers["chat_quality_max"])


@compiled
def chat_reward(world: World, constants: Constants, a: int, b: int, quality: float) -> float:
    """Returns what a good chat with ``b`` is worth to ``a``; nothing while in need."""
    numbers, agent, pair = constants.numbers, world.agents[a], world.pairs[a, b]
    least = min(agent["hunger"], min(agent["hygiene"], agent["energy"]))
    if least < numbers["social_chat_need_floor"]:
        return 0.0
    worth = (
        numbers["social_chat_base"]
        + numbers["social_chat_trust"] * pair["trust"]
        + numbers["social_chat_familiarity"] * pair["familiarity"]
    )
    return worth * numbers["social_chat_scale"] * quality  # type: ignore[no-any-return]


@compiled
def speak(world: World, constants: Constants, a: int, b: int, stage: int) -> None:
    """Holds one chat of speaker ``a`` with listener ``b``."""
    numbers = constants.numbers
    ready = world.clock["tick"] + numbers["chat_cooldown"]
    world.agents[a]["chat_ready"] = ready
    world.agents[b]["chat_ready"] = ready
    quality = chat_quality(world, constants, a, b)
    if draw(world.clock) < quality:
        if stage >= 1:
            world.ledger[a, TERM_CHAT] += chat_reward(world, constants, a, b, quality)
            world.ledger[b, TERM_CHAT] += chat_reward(world, constants, b, a, quality)
        trust = numbers["relationships_chat_trust"] * quality
        familiarity = numbers["relationships_chat_familiarity"] * quality
        relate_both(world, a, b, trust, familiarity, 0.0)
        world.events[a, EVENT_CHAT_SUCCESS] += 1
        world.events[a, EVENT_CHAT_QUALITY] += quality
    else:
        if stage >= 1:
            world.ledger[a, TERM_CHAT] -= numbers["social_chat_failure_speaker"]
            world.ledger[b, TERM_CHAT] -= numbers["social_chat_failure_listener"]
        familiarity = numbers["relationships_chat_failure_familiarity"]
        rivalry = numbers["relationships_chat_failure_rivalry"]
        relate_both(world, a, b, 0.0, familiarity, rivalry)
        world.events[a, EVENT_CHAT_FAILURE] += 1


@compiled
def can_speak(world: World, a: int, b: int) -> bool:
    """Says whether ``a`` may chat with ``b`` in this tick: rested from chatting, and beside."""
    agent, other = world.agents[a], world.agents[b]
    return bool(
        agent["chat_ready"] <= world.clock["tick"]
        and distance(agent["x"], agent["y"], other["x"], other["y"]) <= 1
    )


@compiled
def hold_chats(world: World, constants: Constants, stage: int) -> None:
    """Lets everybody who chose to chat speak, in an order that rotates from tick to tick."""
    agents = world.agents.shape[0]
    for i in range(agents):
        a = (i + world.clock["tick"]) % agents
        agent = world.agents[a]
        if agent["last_action"] == CHAT and agent["use"] == 0:
            partner = chat_partner(world, a)
            if partner != NOBODY and can_speak(world, a, partner):
                speak(world, constants, a, partner, stage)
                agent["last_success"] = 1


@compiled
def share_meals(world: World, constants: Constants, stage: int) -> None:
    """Finds each eater its first company of the meal: another who eats near by."""
    numbers = constants.numbers
    agents = world.agents.shape[0]
    for a in range(agents):
        agent = world.agents[a]
        if agent["use"] != EAT or agent["meal_shared"] == 1:
            continue
        for b in range(agents):
            other = world.agents[b]
            if b == a or other["use"] != EAT:
                continue
            steps = distance(agent["x"], agent["y"], other["x"], other["y"])
            if steps <= numbers["relationships_meal_distance"]:
                agent["meal_shared"] = 1
                world.events[a, EVENT_SHARED_MEAL] += 1
                trust = numbers["relationships_meal_trust"]
                relate(world, a, b, trust, numbers["relationships_meal_familiarity"], 0.0)
                if stage >= 3:
                    world.ledger[a, TERM_MEAL] += numbers["social_shared_meal"]
                break
