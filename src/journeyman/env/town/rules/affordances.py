"""Using objects: starting, progress, completion; and the food that comes of it."""

from journeyman.env.town.compiled import compiled
from journeyman.env.town.constants import Constants
from journeyman.env.town.names import (
    COOK,
    EAT,
    EVENT_COOKED,
    EVENT_MEAL,
    EVENT_SHOWER,
    EVENT_SLEEP,
    SHOWER,
)
from journeyman.env.town.rules.places import distance
from journeyman.env.town.rules.relations import clamp
from journeyman.env.town.state import NOBODY, NOTHING, World


@compiled
def is_served(world: World, kind: int) -> bool:
    """Says whether objects of a kind have the power and water they need."""
    tick = world.clock["tick"]
    if kind == COOK:
        return bool(tick >= world.clock["blackout_until"])
    if kind == SHOWER:
        return bool(tick >= world.clock["blackout_until"] and tick >= world.clock["outage_until"])
    return True


@compiled
def price_factor(world: World) -> float:
    """Returns by what prices are multiplied now: 1 unless a spike is under way."""
    clock = world.clock
    return float(clock["price_factor"]) if clock["tick"] < clock["price_until"] else 1.0


@compiled
def price(world: World, constants: Constants, kind: int) -> float:
    """Returns what a use costs now."""
    return constants.affordances[kind]["price"] * price_factor(world)  # type: ignore[no-any-return]


@compiled
def start_use(world: World, constants: Constants, a: int, o: int) -> bool:
    """Lets ``a`` occupy the free object ``o`` and use it, or refuses and changes nothing.

    Refused is who cannot pay for the whole use, who finds no meal in the fridge, and who
    lacks power or water.
    """
    agent, thing = world.agents[a], world.objects[o]
    kind = thing["kind"]
    if agent["wallet"] < price(world, constants, kind) or not is_served(world, kind):
        return False
    if kind == EAT:
        if thing["stock"] == 0:
            return False
        thing["stock"] -= 1
        agent["meal_shared"] = 0
    thing["user"] = a
    thing["giver"] = NOBODY
    agent["holds"] = o
    agent["use"] = kind
    agent["use_left"] = constants.affordances[kind]["ticks"]
    agent["idle"] = 0
    return True


@compiled
def stop_use(world: World, constants: Constants, a: int) -> None:
    """Ends a use, complete or not; the agent still occupies the object."""
    agent = world.agents[a]
    agent["use"] = 0
    agent["use_left"] = 0
    agent["idle"] = 0
    world.cooldowns[agent["holds"], a] = world.clock["tick"] + constants.numbers["queues_cooldown"]


@compiled
def leave_object(world: World, a: int) -> None:
    """Frees the object an agent occupies."""
    agent = world.agents[a]
    thing = world.objects[agent["holds"]]
    thing["user"] = NOBODY
    thing["giver"] = a
    agent["holds"] = NOTHING
    agent["idle"] = 0


@compiled
def stock_nearest_fridge(world: World, constants: Constants, a: int, meals: int) -> None:
    """Puts meals into the fridge nearest to an agent, up to its capacity."""
    agent = world.agents[a]
    best, best_steps = NOTHING, 1_000_000
    for o in range(world.objects.shape[0]):
        thing = world.objects[o]
        if thing["kind"] == EAT:
            steps = distance(agent["x"], agent["y"], thing["x"], thing["y"])
            if steps < best_steps:
                best, best_steps = o, steps
    if best != NOTHING:
        thing = world.objects[best]
        thing["stock"] = min(thing["stock"] + meals, constants.numbers["food_capacity"])


@compiled
def complete_use(world: World, constants: Constants, a: int) -> None:
    """Books a finished use and ends it."""
    kind = world.agents[a]["use"]
    if kind == EAT:
        world.events[a, EVENT_MEAL] += 1
    elif kind == COOK:
        world.events[a, EVENT_COOKED] += 1
    elif kind == SHOWER:
        world.events[a, EVENT_SHOWER] += 1
    else:
        world.events[a, EVENT_SLEEP] += 1
    meals = constants.affordances[kind]["meals"]
    if meals > 0:
        stock_nearest_fridge(world, constants, a, meals)
    stop_use(world, constants, a)


@compiled
def progress_uses(world: World, constants: Constants) -> None:
    """Gives every user one tick's share of effects and costs; interrupts the unserved."""
    for a in range(world.agents.shape[0]):
        agent = world.agents[a]
        kind = agent["use"]
        if kind == 0:
            continue
        if not is_served(world, kind):
            stop_use(world, constants, a)
            continue
        affordance = constants.affordances[kind]
        ticks = affordance["ticks"]
        agent["hunger"] = clamp(agent["hunger"] + affordance["hunger"] / ticks, 0.0, 1.0)
        agent["hygiene"] = clamp(agent["hygiene"] + affordance["hygiene"] / ticks, 0.0, 1.0)
        agent["energy"] = clamp(agent["energy"] + affordance["energy"] / ticks, 0.0, 1.0)
        agent["wallet"] = max(0.0, agent["wallet"] - price(world, constants, kind) / ticks)
        agent["use_left"] -= 1
        if agent["use_left"] == 0:
            complete_use(world, constants, a)


@compiled
def decay_needs(world: World, constants: Constants) -> None:
    """Takes one tick's decay from every need."""
    numbers = constants.numbers
    for a in range(world.agents.shape[0]):
        agent = world.agents[a]
        agent["hunger"] = clamp(agent["hunger"] - numbers["needs_hunger_decay"], 0.0, 1.0)
        agent["hygiene"] = clamp(agent["hygiene"] - numbers["needs_hygiene_decay"], 0.0, 1.0)
        agent["energy"] = clamp(agent["energy"] - numbers["needs_energy_decay"], 0.0, 1.0)


@compiled
def restock(world: World, constants: Constants) -> None:
    """Delivers meals to the fridges, evenly over the day; a full fridge takes none."""
    numbers = constants.numbers
    for o in range(world.objects.shape[0]):
        thing = world.objects[o]
        if thing["kind"] == EAT:
            thing["restock"] += numbers["food_restock_per_day"] / 1440.0
            if thing["restock"] >= 1.0:
                thing["restock"] -= 1.0
                thing["stock"] = min(thing["stock"] + 1, numbers["food_capacity"])
