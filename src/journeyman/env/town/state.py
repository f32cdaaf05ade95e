"""The state of all worlds, as arrays.

Legend: W worlds, A agents of a world, O objects, R reward terms, E events.

The arrays are NumPy structured arrays: ``state.agents["hunger"]`` is a (W, A) array, and one
agent's values lie side by side in memory, where a tick needs them. All fields are int64 or
float64 (see ``compiled``). "tick" in a field's unit means the world's own clock.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from journeyman.env.town.compiled import inlined

NOBODY = -1
NOTHING = -1

WORLD = np.dtype(
    [
        ("tick", "i8"),  # since the episode's start
        ("time_sin", "f8"),  # of the time of day
        ("time_cos", "f8"),
        ("episode", "i8"),  # episodes finished
        ("price_factor", "f8"),
        ("price_until", "i8"),  # tick at which each perturbation is over
        ("blackout_until", "i8"),
        ("outage_until", "i8"),
        ("meet_until", "i8"),
        ("meet_x", "i8"),
        ("meet_y", "i8"),
        ("rng_0", "i8"),  # xoshiro128**, four 32-bit words
        ("rng_1", "i8"),
        ("rng_2", "i8"),
        ("rng_3", "i8"),
    ]
)
AGENT = np.dtype(
    [
        ("x", "i8"),
        ("y", "i8"),
        ("hunger", "f8"),
        ("hygiene", "f8"),
        ("energy", "f8"),
        ("wallet", "f8"),
        ("holds", "i8"),  # object occupied, or -1
        ("use", "i8"),  # affordance in progress, or 0
        ("use_left", "i8"),  # ticks to its end
        ("idle", "i8"),  # ticks of occupying without using
        ("queue", "i8"),  # object queued at, or -1
        ("queue_place", "i8"),  # 0 is next; in a queue
        ("queue_since", "i8"),  # tick of joining
        ("last_action", "i8"),
        ("last_success", "i8"),
        ("chat_ready", "i8"),  # tick from which on one may chat again
        ("meal_shared", "i8"),  # whether this meal had company
        ("avoid_count", "i8"),
        ("job", "i8"),  # shift, or -1
        ("shift_state", "i8"),  # 0 none, 1 expected, 2 on time, 3 late, 4 absent
        ("lateness", "i8"),  # ticks
        ("due_ticks", "i8"),  # ticks of shifts so far, this episode
        ("attended_ticks", "i8"),  # of these worked
        ("absences", "i8"),  # bit d: absent d days ago
        ("episode_reward", "f8"),  # so far, faint and eviction aside
        ("home_x", "i8"),  # from here on: set once, see ``founding``
        ("home_y", "i8"),
        ("extroversion", "f8"),
        ("forgiveness", "f8"),
        ("ambition", "f8"),
        ("shift_start", "i8"),  # of the day; start = end = 0 without a job
        ("shift_end", "i8"),
        ("shift_wage", "f8"),  # money a tick
        ("site_x", "i8"),
        ("site_y", "i8"),
    ]
)
PAIR = np.dtype(
    [
        ("trust", "f8"),
        ("familiarity", "f8"),
        ("rivalry", "f8"),
        ("conflict_ready", "i8"),  # tick from which on the pair may quarrel again
    ]
)
OBJECT = np.dtype(
    [
        ("kind", "i8"),
        ("x", "i8"),
        ("y", "i8"),
        ("user", "i8"),  # agent, or -1
        ("giver", "i8"),  # agent who just left it, or -1
        ("queue_length", "i8"),
        ("stock", "i8"),  # meals
        ("restock", "f8"),  # share of the next delivered meal
    ]
)


class TownState(NamedTuple):
    """Everything the worlds are; a named tuple, which compiled code takes as it is.

    Attributes:
        worlds: (W,) of WORLD.
        agents: (W, A) of AGENT.
        pairs: (W, A, A) of PAIR; [w, a, b] is what a holds of b; the diagonal stays 0.
        objects: (W, O) of OBJECT.
        cooldowns: (W, O, A) int64, tick from which on the agent may use the object again.
    """

    worlds: NDArray[Any]
    agents: NDArray[Any]
    pairs: NDArray[Any]
    objects: NDArray[Any]
    cooldowns: NDArray[np.int64]


class World(NamedTuple):
    """One world of a ``TownState``, and the books of the current tick.

    Attributes:
        clock: its WORLD record.
        agents: (A,) of AGENT.
        pairs: (A, A) of PAIR.
        objects: (O,) of OBJECT.
        cooldowns: (O, A) int64.
        ledger: (A, R) float64, reward terms of this tick.
        events: (A, E) float32, what happened in this tick.
    """

    clock: Any
    agents: NDArray[Any]
    pairs: NDArray[Any]
    objects: NDArray[Any]
    cooldowns: NDArray[np.int64]
    ledger: NDArray[np.float64]
    events: NDArray[np.float32]


def allocate(worlds: int, agents: int, objects: int) -> TownState:
    """Returns a state of zeros."""
    return TownState(
        worlds=np.zeros(worlds, WORLD),
        agents=np.zeros((worlds, agents), AGENT),
        pairs=np.zeros((worlds, agents, agents), PAIR),
        objects=np.zeros((worlds, objects), OBJECT),
        cooldowns=np.zeros((worlds, objects, agents), np.int64),
    )


@inlined
def world_of(state: TownState, ledger: Any, events: Any, w: int) -> World:
    """Returns the views that make up world ``w``, with its (A, R) and (A, E) books."""
    return World(
        state.worlds[w],
        state.agents[w],
        state.pairs[w],
        state.objects[w],
        state.cooldowns[w],
        ledger,
        events,
    )


def to_arrays(state: TownState) -> dict[str, NDArray[Any]]:
    """Returns plain copies: ``agents.hunger (W, A)``, ``cooldowns (W, O, A)``, ..."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, array in state._asdict().items():
        if array.dtype.names is None:
            arrays[name] = array.copy()
        else:
            for field in array.dtype.names:
                arrays[f"{name}.{field}"] = array[field].copy()
    return arrays


def from_arrays(state: TownState, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Overwrites ``state`` with what ``to_arrays`` returned.

    Raises:
        ValueError: if a name is missing or unknown, or a shape or dtype differs; ``state`` is
            then untouched.
    """
    expected = to_arrays(state)
    if expected.keys() != arrays.keys():
        raise ValueError(f"town state: names differ in {sorted(expected.keys() ^ arrays.keys())}")
    for name, array in arrays.items():
        if array.shape != expected[name].shape or array.dtype != expected[name].dtype:
            raise ValueError(
                f"town state: {name} is {array.dtype} {array.shape}, this town has "
                f"{expected[name].dtype} {expected[name].shape}"
            )
    for name, array in arrays.items():
        owner, _, field = name.partition(".")
        target = getattr(state, owner)
        (target[field] if field else target)[...] = array
