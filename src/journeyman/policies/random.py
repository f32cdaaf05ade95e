"""Chance as a player: the floor any trained policy must clear.

Legend: L lanes, N actions, D components of an action.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.env.protocol import LaneSpec
from journeyman.policies.actions import LOG_SQRT_2PI
from journeyman.policies.protocol import Observation, PolicyStep, unknown

Mask = NDArray[np.bool_]


class RandomPolicy:
    """Draws uniformly from the allowed actions, component by component.

    A component of a box action is uniform between its bounds; as in Gymnasium's ``Box.sample``
    it is exponential above a lone lower bound or below a lone upper one, and standard normal
    where it has none.

    Attributes:
        label: ``random``.
        is_stub: True: its play shows nothing worth imitating, and whoever captures it says so.
    """

    label = "random"
    is_stub = True

    def __init__(self, lane_spec: LaneSpec) -> None:
        self._spec = lane_spec
        self._low = np.array(lane_spec.action_low, np.float64)
        self._high = np.array(lane_spec.action_high, np.float64)

    def act(
        self, obs: Observation, rng: np.random.Generator, *, deterministic: bool = False
    ) -> PolicyStep:
        """Chooses an allowed action for each lane.

        Args:
            obs: the lanes' observations; ``action_mask`` is honoured.
            rng: source of the choice.
            deterministic: changes nothing: there is no more probable action to take.

        Returns:
            Actions, their log-probabilities (``-log(allowed actions)``, summed over components;
            log-densities of box actions), and unknown values.

        Raises:
            ValueError: if a lane's mask allows no action of a component.
        """
        lanes = len(obs["features"])
        mask = obs.get("action_mask")
        actions: NDArray[Any]
        match self._spec.action_kind:
            case "discrete":
                actions, log_probs = _choice(len(self._spec.action_names), lanes, mask, rng)
            case "multi_discrete":
                actions, log_probs = self._choices(lanes, mask, rng)
            case "box":
                actions, log_probs = self._point(lanes, rng)
        return PolicyStep(actions, log_probs.astype(np.float32), unknown(lanes))

    def _choices(
        self, lanes: int, mask: Mask | None, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        sizes = self._spec.action_sizes
        ends = np.cumsum(sizes)
        parts = [
            _choice(size, lanes, None if mask is None else mask[:, end - size : end], rng)
            for size, end in zip(sizes, ends.tolist(), strict=True)
        ]
        actions = np.stack([chosen for chosen, _ in parts], axis=1)
        return actions, np.sum([log_probs for _, log_probs in parts], axis=0)

    def _point(
        self, lanes: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        low, high = self._low, self._high
        actions = np.empty((lanes, len(low)))
        log_probs = np.zeros(lanes)
        for d in range(len(low)):
            if np.isfinite(low[d]) and np.isfinite(high[d]):
                actions[:, d] = rng.uniform(low[d], high[d], lanes)
                # A component that cannot vary has a probability, 1, and no density.
                log_probs -= np.log(high[d] - low[d]) if high[d] > low[d] else 0.0
            elif np.isfinite(low[d]) or np.isfinite(high[d]):
                distance = rng.exponential(size=lanes)
                below = np.isfinite(high[d])
                actions[:, d] = high[d] - distance if below else low[d] + distance
                log_probs -= distance
            else:
                actions[:, d] = rng.standard_normal(lanes)
                log_probs -= 0.5 * np.square(actions[:, d]) + LOG_SQRT_2PI
        return actions.astype(np.float32), log_probs


def _choice(
    count: int, lanes: int, mask: Mask | None, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Returns one of ``count`` choices for each lane, and its log-probability, each (L,)."""
    if mask is None:
        actions = rng.integers(0, count, size=lanes, dtype=np.int64)
        return actions, np.full(lanes, -np.log(count))
    allowed = mask.sum(axis=1)
    if not allowed.all():
        raise ValueError(f"lane {int(np.flatnonzero(allowed == 0)[0])}: the mask allows no action")
    # the (rank + 1)-th allowed action is where the running count first exceeds rank
    rank = np.floor(rng.random(lanes) * allowed).astype(np.int64)
    actions = (mask.cumsum(axis=1) > rank[:, None]).argmax(axis=1).astype(np.int64)
    return actions, -np.log(allowed)
