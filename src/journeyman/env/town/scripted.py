"""The scripted demonstrator: utilities with hysteresis, competent and beatable.

It looks after needs, works its shifts, cooks when food runs short, queues where it must and
chats when comfortable. It does not plan queues ahead, and it chats little. Its reasons are all
in an agent's observation too, so that it can be imitated from observations.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from journeyman.env.town.compiled import bound, compiled, kernel, parallel_kernel, worth_threads
from journeyman.env.town.constants import Constants, Tables, constants_of
from journeyman.env.town.names import (
    CHAT,
    COOK,
    EAT,
    EVENT_NAMES,
    KINDS,
    RELEASE,
    SHIFT_ABSENT,
    SHOWER,
    SLEEP,
    TERM_NAMES,
    WAIT,
    WORK,
)
from journeyman.env.town.rules.affordances import is_served, price
from journeyman.env.town.rules.places import (
    best_object,
    chat_partner,
    distance,
    nearest_rival,
    object_cost,
)
from journeyman.env.town.rules.queues import rival_in_queue
from journeyman.env.town.state import NOBODY, NOTHING, TownState, World, world_of
from journeyman.policies.protocol import Observation, PolicyStep, unknown

Fill = Callable[..., None]

_DAY = 1440
_HALF_COST = 30.0
"""Apparent distance at which a utility is halved."""
_HYSTERESIS = 1.3
"""Factor on the utility of what one did last, so that ways are walked to their end."""
_CRITICAL = 0.15
"""Below this a need makes one leave a queue for something else."""
_COMFORT = 0.55
"""Above this in every need one has time for company."""
_EARLY = 3
"""Ticks to spare on the way to work."""


@compiled
def urgency(need: float, enough: float, weight: float) -> float:
    """Returns the weighted square of a need's deficit, or 0 from ``enough`` on."""
    return 0.0 if need >= enough else weight * (1.0 - need) * (1.0 - need)


@compiled
def use_utility(world: World, constants: Constants, a: int, kind: int) -> float:
    """Returns the utility of using an object of a kind, or 0 where it cannot be used."""
    agent, numbers = world.agents[a], constants.numbers
    o = best_object(world, constants, a, kind)
    if o == NOTHING or agent["wallet"] < price(world, constants, kind):
        return 0.0
    if not is_served(world, kind):
        return 0.0
    if kind == SHOWER:
        worth = urgency(agent["hygiene"], 0.5, numbers["reward_hygiene_weight"])
    elif kind == SLEEP:
        worth = urgency(agent["energy"], 0.5, numbers["reward_energy_weight"])
    else:
        fridge = o if kind == EAT else best_object(world, constants, a, EAT)
        stock = world.objects[fridge]["stock"]
        if kind == EAT:
            enough = 0.65 if stock > 0 else 0.0
            worth = urgency(agent["hunger"], enough, numbers["reward_hunger_weight"])
        else:
            worth = 0.0 if stock > 2 else (0.12 if stock > 0 else 0.4)
    return worth * _HALF_COST / (_HALF_COST + object_cost(world, constants, a, o))


@compiled
def work_utility(world: World, a: int) -> float:
    """Returns the utility of work: on shift, or when it is time to set out for it."""
    agent = world.agents[a]
    if agent["job"] == NOTHING or agent["shift_state"] == SHIFT_ABSENT:
        return 0.0
    time = world.clock["tick"] % _DAY
    way = distance(agent["x"], agent["y"], agent["site_x"], agent["site_y"])
    if agent["shift_start"] - way - _EARLY <= time < agent["shift_end"]:
        return 0.3 * (1.0 + agent["ambition"])  # type: ignore[no-any-return]
    return 0.0


@compiled
def company_utility(world: World, constants: Constants, a: int, action: int) -> float:
    """Returns the utility of a chat (when comfortable) or of avoiding a rival close by."""
    agent = world.agents[a]
    if action == CHAT:
        least = min(agent["hunger"], min(agent["hygiene"], agent["energy"]))
        if least < _COMFORT or agent["chat_ready"] > world.clock["tick"]:
            return 0.0
        other = chat_partner(world, a)
        near, worth = 4, 0.03
    else:
        other = nearest_rival(world, constants, a)
        near, worth = 2, 0.04
    if other == NOBODY:
        return 0.0
    there = world.agents[other]
    steps = distance(agent["x"], agent["y"], there["x"], there["y"])
    return worth if steps <= near else 0.0


