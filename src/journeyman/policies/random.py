"""Chance as a player: the floor any trained policy must clear.

Legend: L lanes, N actions.
"""

from typing import Protocol

import numpy as np

from journeyman.policies.protocol import Observation, PolicyStep, unknown


class HasActions(Protocol):
    """The part of a lane spec that chance depends on."""

    @property
    def action_names(self) -> tuple[str, ...]:
        """N names; the position is the action's id."""
        ...


class RandomPolicy:
    """Draws uniformly from the allowed actions.

    Attributes:
        label: ``random``.
        is_stub: True: its play shows nothing worth imitating, and whoever captures it says so.
    """

    label = "random"
    is_stub = True

    def __init__(self, lane_spec: HasActions) -> None:
        self._action_count = len(lane_spec.action_names)

    def act(
        self, obs: Observation, rng: np.random.Generator, *, deterministic: bool = False
    ) -> PolicyStep:
        """Chooses an allowed action for each lane, each with the same probability.

        Args:
            obs: the lanes' observations; ``action_mask`` is honoured.
            rng: source of the choice.
            deterministic: changes nothing: all allowed actions are equally probable.

        Returns:
            Actions, log-probabilities ``-log(allowed actions)``, and unknown values.

        Raises:
            ValueError: if a lane's mask allows no action.
        """
        lanes = len(obs["features"])
        mask = obs.get("action_mask")
        if mask is None:
            allowed = np.full(lanes, self._action_count)
            actions = rng.integers(0, self._action_count, size=lanes, dtype=np.int64)
        else:
            allowed = mask.sum(axis=1)
            if not allowed.all():
                raise ValueError(
                    f"lane {int(np.flatnonzero(allowed == 0)[0])}: the mask allows no action"
                )
            # the (rank + 1)-th allowed action is where the running count first exceeds rank
            rank = np.floor(rng.random(lanes) * allowed).astype(np.int64)
            actions = (mask.cumsum(axis=1) > rank[:, None]).argmax(axis=1).astype(np.int64)
        return PolicyStep(actions, -np.log(allowed).astype(np.float32), unknown(lanes))
