"""One tick of all worlds, and the arrays it fills.

Legend: W worlds, A agents, L = W * A lanes, F features, R reward terms, E events, N actions.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from journeyman.env.town.compiled import compiled, kernel, parallel_kernel
from journeyman.env.town.constants import Constants
from journeyman.env.town.names import EVENT_EVICTION, EVENT_FAINT
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


@compiled
def observe_now(world: World, constants: Constants, a: int, out: Outputs, lane: int) -> None:
    """Writes what a lane sees now."""
    observe(world, constants, a, out.features[lane], out.maps[lane], out.mask[lane])


@compiled
def observe_final(world: World, constants: Constants, a: int, out: Outputs, lane: int) -> None:
    """Writes the last that a lane sees."""
    row, picture = out.final_features[lane], out.final_maps[lane]
    observe(world, constants, a, row, picture, out.final_mask[lane])


@compiled
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
def tick_world(
    state: TownState, constants: Constants, actions: Any, stage: int, out: Outputs, w: int
) -> None:
    """Advances one world by a tick and fills its rows of ``out``.

    Final observations are taken when all has happened and nobody has respawned yet.
    """
    agents = state.agents.shape[1]
    first = w * agents
    rows = slice(first, first + agents)
    world = world_of(state, out.ledger[rows], out.events[rows], w)
    world.ledger[:] = 0.0
    world.events[:] = 0.0
    live(world, constants, actions[first : first + agents], stage)
    over = world.clock["tick"] >= constants.numbers[0]["episode_ticks"]
    out.world_over[w] = over
    for a in range(agents):
        lane = first + a
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
        if out.ended[lane]:
            observe_final(world, constants, a, out, lane)
    if over:
        begin_episode(world, constants)
        world.clock["episode"] += 1
    else:
        for a in range(agents):
            if out.terminated[first + a]:
                respawn(world, constants, a, world.events[a, EVENT_EVICTION] > 0.0)
    for a in range(agents):
        observe_now(world, constants, a, out, first + a)


@kernel
def tick_serial(
    state: TownState, constants: Constants, actions: Any, stage: int, out: Outputs
) -> None:
    """Advances all worlds by a tick, one after the other."""
    for w in range(state.worlds.shape[0]):
        tick_world(state, constants, actions, stage, out, w)


@parallel_kernel
def tick_parallel(
    state: TownState, constants: Constants, actions: Any, stage: int, out: Outputs
) -> None:
    """Advances all worlds by a tick, spread over threads; worlds never touch each other."""
    for w in prange(state.worlds.shape[0]):
        tick_world(state, constants, actions, stage, out, w)


@kernel
def begin_all(state: TownState, constants: Constants, out: Outputs) -> None:
    """Begins an episode in every world."""
    for w in range(state.worlds.shape[0]):
        begin_episode(world_of(state, out.ledger, out.events, w), constants)


@kernel
def observe_all(state: TownState, constants: Constants, out: Outputs) -> None:
    """Fills the present observations from the state as it is."""
    agents = state.agents.shape[1]
    for w in range(state.worlds.shape[0]):
        world = world_of(state, out.ledger, out.events, w)
        for a in range(agents):
            observe_now(world, constants, a, out, w * agents + a)
