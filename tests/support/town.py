"""Towns for tests: settings with overrides, and a town in which a test sets the scene."""

from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from journeyman.env.town.vector_env import TownVectorEnv
from journeyman.settings.env import TownSettings

YAML = Path(__file__).parents[2] / "conf" / "env" / "town.yaml"
CALM = {
    f"perturbations.{name}.per_day": 0.0
    for name in ("price_spike", "blackout", "outage", "arranged_meet")
}


def town_settings(**overrides: Any) -> TownSettings:
    """Returns the shipped settings with dotted overrides."""
    config = OmegaConf.load(YAML)
    for key, value in overrides.items():
        OmegaConf.update(config, key, value, merge=True)
    return TownSettings.model_validate(OmegaConf.to_container(config))


class Stage:
    """A calm town of one world in which a test sets the scene, by object and agent."""

    def __init__(self, *, social_stage: str = "OFF", **overrides: Any) -> None:
        settings = town_settings(**{**CALM, **overrides})
        self.env = TownVectorEnv(settings, num_worlds=1, social_stage=social_stage)
        self.env.reset(seed=0)
        self.agents = self.env.town.agents[0]
        self.pairs = self.env.town.pairs[0]
        self.objects = self.env.town.objects[0]
        self.clock = self.env.town.worlds[0]
        for need in ("hunger", "hygiene", "energy"):
            self.agents[need] = 0.8

    def object(self, kind: int, index: int = 0) -> int:
        return int(np.flatnonzero(self.objects["kind"] == kind)[index])

    def put(
        self, agent: int, *, at: int | None = None, tile: tuple[int, int] | None = None
    ) -> None:
        """Puts an agent onto an object's tile, or onto a tile."""
        x, y = tile if tile else (self.objects[at]["x"], self.objects[at]["y"])
        self.agents[agent]["x"], self.agents[agent]["y"] = x, y

    def step(self, *actions: int, ticks: int = 1) -> dict[str, Any]:
        """Plays ticks with the same intents (others wait); sums events, rewards and terms."""
        chosen = np.zeros(self.env.num_envs, np.int64)
        chosen[: len(actions)] = actions
        events, rewards, terms = 0.0, 0.0, 0.0
        for _ in range(ticks):
            obs, reward, terminated, truncated, info = self.env.step(chosen)
            events, rewards = events + info["events"], rewards + reward
            terms = terms + info["reward_terms"]
        return {
            "obs": obs,
            "events": lambda agent: {
                name: float(value)
                for name, value in zip(self.env.event_names, events[agent], strict=True)
                if value
            },
            "terms": lambda agent: dict(
                zip(self.env.reward_term_names, map(float, terms[agent]), strict=True)
            ),
            "rewards": rewards,
            "terminated": terminated,
            "truncated": truncated,
            "info": info,
        }
