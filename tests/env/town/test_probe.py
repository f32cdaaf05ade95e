"""Nothing an agent sees tells the action it is about to take.

The actions are drawn at random among the open ones, so that the state implies no more than the
mask. A linear classifier then finds nothing in what was seen before the action; in what is seen
after it, it finds it at once, which shows that it can.
"""

import numpy as np
import pytest

from journeyman.env.town.vector_env import TownVectorEnv

WORLDS, TICKS = 40, 60


def record(settings, variant):
    """Returns what was seen (N, D) before and after N free choices, and the choices (N,)."""
    env = TownVectorEnv(settings(**{"observation.variant": variant}), num_worlds=WORLDS)
    obs, _ = env.reset(seed=0)
    rng = np.random.default_rng(0)
    before, after, chosen = [], [], []
    for _ in range(TICKS):
        mask = obs["action_mask"]
        free = mask.sum(axis=1) == 8  # all but release
        actions = np.argmax(rng.random(mask.shape) * mask, axis=1)
        kept = seen(obs)[free]
        obs, *_ = env.step(actions)
        before.append(kept)
        after.append(seen(obs)[free])
        chosen.append(actions[free])
    return np.concatenate(before), np.concatenate(after), np.concatenate(chosen)


def seen(obs):
    flat = [array.reshape(len(array), -1).astype(np.float32) for array in obs.values()]
    return np.concatenate(flat, axis=1)


def accuracy(inputs, labels):
    """Held-out accuracy of ridge regression onto the one-hot choices, the largest one taken."""
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1), np.float32)], axis=1)
    half = len(inputs) // 2
    targets = np.eye(9, dtype=np.float32)[labels]
    train, held_out = inputs[:half], inputs[half:]
    gram = train.T @ train + 1.0 * np.eye(inputs.shape[1], dtype=np.float32)
    weights = np.linalg.solve(gram, train.T @ targets[:half])
    return float(np.mean((held_out @ weights).argmax(axis=1) == labels[half:]))


@pytest.mark.parametrize("variant", ["hybrid", "full", "compact"])
def test_a_classifier_does_no_better_than_chance(settings, variant):
    before, after, chosen = record(settings, variant)
    held_out = len(chosen) - len(chosen) // 2
    assert held_out > 4000
    # Eight open actions: chance is 1/8, with a standard error of sqrt(1/8 * 7/8 / n) < .0053.
    error = np.sqrt(0.125 * 0.875 / held_out)
    assert accuracy(before, chosen) < 0.125 + 4 * error
    assert accuracy(after, chosen) > 0.95


def test_what_is_seen_does_not_depend_on_what_comes_next(settings):
    """The observation of a state is the same whichever action is taken on it afterwards."""
    envs = [TownVectorEnv(settings(), num_worlds=2) for _ in range(2)]
    first, second = (seen(env.reset(seed=0)[0]) for env in envs)
    np.testing.assert_array_equal(first, second)
    for tick in range(20):
        shared = np.full(16, 1 + tick % 7)
        before = [seen(env.step(shared)[0]) for env in envs]
        np.testing.assert_array_equal(*before)
        states = [env.state() for env in envs]
        for env, state, action in zip(envs, states, (1, 5), strict=True):
            env.step(np.full(16, action))
            np.testing.assert_array_equal(seen(env.restore(state)), before[0])
