"""Generalised advantage estimation (Schulman et al. 2016).

Legend: T steps, L lanes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatTL = NDArray[np.float32]


class Advantages(NamedTuple):
    """Attributes:
    advantages: (T, L) float32.
    returns: (T, L) float32, advantages + values: what the value function should say.
    """

    advantages: FloatTL
    returns: FloatTL


def generalised_advantages(
    rewards_TL: FloatTL,
    values_TL: FloatTL,
    next_values_TL: FloatTL,
    terminated_TL: NDArray[np.bool_],
    truncated_TL: NDArray[np.bool_],
    *,
    gamma: float,
    gae_lambda: float,
    idle_TL: NDArray[np.bool_] | None = None,
) -> Advantages:
    """One reverse scan over time, all lanes at once.

        delta_t = r_t + gamma (1 - terminated_t) V(s_{t+1}) - V(s_t)
        A_t     = delta_t + gamma lambda (1 - terminated_t) (1 - truncated_t) A_{t+1}

    Args:
        rewards_TL: reward of each step.
        values_TL: V of the state the action was taken in.
        next_values_TL: V of the state the action *led to*: where the lane was truncated, of its
            final observation, not of the next episode's first. Where it terminated, ignored.
        terminated_TL: the lane's life ended here: no future, no bootstrap.
        truncated_TL: the episode was cut here: bootstrap, but no advantage crosses the cut.
        gamma: discount a step.
        gae_lambda: 0: one-step errors; 1: discounted returns minus values.
        idle_TL: steps that were none: their advantage is 0 and none crosses them. What they
            hold otherwise does not matter, be it NaN.
    """
    alive_TL = (~terminated_TL).astype(np.float32)
    advantages_TL = np.where(terminated_TL, np.float32(0.0), next_values_TL)
    advantages_TL *= np.float32(gamma)
    advantages_TL += rewards_TL
    advantages_TL -= values_TL
    carry_TL = alive_TL * ~truncated_TL * np.float32(gamma * gae_lambda)
    if idle_TL is not None:
        advantages_TL[idle_TL] = 0.0
        carry_TL[idle_TL] = 0.0
    for t in range(len(rewards_TL) - 2, -1, -1):
        advantages_TL[t] += carry_TL[t] * advantages_TL[t + 1]
    return Advantages(advantages_TL, advantages_TL + values_TL)
