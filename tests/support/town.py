"""Towns for tests: settings with overrides, and a town in which a test sets the scene."""

import hashlib
from collections.abc import Sequence
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


SCARCE = {
    "agents": 4,
    "grid": 8,
    "episode_ticks": 260,
    "needs.start_low": 0.2,
    "needs.start_high": 0.7,
    "food.start": 1,
    "objects.fridge": 2,
    "objects.shower": 1,
    "objects.bed": 1,
    "jobs.evict_absences": 1,
    "jobs.shifts": [{"name": "grocer", "start": 40, "end": 160, "wage": 0.02}],
    **{
        f"perturbations.{name}.per_day": 10.0
        for name in ("price_spike", "blackout", "outage", "arranged_meet")
    },
}
"""A town in which everything there is happens within 300 ticks."""


def played_bits(
    variant: str, seeds: Sequence[int], *, ticks: int
) -> list[tuple[frozenset[str], str]]:
    """Plays a scarce town a seed at stage C3, the demonstrator with 3 % of slips.

    What a world's agents slip into depends on its seed alone, whatever worlds play beside it.

    Returns:
        for each world the kinds of event that occurred, and a digest of everything handed over
        in every tick (what was seen and seen last, rewards and their terms, ends, events, what
        the demonstrator would do) and of the state at the end.
    """
    settings = town_settings(**{**SCARCE, "observation.variant": variant})
    env = TownVectorEnv(settings, num_worlds=len(seeds), social_stage="C3")
    obs, _ = env.reset(seed=list(seeds))
    player = env.demonstrator()
    chance = [np.random.default_rng(seed) for seed in seeds]
    digests = [hashlib.sha256() for _ in seeds]
    counts_WE = np.zeros((len(seeds), len(env.event_names)))
    lanes = env.num_envs // len(seeds)
    rows = [slice(w * lanes, (w + 1) * lanes) for w in range(len(seeds))]
    for _ in range(ticks):
        scripted = player.act(obs, chance[0]).actions
        actions = scripted.copy()
        for rng, own in zip(chance, rows, strict=True):
            mask = obs["action_mask"][own]
            slips = np.argmax(rng.random(mask.shape) * mask, axis=1)
            actions[own] = np.where(rng.random(lanes) < 0.03, slips, scripted[own])
        obs, rewards, terminated, truncated, info = env.step(actions)
        for w, own in enumerate(rows):
            ended = info["_final_obs"][own]
            last = [info["final_obs"][key][own][ended] for key in sorted(info["final_obs"])]
            handed = (rewards, terminated, truncated, info["events"], info["reward_terms"])
            for array in (*obs.values(), *handed, info["_final_obs"], scripted):
                digests[w].update(array[own].tobytes())
            for array in (*last, info["world_over"][w]):
                digests[w].update(array.tobytes())
            counts_WE[w] += info["events"][own].sum(axis=0)
    for array in env.state().values():
        for w, digest in enumerate(digests):
            digest.update(array[w].tobytes())
    return [
        (
            frozenset(name for name, n in zip(env.event_names, counts, strict=True) if n),
            digest.hexdigest(),
        )
        for counts, digest in zip(counts_WE, digests, strict=True)
    ]


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
