"""imitation's behaviour cloning, as its users run it, on given transitions."""

import time
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from imitation.algorithms.bc import BC
from imitation.data.types import Transitions
from stable_baselines3.common.policies import ActorCriticPolicy
from worker import serve


def measure(pairs: str, batch_size: int, epochs: int) -> dict[str, Any]:
    """Trains for a number of epochs; returns the samples and the seconds they took.

    Args:
        pairs: npz of ``features (S, F) float32`` and ``actions (S,) int64``.
        batch_size: transitions a minibatch.
        epochs: passes over them.
    """
    with np.load(pairs) as arrays:
        features, actions = arrays["features"], arrays["actions"]
    observed = Box(-np.inf, np.inf, features.shape[1:], np.float32)
    possible = Discrete(int(actions.max()) + 1)
    shown = Transitions(
        obs=features,
        acts=actions,
        next_obs=features,
        dones=np.zeros(len(actions), np.bool_),
        infos=np.array([{}] * len(actions)),
    )
    trainer = BC(
        observation_space=observed,
        action_space=possible,
        rng=np.random.default_rng(0),
        policy=ActorCriticPolicy(observed, possible, lambda _: 1e-3, net_arch=[64, 64]),
        demonstrations=shown,
        batch_size=batch_size,
        device="cpu",
    )
    wall, cpu = time.perf_counter(), time.process_time()
    trainer.train(n_epochs=epochs, progress_bar=False)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"count": epochs * (len(actions) // batch_size * batch_size), "wall": wall, "cpu": cpu}


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(measure)