@compiled
def stay_in_queue(world: World, constants: Constants, a: int) -> bool:
    """Says whether to go on queueing: no rival about, and nothing else more pressing."""
    agent = world.agents[a]
    kind = world.objects[agent["queue"]]["kind"]
    if agent["hunger"] < _CRITICAL and kind != EAT and kind != COOK:
        return False
    if agent["energy"] < _CRITICAL and kind != SLEEP:
        return False
    pressing = min(agent["hunger"], agent["energy"]) < _CRITICAL
    return pressing or not rival_in_queue(world, constants, a)


@compiled
def decide(world: World, constants: Constants, a: int) -> int:
    """Returns the intent of one agent."""
    agent = world.agents[a]
    if agent["use"] > 0:
        return WAIT
    if agent["queue"] != NOTHING:
        return WAIT if stay_in_queue(world, constants, a) else RELEASE
    best, best_utility = WAIT, 0.0
    for action in range(EAT, RELEASE):
        if action < KINDS:
            utility = use_utility(world, constants, a, action)
        elif action == WORK:
            utility = work_utility(world, a)
        else:
            utility = company_utility(world, constants, a, action)
        if action == agent["last_action"]:
            utility *= _HYSTERESIS
        if utility > best_utility:
            best, best_utility = action, utility
    return best


@compiled
def decide_world(
    state: TownState, tables: Tables, ledger: Any, events: Any, w: int, actions: Any
) -> None:
    """Fills one world's rows of (L,) actions."""
    world = world_of(state, ledger, events, w)
    constants = constants_of(tables)
    agents = state.agents.shape[1]
    for a in range(agents):
        actions[w * agents + a] = decide(world, constants, a)


@kernel
def decide_serial(state: TownState, tables: Tables, ledger: Any, events: Any, actions: Any) -> None:
    """Fills (L,) actions, one world after the other."""
    for w in range(state.worlds.shape[0]):
        decide_world(state, tables, ledger, events, w, actions)


@parallel_kernel
def decide_parallel(
    state: TownState, tables: Tables, ledger: Any, events: Any, actions: Any
) -> None:
    """Fills (L,) actions, spread over threads."""
    for w in prange(state.worlds.shape[0]):
        decide_world(state, tables, ledger, events, w, actions)


class ScriptedTownsfolk:
    """The demonstrator of one environment: reads its state, changes nothing, is never random."""

    label = "demonstrator"

    def __init__(self, town: TownState, tables: Tables) -> None:
        self._town = town
        self._tables = tables
        # Deciding books nothing; the world's views want books all the same.
        self._ledger: NDArray[np.float64] = np.zeros((0, len(TERM_NAMES)))
        self._events: NDArray[np.float32] = np.zeros((0, len(EVENT_NAMES)), np.float32)

    @cached_property
    def _fill_serial(self) -> Fill:
        return self._bound(decide_serial)

    @cached_property
    def _fill_parallel(self) -> Fill:
        return self._bound(decide_parallel)

    def _bound(self, fill: Fill) -> Fill:
        actions = np.empty(0, np.int64)
        return bound(fill, self._town, self._tables, self._ledger, self._events, actions)

    def act(
        self, obs: Observation, rng: np.random.Generator, *, deterministic: bool = False
    ) -> PolicyStep:
        """Chooses each lane's intent from the state that ``obs`` was taken of.

        Args:
            obs: the environment's current observation.
            rng: unused: the demonstrator is deterministic.
            deterministic: makes no difference.
        """
        worlds, lanes = len(self._town.agents), self._town.agents.size
        actions = np.empty(lanes, np.int64)
        fill = self._fill_parallel if worth_threads(worlds, lanes) else self._fill_serial
        fill(self._town, self._tables, self._ledger, self._events, actions)
        return PolicyStep(actions, unknown(lanes), unknown(lanes))
