"""Legend: T steps, L lanes."""

import numpy as np
import pytest
import torch

from journeyman.errors import TrainingError
from journeyman.learning.normalization import FeatureNormalizer, Normalizer, RunningMoments
from journeyman.learning.policy import initial_checkpoint, network_from_checkpoint
from journeyman.learning.rollout import Collector
from journeyman.seeding import SeedPlan
from support.signal_env import SignalEnv
from support.training import SMALL


class CountingEnv(SignalEnv):
    """Remembers what it was handed, and can hand out what is not a number."""

    def __init__(self, *, poison_at=None, **options):
        super().__init__(**options)
        self.actions, self.observations, self.poison_at = [], [], poison_at

    def step(self, actions):
        self.actions.append(actions.copy())
        obs, rewards, *rest = super().step(actions)
        if len(self.actions) == self.poison_at:
            rewards = rewards * np.float32(np.nan)
        self.observations.append(obs["features"].copy())
        return obs, rewards, *rest


def collector_on(env, *, ticks, features=None):
    start = initial_checkpoint(SMALL, env.lane_spec, SeedPlan(0))
    network = network_from_checkpoint(start, torch.device("cpu"))
    collector = Collector(env, network, Normalizer(features, None), ticks=ticks)
    obs, _ = env.reset(seed=3)
    env.observations.insert(0, obs["features"].copy())
    collector.begin(obs)
    return collector, network


def test_observations_are_paired_with_the_actions_taken_on_them():
    env = CountingEnv(num_worlds=3, length=5)
    collector, network = collector_on(env, ticks=4)
    for rollout_index in range(2):
        rollout = collector.collect(np.random.default_rng(rollout_index))
        part = slice(4 * rollout_index, 4 * rollout_index + 4)
        assert rollout.actions.tolist() == np.array(env.actions[part]).tolist()
        assert rollout.features.tolist() == np.array(env.observations[part]).tolist()
        with torch.inference_mode():
            values = network.values(torch.from_numpy(rollout.features.reshape(-1, 4)))
        np.testing.assert_allclose(rollout.values.ravel(), values.numpy(), atol=1e-6)


def test_next_values_are_the_next_states_and_at_a_cut_the_final_observations():
    env = CountingEnv(num_worlds=2, length=3)
    collector, network = collector_on(env, ticks=4)
    rollout = collector.collect(np.random.default_rng(0))
    assert rollout.truncated.any(axis=1).tolist() == [False, False, True, False]
    np.testing.assert_array_equal(rollout.next_values[:2], rollout.values[1:3])
    # The state after the rollout's last step is the environment's present one.
    with torch.inference_mode():
        last = network.values(torch.from_numpy(env.observations[-1])).numpy()
        # At the cut the signals are the same but the progress says 3 / 3 and not 0.
        final = env.observations[3].copy()
        final[:, 0] = 1.0
        at_cut = network.values(torch.from_numpy(final)).numpy()
    np.testing.assert_allclose(rollout.next_values[3], last, atol=1e-6)
    np.testing.assert_allclose(rollout.next_values[2], at_cut, atol=1e-6)
    assert np.abs(at_cut - rollout.values[3]).max() > 1e-3


def test_episodes_are_counted_across_rollouts():
    env = CountingEnv(num_worlds=1, agents=1, length=6, forced=0.0)
    collector, _ = collector_on(env, ticks=4)
    first = collector.collect(np.random.default_rng(0))
    assert len(first.episode_returns) == 0
    # The arrays are used again by the next rollout.
    earned = first.rewards.sum()
    second = collector.collect(np.random.default_rng(1))
    assert second.episode_lengths.tolist() == [6]
    assert second.episode_returns.tolist() == [earned + second.rewards[:2].sum()]
    assert collector.episode_length.tolist() == [2]
    assert collector.episode_return.tolist() == [second.rewards[2:].sum()]


def test_reward_terms_and_events_are_sums_over_steps_and_lanes():
    env = CountingEnv(num_worlds=2)
    collector, _ = collector_on(env, ticks=6)
    rollout = collector.collect(np.random.default_rng(0))
    assert rollout.reward_terms[0] == rollout.rewards.sum()
    right, wrong = rollout.events
    assert right == rollout.rewards.sum()
    assert right + wrong == (rollout.actions != 0).sum()


def test_whitened_features_are_kept_as_the_network_saw_them():
    env = CountingEnv(num_worlds=2)
    normalizer = FeatureNormalizer(RunningMoments(4))
    collector, _ = collector_on(env, ticks=5, features=normalizer)
    rollout = collector.collect(np.random.default_rng(0))
    expected = FeatureNormalizer(RunningMoments(4))
    for t in range(5):
        expected.learn(env.observations[t])
        assert rollout.features[t].tobytes() == expected(env.observations[t]).tobytes()
    assert normalizer.moments.count == 5 * env.num_envs


def test_what_is_not_finite_is_named():
    env = CountingEnv(num_worlds=2, poison_at=3)
    collector, _ = collector_on(env, ticks=5)
    with pytest.raises(TrainingError, match=r"rewards not finite.*\[2 0\]"):
        collector.collect(np.random.default_rng(0))
