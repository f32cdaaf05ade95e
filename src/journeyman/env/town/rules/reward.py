"""The reward of a tick and its terms.

Each term is rounded to a multiple of 2**-20. Sums of such numbers below 8 are exact in float32,
so the terms add up to the reward in whatever order they are summed.
"""

import math
from typing import Any

from journeyman.env.town.compiled import compiled
from journeyman.env.town.constants import GRAIN, Constants
from journeyman.env.town.names import TERM_CLIPPING, TERM_EVICTION, TERM_FAINT, TERM_SURVIVAL
from journeyman.env.town.rules.relations import clamp
from journeyman.env.town.state import World


@compiled
def survival(world: World, constants: Constants, a: int) -> float:
    """Returns ``base - needs_scale * sum_n weight_n * (1 - need_n) ** 2``."""
    numbers, agent = constants.numbers, world.agents[a]
    hunger, hygiene = 1.0 - agent["hunger"], 1.0 - agent["hygiene"]
    energy = 1.0 - agent["energy"]
    deficit = (
        numbers["reward_hunger_weight"] * hunger * hunger
        + numbers["reward_hygiene_weight"] * hygiene * hygiene
        + numbers["reward_energy_weight"] * energy * energy
    )
    return numbers["reward_base"] - numbers["reward_needs_scale"] * deficit  # type: ignore[no-any-return]


@compiled
def on_grain(value: float) -> float:
    """Returns the nearest multiple of 2**-20."""
    return math.floor(value * GRAIN + 0.5) / GRAIN


@compiled
def clip_sum(world: World, constants: Constants, a: int, total: float) -> float:
    """Returns a tick's sum within the bound of a tick, then of the episode, and books it."""
    numbers, agent = constants.numbers, world.agents[a]
    bound = on_grain(numbers["reward_clip"])
    before, most = agent["episode_reward"], numbers["episode_bound"]
    agent["episode_reward"] = clamp(before + clamp(total, -bound, bound), -most, most)
    return agent["episode_reward"] - before  # type: ignore[no-any-return]


@compiled
def settle(
    world: World,
    constants: Constants,
    a: int,
    fainted: bool,
    evicted: bool,
    terms: Any,
) -> float:
    """Fills an agent's (R,) terms from the ledger and returns their sum, the reward."""
    numbers, ledger = constants.numbers, world.ledger[a]
    ledger[TERM_SURVIVAL] = survival(world, constants, a)
    total = 0.0
    for term in range(TERM_CLIPPING):
        ledger[term] = on_grain(ledger[term])
        total += ledger[term]
    ledger[TERM_CLIPPING] = clip_sum(world, constants, a, total) - total
    ledger[TERM_FAINT] = -numbers["reward_faint"] if fainted else 0.0
    ledger[TERM_EVICTION] = -numbers["reward_eviction"] if evicted else 0.0
    reward = 0.0
    for term in range(terms.shape[0]):
        ledger[term] = on_grain(ledger[term])
        terms[term] = ledger[term]
        reward += ledger[term]
    return reward
