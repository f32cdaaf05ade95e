"""The beginning and end of things: fainting, eviction, respawn, a new episode."""

from journeyman.env.town.compiled import compiled
from journeyman.env.town.constants import Constants
from journeyman.env.town.rules.affordances import leave_object, stop_use
from journeyman.env.town.rules.chance import draw
from journeyman.env.town.rules.queues import remove_from_queue
from journeyman.env.town.state import NOBODY, NOTHING, World


@compiled
def has_fainted(world: World, constants: Constants, a: int) -> bool:
    """Says whether hunger or energy has come to its end."""
    floor = constants.numbers["needs_faint_below"]
    agent = world.agents[a]
    return bool(agent["hunger"] <= floor or agent["energy"] <= floor)


@compiled
def respawn(world: World, constants: Constants, a: int, evicted: bool) -> None:
    """Puts an agent back at home with middling needs; relationships and money stay.

    Whoever was evicted starts anew with a clean record.
    """
    agent = world.agents[a]
    if agent["queue"] != NOTHING:
        remove_from_queue(world, a)
    if agent["use"] != 0:
        stop_use(world, constants, a)
    if agent["holds"] != NOTHING:
        leave_object(world, a)
    agent["x"] = agent["home_x"]
    agent["y"] = agent["home_y"]
    needs = constants.numbers["needs_respawn"]
    agent["hunger"] = needs
    agent["hygiene"] = needs
    agent["energy"] = needs
    agent["last_action"] = 0
    agent["last_success"] = 0
    if evicted:
        agent["absences"] = 0


@compiled
def settle_in(world: World, constants: Constants, a: int) -> None:
    """Puts an agent into a new episode, with needs drawn at random."""
    agent, numbers = world.agents[a], constants.numbers
    agent["x"] = agent["home_x"]
    agent["y"] = agent["home_y"]
    low = numbers["needs_start_low"]
    width = numbers["needs_start_high"] - low
    agent["hunger"] = low + width * draw(world.clock)
    agent["hygiene"] = low + width * draw(world.clock)
    agent["energy"] = low + width * draw(world.clock)
    agent["wallet"] = numbers["money_start"]
    agent["holds"] = NOTHING
    agent["use"] = 0
    agent["use_left"] = 0
    agent["idle"] = 0
    agent["queue"] = NOTHING
    agent["queue_place"] = 0
    agent["queue_since"] = 0
    agent["last_action"] = 0
    agent["last_success"] = 0
    agent["chat_ready"] = 0
    agent["meal_shared"] = 0
    agent["avoid_count"] = 0
    agent["shift_state"] = 0
    agent["lateness"] = 0
    agent["due_ticks"] = 0
    agent["attended_ticks"] = 0
    agent["absences"] = 0
    agent["episode_reward"] = 0.0


@compiled
def begin_episode(world: World, constants: Constants) -> None:
    """Makes the world new; its generator goes on where it is."""
    clock = world.clock
    clock["tick"] = 0
    clock["price_factor"] = 1.0
    clock["price_until"] = 0
    clock["blackout_until"] = 0
    clock["outage_until"] = 0
    clock["meet_until"] = 0
    clock["meet_x"] = 0
    clock["meet_y"] = 0
    agents = world.agents.shape[0]
    for a in range(agents):
        settle_in(world, constants, a)
        for b in range(agents):
            pair = world.pairs[a, b]
            pair["trust"] = 0.0
            pair["familiarity"] = 0.0
            paired = b != a and a // 2 == b // 2
            pair["rivalry"] = constants.numbers["start_rivalry"] if paired else 0.0
            pair["conflict_ready"] = 0
    for o in range(world.objects.shape[0]):
        thing = world.objects[o]
        thing["user"] = NOBODY
        thing["giver"] = NOBODY
        thing["queue_length"] = 0
        thing["stock"] = (
            min(constants.numbers["food_start"], constants.numbers["food_capacity"])
            if thing["kind"] == 1
            else 0
        )
        thing["restock"] = 0.0
        world.cooldowns[o, :] = 0
