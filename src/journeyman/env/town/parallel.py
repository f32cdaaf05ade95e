"""One world of the town for PettingZoo: agents by name, dictionaries instead of lanes."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from pettingzoo import ParallelEnv

from journeyman.env.town.names import ACTION_NAMES, WAIT
from journeyman.env.town.vector_env import Observed, TownVectorEnv
from journeyman.settings.env import TownSettings


class TownParallelEnv(ParallelEnv):  # type: ignore[misc]
    """The agents of one world, acting at the same time.

    PettingZoo knows no agent that comes back: whoever faints or is evicted leaves ``agents``
    with the last observation, goes home, and only waits until the episode is over. (Among the
    lanes of ``TownVectorEnv`` the same agent goes on under the policy.)

    Observations are copies: ``features (F,) float32``, ``map (C, size, size) uint8`` and
    ``action_mask (9,) int8``, as ``Discrete.sample`` wants it. An agent's info holds its
    ``events`` and ``reward_terms`` of the step by name, zeros left out.
    """

    metadata = {  # noqa: RUF012
        "name": "journeyman_town_v0",
        "render_modes": ["human", "rgb_array", "ansi"],
        "render_fps": TownVectorEnv.metadata["render_fps"],
        "is_parallelizable": True,
    }

    def __init__(
        self, settings: TownSettings, *, social_stage: str = "OFF", render_mode: str | None = None
    ) -> None:
        """Builds the world.

        Args:
            settings: the town's settings.
            social_stage: which social rewards count: ``OFF``, ``C1``, ``C2`` or ``C3``.
            render_mode: what ``render`` does: return a picture (``rgb_array``) or text
                (``ansi``), print that text (``human``), or nothing (None).

        Raises:
            UserError: if the settings describe no possible world.
            ValueError: if the render mode is unknown.
        """
        modes = self.metadata["render_modes"]
        if render_mode is not None and render_mode not in modes:
            raise ValueError(f"render_mode {render_mode!r} is unknown; allowed: None, {modes}")
        self.render_mode = render_mode
        self.world = TownVectorEnv(settings, num_worlds=1, social_stage=social_stage)
        self.possible_agents = [f"agent_{a}" for a in range(self.world.num_envs)]
        self.agents: list[str] = []
        self._lanes = {agent: lane for lane, agent in enumerate(self.possible_agents)}
        # A space of its own for each agent: each has its own generator to be seeded.
        self._observation_spaces = {agent: self._space() for agent in self.possible_agents}
        self._action_spaces = {
            agent: gymnasium.spaces.Discrete(len(ACTION_NAMES)) for agent in self.possible_agents
        }

    def _space(self) -> gymnasium.spaces.Dict:
        seen = self.world.single_observation_space
        assert isinstance(seen, gymnasium.spaces.Dict)
        return gymnasium.spaces.Dict(
            {
                "features": seen["features"],
                "map": seen["map"],
                "action_mask": gymnasium.spaces.Box(0, 1, (len(ACTION_NAMES),), np.int8),
            }
        )

    def observation_space(self, agent: str) -> gymnasium.spaces.Dict:
        """Returns an agent's observation space, always the same object."""
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.spaces.Discrete:
        """Returns an agent's action space, always the same object."""
        return self._action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Observed], dict[str, dict[str, Any]]]:
        """Begins an episode with everybody.

        Args:
            seed: of the world's stream; None: it goes on, or begins with fresh entropy.
            options: unused.
        """
        obs, _ = self.world.reset(seed=seed)
        self.agents = list(self.possible_agents)
        return {agent: self._seen(obs, agent) for agent in self.agents}, {
            agent: {} for agent in self.agents
        }

    def step(
        self, actions: Mapping[str, int]
    ) -> tuple[
        dict[str, Observed],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Advances the world by one tick.

        Args:
            actions: an intent for each of ``agents``; one that the mask forbids is carried out
                as ``wait``.

        Returns:
            obs, rewards, terminated, truncated, infos of all who acted; the observation of those
            who ended is their last.

        Raises:
            gymnasium.error.ResetNeeded: before ``reset``, and after everybody has ended.
            ValueError: if not just those in ``agents`` act, or if an action does not exist.
        """
        if not self.agents:
            raise gymnasium.error.ResetNeeded("call reset: there is nobody to act")
        if actions.keys() != set(self.agents):
            wrong = sorted(actions.keys() ^ set(self.agents))
            raise ValueError(
                f"an action each for {self.agents} is needed; wrong or missing: {wrong}"
            )
        intents = np.full(self.world.num_envs, WAIT, np.int64)
        for agent, action in actions.items():
            intents[self._lanes[agent]] = action
        obs, rewards, terminated, truncated, info = self.world.step(intents)
        acted, lanes = self.agents, self._lanes
        ended = {agent for agent in acted if info["_final_obs"][lanes[agent]]}
        self.agents = [agent for agent in acted if agent not in ended]
        return (
            {a: self._seen(info["final_obs"] if a in ended else obs, a) for a in acted},
            {a: float(rewards[lanes[a]]) for a in acted},
            {a: bool(terminated[lanes[a]]) for a in acted},
            {a: bool(truncated[lanes[a]]) for a in acted},
            {a: self._told(info, lanes[a]) for a in acted},
        )

    def scripted_actions(self) -> dict[str, int]:
        """Returns what the scripted demonstrator would do, for each of ``agents``."""
        rng = np.random.default_rng(0)  # unused: the demonstrator is never random
        actions = self.world.demonstrator().act({}, rng).actions
        return {agent: int(actions[self._lanes[agent]]) for agent in self.agents}

    def render(self) -> Any:
        """Returns a picture (height, width, 3) uint8 or text, or prints it; see ``__init__``."""
        if self.render_mode is None:
            gymnasium.logger.warn("render: no render_mode was given to the town")
            return None
        if self.render_mode == "human":
            print(self.world.render_world(0, "ansi"))
            return None
        return self.world.render_world(0, self.render_mode)

    def close(self) -> None:
        """Frees what the world holds."""
        self.world.close()

    def _seen(self, obs: Observed, agent: str) -> Observed:
        seen = {key: array[self._lanes[agent]].copy() for key, array in obs.items()}
        seen["action_mask"] = seen["action_mask"].astype(np.int8)
        return seen

    def _told(self, info: dict[str, Any], lane: int) -> dict[str, Any]:
        def named(names: tuple[str, ...], row: Any) -> dict[str, float]:
            pairs = zip(names, row[lane].tolist(), strict=True)
            return {name: value for name, value in pairs if value}

        return {
            "events": named(self.world.event_names, info["events"]),
            "reward_terms": named(self.world.reward_term_names, info["reward_terms"]),
        }
