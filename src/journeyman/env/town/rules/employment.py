"""Work: shifts, wages, lateness, absence, and what it does among colleagues."""

from typing import Any

from journeyman.env.town.compiled import compiled
from journeyman.env.town.constants import Constants
from journeyman.env.town.names import (
    EVENT_ABSENT,
    EVENT_LATE,
    EVENT_LATE_HELP,
    EVENT_ON_TIME,
    EVENT_SHIFT_TICK,
    EVENT_TAKEOVER,
    SHIFT_ABSENT,
    SHIFT_EXPECTED,
    SHIFT_LATE,
    SHIFT_NONE,
    SHIFT_ON_TIME,
    TERM_HELP,
    TERM_PUNCTUALITY,
    TERM_WAGE,
    WORK,
)
from journeyman.env.town.rules.places import at_work
from journeyman.env.town.rules.relations import goodwill, relate_both
from journeyman.env.town.state import NOBODY, NOTHING, World

_DAY = 1440


@compiled
def fine(world: World, a: int, amount: float) -> None:
    """Books a fine in full as reward, and takes what the wallet has of it."""
    world.ledger[a, TERM_WAGE] -= amount
    world.agents[a]["wallet"] = max(0.0, world.agents[a]["wallet"] - amount)


@compiled
def is_working(agent: Any) -> bool:
    """Says whether an agent who has a job is at its site and chose to work in this tick."""
    return bool(
        agent["use"] == 0
        and agent["queue"] == NOTHING
        and agent["last_action"] == WORK
        and at_work(agent)
    )


@compiled
def best_colleague(world: World, a: int, punctual: bool) -> int:
    """Returns the colleague at work on the same shift who likes ``a`` best, or -1.

    Args:
        punctual: consider only those who came on time.
    """
    best, best_goodwill = NOBODY, -1e9
    for b in range(world.agents.shape[0]):
        other = world.agents[b]
        if b == a or other["job"] != world.agents[a]["job"]:
            continue
        state = other["shift_state"]
        there = state == SHIFT_ON_TIME or (state == SHIFT_LATE and not punctual)
        if there and is_working(other) and goodwill(world, b, a) > best_goodwill:
            best, best_goodwill = b, goodwill(world, b, a)
    return best


@compiled
def check_in(world: World, constants: Constants, a: int, lateness: int, stage: int) -> None:
    """Books the arrival at a shift; a punctual colleague covers for who comes late."""
    numbers, agent = constants.numbers, world.agents[a]
    if lateness <= numbers["jobs_grace"]:
        agent["shift_state"] = SHIFT_ON_TIME
        world.events[a, EVENT_ON_TIME] += 1
        return
    agent["shift_state"] = SHIFT_LATE
    agent["lateness"] = lateness
    world.events[a, EVENT_LATE] += 1
    helper = best_colleague(world, a, True)
    if helper != NOBODY:
        world.events[helper, EVENT_LATE_HELP] += 1
        relate_both(
            world,
            a,
            helper,
            numbers["relationships_help_trust"],
            numbers["relationships_help_familiarity"],
            numbers["relationships_help_rivalry"],
        )
        if stage >= 3:
            world.ledger[helper, TERM_HELP] += numbers["social_late_help"]


@compiled
def miss_shift(world: World, constants: Constants, a: int, stage: int) -> None:
    """Books an absence; a colleague at work takes the shift over."""
    numbers, agent = constants.numbers, world.agents[a]
    agent["shift_state"] = SHIFT_ABSENT
    agent["absences"] |= 1
    world.events[a, EVENT_ABSENT] += 1
    fine(world, a, numbers["jobs_absence_fine"])
    colleague = best_colleague(world, a, False)
    if colleague != NOBODY:
        world.events[a, EVENT_TAKEOVER] += 1
        relate_both(
            world,
            a,
            colleague,
            numbers["relationships_takeover_trust"],
            0.0,
            numbers["relationships_takeover_rivalry"],
        )
        if stage >= 3:
            world.ledger[a, TERM_HELP] -= numbers["social_takeover"]


@compiled
def attend(world: World, constants: Constants, a: int, stage: int) -> None:
    """Does one tick of an agent's shift: arrival, wage, fine for lateness, absence."""
    numbers, agent = constants.numbers, world.agents[a]
    since_start = world.clock["tick"] % _DAY - agent["shift_start"]
    agent["due_ticks"] += 1
    expected = agent["shift_state"] == SHIFT_EXPECTED
    if expected and since_start > numbers["jobs_absent_after"]:
        miss_shift(world, constants, a, stage)
    elif agent["shift_state"] != SHIFT_ABSENT and is_working(agent):
        if expected:
            check_in(world, constants, a, since_start, stage)
        agent["attended_ticks"] += 1
        agent["wallet"] += agent["shift_wage"]
        world.ledger[a, TERM_WAGE] += agent["shift_wage"]
        world.events[a, EVENT_SHIFT_TICK] += 1
    elif expected and since_start > numbers["jobs_grace"]:
        agent["lateness"] = since_start
        fine(world, a, numbers["jobs_late_fine"])


@compiled
def punctuality(world: World, constants: Constants, a: int) -> float:
    """Returns 1 for a shift begun on time, less the later, 0 for a missed one."""
    agent = world.agents[a]
    if agent["shift_state"] == SHIFT_ON_TIME:
        return 1.0
    if agent["shift_state"] == SHIFT_LATE:
        return 1.0 - agent["lateness"] / constants.numbers["jobs_absent_after"]  # type: ignore[no-any-return]
    return 0.0


@compiled
def run_shifts(world: World, constants: Constants, stage: int) -> None:
    """Does one tick of everybody's work."""
    time = world.clock["tick"] % _DAY
    for a in range(world.agents.shape[0]):
        agent = world.agents[a]
        if agent["job"] == NOTHING:
            continue
        if time == agent["shift_start"]:
            agent["shift_state"] = SHIFT_EXPECTED
            agent["lateness"] = 0
            agent["absences"] = (agent["absences"] << 1) & 0xFFFFFFFFFFFFFFF
    for a in range(world.agents.shape[0]):
        agent = world.agents[a]
        if agent["job"] == NOTHING:
            continue
        if agent["shift_start"] <= time < agent["shift_end"]:
            attend(world, constants, a, stage)
        if time == agent["shift_end"] - 1:
            reward = constants.numbers["reward_punctuality"] * punctuality(world, constants, a)
            world.ledger[a, TERM_PUNCTUALITY] += reward
            if agent["shift_state"] == SHIFT_EXPECTED:
                miss_shift(world, constants, a, stage)
            agent["shift_state"] = SHIFT_NONE
            agent["lateness"] = 0


@compiled
def is_evicted(world: World, constants: Constants, a: int) -> bool:
    """Says whether an agent has missed too many shifts within the days that count."""
    numbers = constants.numbers
    absences = world.agents[a]["absences"]
    if absences == 0:
        return False
    count = 0
    for _ in range(numbers["jobs_evict_days"]):
        count += absences & 1
        absences >>= 1
    return bool(count >= numbers["jobs_evict_absences"])
