"""Legend: S steps of all trajectories, K trajectories."""

import doctest

import numpy as np
import pytest
import torch

from journeyman.errors import UserError
from journeyman.learning import replay
from journeyman.learning.batch import PracticeBatch
from journeyman.learning.collector import Collector
from journeyman.learning.normalization import (
    FeatureNormalizer,
    Normalizer,
    RewardNormalizer,
    RunningMoments,
)
from journeyman.learning.policy import initial_checkpoint, network_from_checkpoint
from journeyman.learning.replay import RecordedPlay, Staleness, appraise, learn_statistics
from journeyman.seeding import SeedPlan
from support.recordings import recording, signal_trajectory
from support.signal_env import SignalEnv
from support.training import SMALL
from support.updates import advantages_of

SPEC = SignalEnv().lane_spec
CPU = torch.device("cpu")
OFF = Normalizer(None, None)


def untrained(seed=0):
    return initial_checkpoint(SMALL, SPEC, SeedPlan(seed))


def play_of(*trajectories):
    return RecordedPlay.of(trajectories, SPEC, label="diary", needs_map=False)


def ends(steps, *positions):
    flags = np.zeros(steps, np.bool_)
    flags[list(positions)] = True
    return flags


def valued(play, normalizer=OFF):
    network = network_from_checkpoint(untrained(), CPU)
    return network, appraise(play, network, normalizer, gamma=0.9, gae_lambda=0.8)


def test_trajectories_of_any_length_are_valued_one_by_one():
    # Lengths 3 and 5. The reference goes through each trajectory alone, by hand.
    parts = [signal_trajectory(3, seed=1), signal_trajectory(5, seed=2, terminated=ends(5, 1))]
    play = play_of(*parts)
    network, found = valued(play)
    expected = []
    for part in parts:
        states = np.concatenate([part.features, part.final_features[None]])
        with torch.inference_mode():
            values = network.values(torch.from_numpy(states)).numpy()
        advantage, column = 0.0, []
        for t in reversed(range(len(part))):
            alive = not part.terminated[t]
            delta = part.rewards[t] + 0.9 * alive * values[t + 1] - values[t]
            advantage = delta + 0.9 * 0.8 * alive * advantage
            column.append(advantage)
        expected += column[::-1]
    np.testing.assert_allclose(found.advantages.advantages, expected, atol=1e-5)
    np.testing.assert_allclose(
        found.advantages.returns, found.advantages.advantages + found.values, atol=1e-6
    )
    assert (len(found.batch), found.batch.recorded, found.batch.label) == (8, 8, "diary")
    assert found.batch.columns[2].tolist() == found.advantages.advantages.tolist()


def test_a_step_of_unknown_outcome_is_left_out_and_bootstraps_the_one_before():
    # Step 1 is truncated within the trajectory and step 3 is its end: where both led was not
    # recorded. What is left are steps 0 and 2, worth r + gamma V(next) - V each.
    part = signal_trajectory(4, truncated=ends(4, 1), final_features=None)
    play = play_of(part)
    assert play.usable.tolist() == [True, False, True, False]
    network, found = valued(play)
    with torch.inference_mode():
        values = network.values(torch.from_numpy(part.features.copy())).numpy()
    delta = part.rewards[[0, 2]] + 0.9 * values[[1, 3]] - values[[0, 2]]
    np.testing.assert_allclose(found.advantages.advantages, delta, atol=1e-6)
    assert found.batch.features.tolist() == part.features[[0, 2]].tolist()
    # A death needs no final observation, and a truncation at the end has one.
    assert play_of(signal_trajectory(2, terminated=ends(2, 1), final_features=None)).usable.all()
    assert play_of(signal_trajectory(2, truncated=ends(2, 1))).usable.all()


def test_recorded_play_of_the_present_policy_is_what_a_rollout_of_it_is():
    # The same lanes, seeds and chance, once recorded and once practised on.
    start = untrained()
    network = network_from_checkpoint(start, CPU)
    dataset = recording(start, worlds=2, ticks=12, hazard=0.1)
    play = play_of(*(dataset.read(k)[0] for k in range(4)))
    env = SignalEnv(num_worlds=2, hazard=0.1)
    collector = Collector(env, network, OFF, ticks=12)
    collector.begin(env.reset(seed=5)[0])
    rollout = collector.collect(np.random.default_rng(5))
    advantages = advantages_of(rollout, gae_lambda=0.8)
    live = PracticeBatch.of(rollout, advantages, CPU)
    found = appraise(play, network, OFF, gamma=0.9, gae_lambda=0.8)
    # Recorded lane after lane, practised step by step.
    lanes = np.arange(48).reshape(12, 4).T.ravel()
    assert found.batch.actions.tolist() == live.actions[lanes].tolist()
    for mine, theirs in zip(found.batch.columns, live.columns, strict=True):
        torch.testing.assert_close(mine, theirs[lanes], atol=1e-5, rtol=0.0)
    assert found.staleness.kl == pytest.approx(0.0, abs=1e-9)
    assert found.staleness.effective_sample_share == pytest.approx(1.0, abs=1e-6)


