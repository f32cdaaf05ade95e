"""The reward of a tick and its terms.

Each term is rounded to a multiple of 2**-20. Sums of such numbers below 8 are exact in float32,
so the terms add up to the reward in whatever order they are summed.
"""

import math
from typing import Any

from journeyman.env.town.compiled import compiled
from journeyman.env.town.constants import Constants
from journeyman.env.town.names import TERM_CLIPPING, TERM_EVICTION, TERM_FAINT, TERM_SURVIVAL
from journeyman.env.town.rules.relations import clamp
from journeyman.env.town.state import World

_GRAIN = 1048576.0


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
    clipped = 0.0
    for term in range(TERM_CLIPPING):
        ledger[term] = math.floor(ledger[term] * _GRAIN + 0.5) / _GRAIN
        clipped += ledger[term]
    bound = math.floor(numbers["reward_clip"] * _GRAIN + 0.5) / _GRAIN
    ledger[TERM_CLIPPING] = clamp(clipped, -bound, bound) - clipped
    ledger[TERM_FAINT] = -numbers["reward_faint"] if fainted else 0.0
    ledger[TERM_EVICTION] = -numbers["reward_eviction"] if evicted else 0.0
    reward = 0.0
    for term in range(terms.shape[0]):
        ledger[term] = math.floor(ledger[term] * _GRAIN + 0.5) / _GRAIN
        terms[term] = ledger[term]
        reward += ledger[term]
    return reward
