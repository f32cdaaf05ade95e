"""Stable-Baselines3's PPO on CartPole-v1, as its users run it."""

import time
from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from worker import serve


def measure(lanes: int, steps: int, updates: int) -> dict[str, Any]:
    """Trains for a number of updates; returns the transitions and the seconds they took."""
    env = make_vec_env("CartPole-v1", n_envs=lanes, seed=0)
    total = lanes * steps * updates
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=steps,
        batch_size=lanes * steps // 4,
        n_epochs=4,
        learning_rate=2.5e-4,
        ent_coef=0.01,
        policy_kwargs={"net_arch": [64, 64]},
        device="cpu",
        seed=0,
    )
    wall, cpu = time.perf_counter(), time.process_time()
    model.learn(total)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    env.close()
    return {"count": total, "wall": wall, "cpu": cpu}


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(measure)
