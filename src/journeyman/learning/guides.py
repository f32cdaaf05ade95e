"""Guides: a demonstrator that acts in the policy's stead on some steps of practice.

``blend`` mixes it in at random (the roll-in of DAgger: Ross et al. 2011); ``prefix`` lets it
act the first share of each episode, so that practice begins where it leaves off (jump-start
reinforcement learning: Uchendu et al. 2022).

Legend: L lanes, D components of an action.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from journeyman.errors import UserError
from journeyman.policies.protocol import Observation, Policy

NO_LIMIT = (
    "guide kind=prefix takes a share of an episode, but episodes of {} have no known length; "
    "set env.max_episode_steps, or use kind=blend"
)
"""What is wrong with a prefix in such an environment."""


@dataclass(frozen=True, kw_only=True)
class Guide:
    """Who guides, and how much of the next rollout.

    Attributes:
        player: the demonstrator.
        kind: ``blend`` or ``prefix``.
        ratio: in [0, 1]; blend: probability that it acts in a lane's step; prefix: share of an
            episode that it acts from the start.
        episode_limit: steps of a whole episode; needed by ``prefix`` alone.
        rng: its own stream: the policy's choices are drawn as if there were no guide.
    """

    player: Policy
    kind: Literal["blend", "prefix"]
    ratio: float
    rng: np.random.Generator
    episode_limit: int | None = None

    def take_over(
        self, obs: Observation, episode_length_L: NDArray[np.int64], actions: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Puts the guide's actions over the policy's where it is its turn.

        Args:
            obs: what the lanes see.
            episode_length_L: (L,) steps of each lane's episode so far.
            actions: (L,) or (L, D), the policy's; changed in place.

        Returns:
            (L,) bool, the lanes in which the guide acts.
        """
        if self.kind == "blend":
            guided_L = self.rng.random(len(actions)) < self.ratio
        else:
            assert self.episode_limit is not None
            guided_L = episode_length_L < self.ratio * self.episode_limit
        # It is asked in any case: a demonstrator may keep count of the steps it was shown.
        chosen = self.player.act(obs, self.rng).actions
        actions[guided_L] = chosen[guided_L]
        return guided_L


def require_episode_limit(limit: int | None, env_id: str) -> int:
    """Returns the limit that a prefix is a share of.

    Raises:
        UserError: there is none.
    """
    if limit is None:
        raise UserError(f"anneal.stages: {NO_LIMIT.format(env_id)}")
    return limit
