"""One tick of all worlds, and the arrays it fills.

Legend: W worlds, A agents, L = W * A lanes, F features, R reward terms, E events, N actions.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from journeyman.env.town.compiled import compiled, inlined, kernel, parallel_kernel
from journeyman.env.town.constants import Constants, Tables, constants_of
from journeyman.env.town.names import ACTION_NAMES, EVENT_EVICTION, EVENT_FAINT
from journeyman.env.town.observation import observe
from journeyman.env.town.rules.affordances import decay_needs, progress_uses, restock
from journeyman.env.town.rules.company import hold_chats, share_meals
from journeyman.env.town.rules.employment import is_evicted, run_shifts
from journeyman.env.town.rules.intents import act_all
from journeyman.env.town.rules.lifecycle import begin_episode, has_fainted, respawn
from journeyman.env.town.rules.perturbations import perturb
from journeyman.env.town.rules.queues import serve_queues
from journeyman.env.town.rules.relations import forget_rivalry
from journeyman.env.town.rules.reward import settle
from journeyman.env.town.state import TownState, World, world_of

_ACTIONS = len(ACTION_NAMES)

TICK, BEGIN, OBSERVE, BLIND = range(4)
"""What to do with the worlds: advance by a tick, begin an episode, look only, or advance and look
at nothing but what lanes that end saw last (which is how observing is priced).

One kernel does all of these, since each would be compiled with all the rules it needs.
"""


class Outputs(NamedTuple):
    """What a tick hands over; rows of ``final_*`` are valid where ``ended``.

    Attributes:
        features: (L, F) float32, seen of the state after the tick.
        maps: (L, 4, 11, 11) uint8.
        mask: (L, N) bool.
        final_features: (L, F) float32, the last that lanes saw which ended in the tick.
        final_maps: (L, 4, 11, 11) uint8.
        final_mask: (L, N) bool.
        rewards: (L,) float32.
        terms: (L, R) float32, whose sum is the reward.
        events: (L, E) float32.
        terminated: (L,) bool.
        truncated: (L,) bool.
        ended: (L,) bool, either of them.
        world_over: (W,) bool.
        ledger: (L, R) float64, scratch.
    """

    features: NDArray[np.float32]
    maps: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    final_features: NDArray[np.float32]
    final_maps: NDArray[np.uint8]
    final_mask: NDArray[np.bool_]
    rewards: NDArray[np.float32]
    terms: NDArray[np.float32]
    events: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    ended: NDArray[np.bool_]
    world_over: NDArray[np.bool_]
    ledger: NDArray[np.float64]


@inlined
def live(world: World, constants: Constants, actions: Any, stage: int) -> None:
    """Everything that happens in a tick, in its order, up to the reward."""
    perturb(world, constants)
    act_all(world, constants, actions, stage)
    serve_queues(world, constants, stage)
    progress_uses(world, constants)
    decay_needs(world, constants)
    run_shifts(world, constants, stage)
    hold_chats(world, constants, stage)
    share_meals(world, constants, stage)
    forget_rivalry(world, constants)
    restock(world, constants)
    world.clock["tick"] += 1


@compiled
def tell_time(world: World, day: Any) -> None:
    """Sets the time of day that agents see; ``day`` is (1440, 2): its sine and cosine."""
    time = world.clock["tick"] % day.shape[0]
    world.clock["time_sin"] = day[time, 0]
    world.clock["time_cos"] = day[time, 1]


@compiled
def finish_lane(
    world: World, constants: Constants, a: int, over: bool, out: Outputs, lane: int
) -> None:
    """Fills a lane's reward, and whether it ended."""
    fainted = has_fainted(world, constants, a)
    evicted = is_evicted(world, constants, a)
    if fainted:
        world.events[a, EVENT_FAINT] = 1
    if evicted:
        world.events[a, EVENT_EVICTION] = 1
    out.rewards[lane] = settle(world, constants, a, fainted, evicted, out.terms[lane])
    out.terminated[lane] = fainted or evicted
    out.truncated[lane] = over
    out.ended[lane] = fainted or evicted or over


@compiled
def tick_world(
    world: World,
    constants: Constants,
    day: Any,
    actions: Any,
    stage: int,
    out: Outputs,
    w: int,
) -> None:
    """Advances one world by a tick, up to who ends in it; nobody goes home yet."""
    agents = world.agents.shape[0]
    first = w * agents
    world.ledger[:] = 0.0
    world.events[:] = 0.0
    live(world, constants, actions, stage)
    tell_time(world, day)
    over = world.clock["tick"] >= constants.numbers["episode_ticks"]
    out.world_over[w] = over
    for a in range(agents):
        finish_lane(world, constants, a, over, out, first + a)


@compiled
def go_on(world: World, constants: Constants, mode: int, out: Outputs, w: int) -> None:
    """Begins the next episode of a world that is over, and sends home who ended."""
    agents = world.agents.shape[0]
    ticked = mode in (TICK, BLIND)
    if mode == BEGIN or (ticked and out.world_over[w]):
        begin_episode(world, constants)
        world.clock["episode"] += 1 if ticked else 0
    elif ticked:
        for a in range(agents):
            if out.terminated[w * agents + a]:
                respawn(world, constants, a, world.events[a, EVENT_EVICTION] > 0.0)


@compiled
def run_world(
    state: TownState,
    tables: Tables,
    actions: Any,
    stage: int,
    mode: int,
    out: Outputs,
    w: int,
) -> None:
    """Does with one world what ``mode`` says, and fills its observations.

    What lanes that end saw last and what all see now are two rounds of one loop: ``observe``,
    most of what there is to compile, is inlined wherever it is called, and this is once.
    """
    agents = state.agents.shape[1]
    first = w * agents
    rows = slice(first, first + agents)
    world = world_of(state, out.ledger[rows], out.events[rows], w)
    constants = constants_of(tables)
    ticked = mode in (TICK, BLIND)
    if ticked:
        tick_world(world, constants, tables.day, actions[rows], stage, out, w)
    for now in range(2):
        if now == 1:
            go_on(world, constants, mode, out, w)
            if mode == BLIND:
                return
            tell_time(world, tables.day)
        features = out.features if now == 1 else out.final_features
        maps = out.maps if now == 1 else out.final_maps
        masks = out.mask if now == 1 else out.final_mask
        for a in range(agents):
            lane = first + a
            if now == 1 or (ticked and out.ended[lane]):
                observe(world, constants, a, features[lane], maps[lane], masks[lane])


@kernel
def are_intents(actions: Any) -> bool:
    """Says whether all of (L,) int64 actions exist."""
    unknown = 0
    for action in actions:
        unknown += 0 if 0 <= action < _ACTIONS else 1
    return unknown == 0


@kernel
def run_serial(
    state: TownState, tables: Tables, actions: Any, stage: int, mode: int, out: Outputs
) -> None:
    """Runs all worlds one after the other.

    Args:
        state: the worlds.
        tables: what the rules read.
        actions: (L,) int64 intents, for ``TICK`` and ``BLIND``.
        stage: rank of the social stage.
        mode: ``TICK``, ``BEGIN``, ``OBSERVE`` or ``BLIND``.
        out: filled; see ``Outputs``.
    """
    for w in range(state.worlds.shape[0]):
        run_world(state, tables, actions, stage, mode, out, w)


@parallel_kernel
def run_parallel(
    state: TownState, tables: Tables, actions: Any, stage: int, mode: int, out: Outputs
) -> None:
    """As ``run_serial``, spread over threads; worlds never touch each other."""
    for w in prange(state.worlds.shape[0]):
        run_world(state, tables, actions, stage, mode, out, w)
