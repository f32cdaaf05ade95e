"""Playing Gymnasium environments in tests."""

from collections.abc import Callable
from typing import Any

import numpy as np

from journeyman.env.gymnasium import GymnasiumEnv
from journeyman.settings.external_env import GymnasiumSettings

Make = Callable[..., GymnasiumEnv]
"""Builds an environment from an id, a number of lanes and settings; closed after the test."""


def settings_of(id_: str, **changes: Any) -> GymnasiumSettings:
    values: dict[str, Any] = {
        "kind": "gymnasium",
        "id": id_,
        "kwargs": None,
        "wrappers": (),
        "vectorization": "sync",
        "max_episode_steps": None,
        "demonstrator": None,
    }
    return GymnasiumSettings.model_validate(values | changes)


def play(env: GymnasiumEnv, steps: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Plays random actions; returns copies of all that each step hands over."""
    rng = np.random.default_rng(seed)
    shown = []
    for _ in range(steps):
        shape = (env.num_envs, *env.lane_spec.action_shape)
        if env.lane_spec.action_kind == "box":
            actions: Any = rng.normal(size=shape).astype(np.float32)
        else:
            actions = rng.integers(0, 2, shape)
        obs, rewards, terminated, truncated, info = env.step(actions)
        ended = info["_final_obs"]
        shown.append(
            {
                **{name: array.copy() for name, array in obs.items()},
                **{f"final.{k}": array[ended].copy() for k, array in info["final_obs"].items()},
                "rewards": rewards.copy(),
                "terminated": terminated.copy(),
                "truncated": truncated.copy(),
                "idle": info.get("idle", np.zeros(env.num_envs, np.bool_)).copy(),
            }
        )
    return shown


def same(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> bool:
    return all(
        a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
        for a, b in zip(left, right, strict=True)
    )
