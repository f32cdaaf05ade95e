"""Legend: T steps, L lanes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from journeyman.errors import NotFiniteError, TrainingError
from journeyman.learning.batch import PracticeBatch
from journeyman.learning.collector import Collector
from journeyman.learning.normalization import (
    FeatureNormalizer,
    Normalizer,
    RewardNormalizer,
    RunningMoments,
)
from journeyman.learning.policy import initial_checkpoint, network_from_checkpoint
from journeyman.seeding import SeedPlan
from support.idle_envs import GoneEnv, NextStepEnv
from support.signal_env import SignalEnv
from support.training import SMALL
from support.updates import advantages_of


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


def gone(*, ticks, normalizer=None):
    """One world of two lanes; the second dies in its second step of six and is gone."""
    env = GoneEnv(num_worlds=1, dies_at=2, length=6, forced=0.0)
    start = initial_checkpoint(SMALL, env.lane_spec, SeedPlan(0))
    network = network_from_checkpoint(start, torch.device("cpu"))
    collector = Collector(env, network, normalizer or Normalizer(None, None), ticks=ticks)
    collector.begin(env.reset(seed=3)[0])
    return collector


def test_idle_steps_count_nowhere():
    collector = gone(ticks=8)
    rollout = collector.collect(np.random.default_rng(0))
    # Steps 3 to 6 of lane 1; then the world begins anew.
    assert rollout.idle[:, 0].tolist() == [False] * 8
    assert rollout.idle[:, 1].tolist() == [False, False, True, True, True, True, False, False]
    assert rollout.transitions == 12
    # Lane 1's episode ended in its second step, lane 0's in the sixth, lane 1's next one in the
    # eighth; being truncated while gone ends nothing.
    assert rollout.episode_lengths.tolist() == [2, 6, 2]
    parts = [rollout.rewards[:2, 1], rollout.rewards[:6, 0], rollout.rewards[6:, 1]]
    assert rollout.episode_returns.tolist() == [part.sum() for part in parts]
    # Every step of a lane is right, wrong, or waits; nothing of the 7s of the gone one.
    assert rollout.events.sum() == (rollout.actions[~rollout.idle] != 0).sum()
    assert collector.episode_length.tolist() == [2, 0]
    # In the next rollout lane 1 is gone first, has the two steps of an episode, and is gone.
    second = collector.collect(np.random.default_rng(1))
    assert second.idle[:, 1].tolist() == [True] * 4 + [False] * 2 + [True] * 2


def test_no_advantage_crosses_an_idle_step():
    rollout = gone(ticks=8).collect(np.random.default_rng(0))
    found = advantages_of(rollout).advantages
    # gamma = lambda = .9. Lane 1, steps 1 and 0: it died in step 1, nothing comes after.
    r, v = rollout.rewards[:, 1], rollout.values[:, 1]
    a_1 = r[1] - v[1]
    a_0 = r[0] + 0.9 * v[1] - v[0] + 0.81 * a_1
    np.testing.assert_allclose(found[:2, 1], [a_0, a_1], atol=1e-6)
    assert found[2:6, 1].tolist() == [0.0] * 4
    a_7 = r[7] - v[7]
    a_6 = r[6] + 0.9 * v[7] - v[6] + 0.81 * a_7
    np.testing.assert_allclose(found[6:, 1], [a_6, a_7], atol=1e-6)


def test_the_surrogate_gets_exactly_the_steps_that_were_some():
    rollout = gone(ticks=8).collect(np.random.default_rng(0))
    advantages = advantages_of(rollout)
    batch = PracticeBatch.of(rollout, advantages, torch.device("cpu"))
    assert len(batch) == 12
    real = [(t, lane) for t in range(8) for lane in range(2) if not rollout.idle[t, lane]]
    for row, (t, lane) in enumerate(real):
        assert batch.features[row].tolist() == rollout.features[t, lane].tolist()
        assert batch.actions[row].item() == rollout.actions[t, lane]
        column = [rollout.log_probs, rollout.values, *advantages]
        assert batch.columns[:, row].tolist() == [array[t, lane] for array in column]


def test_idle_steps_leave_the_statistics_alone():
    features = FeatureNormalizer(RunningMoments(4))
    rewards = RewardNormalizer(RunningMoments(1), np.zeros(2), 0.9)
    collector = gone(ticks=8, normalizer=Normalizer(features, rewards))
    seen = []
    observe = collector._env._observe

    def noting():
        obs = observe()
        seen.append(obs["features"].copy())
        return obs

    collector._env._observe = noting
    rollout = collector.collect(np.random.default_rng(0))
    assert features.moments.count == rewards.moments.count == rollout.transitions == 12
    assert np.isfinite(rollout.features).all()
    # Gone, lane 1 is shown ones; the signals of real steps are one of three each.
    assert features.moments.mean[1:].sum() == pytest.approx(1.0)


def test_a_step_that_begins_an_episode_anew_is_no_step():
    # Episodes of 3 steps and one for the reset: in 10 steps resets are steps 3 and 7.
    env = NextStepEnv(num_worlds=2, length=3)
    start = initial_checkpoint(SMALL, env.lane_spec, SeedPlan(0))
    network = network_from_checkpoint(start, torch.device("cpu"))
    collector = Collector(env, network, Normalizer(None, None), ticks=10)
    collector.begin(env.reset(seed=3)[0])
    rollout = collector.collect(np.random.default_rng(0))
    assert np.flatnonzero(rollout.idle.all(axis=1)).tolist() == [3, 7]
    assert rollout.transitions == 8 * 4
    assert rollout.episode_lengths.tolist() == [3] * 8
    # The end's value is the final observation's, which the reset step's row shows.
    np.testing.assert_allclose(rollout.next_values[2], rollout.values[3], atol=1e-6)
    batch = PracticeBatch.of(rollout, advantages_of(rollout), torch.device("cpu"))
    assert batch.features[:, 0].max() < 1.0
    assert rollout.features[..., 0].max() == 1.0


def test_a_rollout_of_idle_steps_alone_is_an_error():
    rollout = gone(ticks=4).collect(np.random.default_rng(0))
    nobody = replace(rollout, idle=np.ones((4, 2), np.bool_))
    with pytest.raises(TrainingError, match="all were idle"):
        PracticeBatch.of(nobody, advantages_of(nobody), torch.device("cpu"))


class Failing(CountingEnv):
    """Fails on its third step, in one of several ways."""

    def __init__(self, how, **options):
        super().__init__(**options)
        self.how = how

    def step(self, actions):
        obs, *rest = super().step(actions)
        if len(self.actions) == 3:
            if self.how == "shape":
                obs = {**obs, "features": obs["features"][:, :-1]}
            elif self.how == "mask":
                obs = {**obs, "action_mask": obs["action_mask"][:1]}
            else:
                raise self.how
        return obs, *rest


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (ZeroDivisionError("no town"), r"test/signal failed on step 2 .*ZeroDivisionError: no to"),
        (TrainingError("lane 3: its own words"), r"^lane 3: its own words$"),
        ("shape", r"test/signal: on step 3 .* features has shape \(4, 3\), not \(4, 4\)"),
        ("mask", r"test/signal: on step 3 .* action_mask has shape \(1, 4\), not \(4, 4\)"),
    ],
)
def test_a_failing_environment_is_named_with_the_step(how, said):
    collector, _ = collector_on(Failing(how, num_worlds=2), ticks=5)
    with pytest.raises(TrainingError, match=said) as caught:
        collector.collect(np.random.default_rng(0))
    assert not isinstance(caught.value, NotFiniteError)


def test_what_is_not_finite_is_named():
    env = CountingEnv(num_worlds=2, poison_at=3)
    collector, _ = collector_on(env, ticks=5)
    with pytest.raises(NotFiniteError, match=r"rewards not finite in .*signal, .*\[2 0\]"):
        collector.collect(np.random.default_rng(0))