def test_staleness():
    # Ratios 1.5 and .5: kl = mean(.5 - ln 1.5, -.5 - ln .5) = -ln(.75) / 2;
    # effective: (1.5 + .5)^2 / (2 (2.25 + .25)) = 4 / 5.
    found = Staleness.of(np.log([0.3, 0.1]), np.log([0.2, 0.2]))
    assert found.kl == pytest.approx(-np.log(0.75) / 2.0)
    assert found.effective_sample_share == pytest.approx(0.8)
    # One sample that counts for all of four, however far away.
    alone = Staleness.of(np.array([900.0, 0.0, 0.0, 0.0]), np.zeros(4))
    assert alone.effective_sample_share == pytest.approx(0.25)
    assert np.isfinite(alone.kl)
    assert alone.kl > 1e100


def test_the_example_in_the_documentation_holds():
    assert doctest.testmod(replay).failed == 0


def test_another_policys_play_is_as_stale_as_it_is():
    # Log-probabilities under both networks, measured here on every step by definition.
    dataset = recording(untrained(), worlds=2)
    play = play_of(*(dataset.read(k)[0] for k in range(4)))
    network = network_from_checkpoint(untrained(), CPU)
    with torch.no_grad():
        network.policy_head.bias.copy_(torch.tensor([0.0, 1.0, 0.0, -1.0]))
    found = appraise(play, network, OFF, gamma=0.9, gae_lambda=0.8).staleness
    with torch.inference_mode():
        logits = network.outputs(torch.from_numpy(play.features.copy())).double()
        logits[~torch.from_numpy(play.mask.copy())] = -torch.inf
        now = torch.log_softmax(logits, 1)[torch.arange(len(play)), torch.from_numpy(play.actions)]
    ratio = np.exp(now.numpy() - play.log_probs)
    assert found.kl == pytest.approx(np.mean(ratio - 1.0 - np.log(ratio)), rel=1e-4)
    assert found.kl > 0.05
    expected = ratio.sum() ** 2 / (len(ratio) * np.square(ratio).sum())
    assert found.effective_sample_share == pytest.approx(expected, rel=1e-4)


def test_statistics_are_fitted_once_where_there_are_none():
    play = play_of(signal_trajectory(3, seed=1), signal_trajectory(5, seed=2))
    features = FeatureNormalizer(RunningMoments(4))
    normalizer = Normalizer(features, RewardNormalizer(RunningMoments(1), np.zeros(0), 0.9))
    learn_statistics(play, normalizer)
    np.testing.assert_allclose(features.moments.mean, play.features.mean(axis=0), atol=1e-6)
    # Discounted returns of each trajectory from its start, 3 + 5 of them.
    running = []
    for rewards in (play.rewards[:3], play.rewards[3:]):
        total = 0.0
        for reward in rewards:
            total = 0.9 * total + reward
            running.append(total)
    moments = normalizer.rewards.moments
    assert moments.count == 8
    assert moments.squares[0] / 8 == pytest.approx(np.var(running), rel=1e-5)
    before = features.moments.mean.copy()
    learn_statistics(play_of(signal_trajectory(9, seed=3)), normalizer)
    assert features.moments.mean.tobytes() == before.tobytes()
    _, found = valued(play, normalizer)
    whitened = torch.from_numpy(features(play.features))
    torch.testing.assert_close(found.batch.features, whitened)
    np.testing.assert_allclose(found.rewards, play.rewards / np.std(running), rtol=1e-4)


def test_unknown_log_probabilities_are_counted_and_can_be_replaced():
    lost = np.array([-1.0, np.nan, -1.0], np.float32)
    play = play_of(signal_trajectory(2), signal_trajectory(3, old_log_probs=lost))
    assert play.unknown == 1
    assert play.with_log_probs(np.zeros(5, np.float32)).unknown == 0


def test_baselines_are_those_of_the_recording():
    play = play_of(
        signal_trajectory(2, rewards=np.array([1.0, 2.0], np.float32)),
        signal_trajectory(1, rewards=np.array([5.0], np.float32)),
    )
    assert play.baselines == {
        "baseline_sample_count": 2,
        "baseline_reward_mean": pytest.approx(8.0 / 3.0),
        "baseline_reward_sum": 8.0,
        "baseline_reward_sum_mean": 4.0,
        "baseline_log_prob_mean": pytest.approx(-np.log(4.0)),
    }


def test_what_nothing_can_be_learned_from_is_refused():
    with pytest.raises(UserError, match="'diary': it is known of no step where it led"):
        play_of(signal_trajectory(1, final_features=None))


def test_without_a_mask_all_was_allowed():
    play = play_of(signal_trajectory(2, action_mask=None), signal_trajectory(2))
    assert play.mask.shape == (4, 4)
    assert play.mask.all()
