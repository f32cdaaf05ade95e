"""What every player satisfies: numpy in, numpy out.

Legend: L lanes, F features, C x H x W map, N actions, D components of an action.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Observation = Mapping[str, NDArray[Any]]
"""``features (L, F) float32``, optionally ``map (L, C, H, W) uint8`` and
``action_mask (L, N) bool``."""


@dataclass(frozen=True)
class PolicyStep:
    """One decision for each lane.

    Attributes:
        actions: (L,) int64 or, with D components, (L, D) int64 or float32.
        log_probs: (L,) float32, log-probability of the action (its density's,
            where actions are continuous); NaN where unknown.
        values: (L,) float32, estimated return from here; NaN where unknown.
    """

    actions: NDArray[Any]
    log_probs: NDArray[np.float32]
    values: NDArray[np.float32]


class Policy(Protocol):
    """Anything that acts: a network, the demonstrator, chance."""

    label: str

    def act(
        self, obs: Observation, rng: np.random.Generator, *, deterministic: bool = False
    ) -> PolicyStep:
        """Chooses an action for each lane.

        Args:
            obs: the lanes' observations; ``action_mask`` is honoured.
            rng: source of all chance in the choice.
            deterministic: take the most probable action.
        """
        ...


def unknown(lanes: int) -> NDArray[np.float32]:
    """Returns (L,) NaN: log-probabilities or values of a player that has none."""
    return np.full(lanes, np.nan, dtype=np.float32)
