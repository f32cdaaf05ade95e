"""The demonstrator: competent, deterministic, honours the mask, beats idling and chance."""

import numpy as np
import pytest

from journeyman.env.town.vector_env import TownVectorEnv

SCENARIOS = ("neighbourhood", "kitchen_breakfast", "queue_conflict")


def play(settings, player, worlds=12):
    """Plays an episode; returns the mean return an agent, and events an agent-day by name."""
    env = TownVectorEnv(settings, num_worlds=worlds)
    obs, _ = env.reset(seed=0)
    demonstrator, rng = env.demonstrator(), np.random.default_rng(0)
    total, events = 0.0, 0.0
    for _ in range(env.layout.episode_ticks):
        mask = obs["action_mask"]
        if player == "demonstrator":
            actions = demonstrator.act(obs, rng).actions
            assert mask[np.arange(len(actions)), actions].all()
        elif player == "random":
            actions = np.argmax(rng.random(mask.shape) * mask, axis=1)
        else:
            actions = np.zeros(env.num_envs, np.int64)
        obs, rewards, _, _, info = env.step(actions)
        total, events = total + rewards.sum(), events + info["events"].sum(axis=0)
    days = env.num_envs * env.layout.episode_ticks / 1440
    return total / env.num_envs, dict(zip(env.event_names, events / days, strict=True))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_demonstrator_lives_well_and_beats_idling_and_chance(settings, scenario):
    config = settings(scenario=scenario)
    mean_return, events = play(config, "demonstrator")
    # Idle and random agents return about -74 (they starve every 190 ticks).
    for other in ("idle", "random"):
        assert mean_return > play(config, other)[0] + 30.0
    assert events["faint"] < 1.0
    for activity in ("meal", "cooked", "shower", "sleep", "chat_success"):
        assert events[activity] > 1.0, activity
    assert events["shift_tick"] > 150.0


def test_it_is_deterministic_and_says_that_it_knows_no_probabilities(settings):
    env = TownVectorEnv(settings(), num_worlds=2)
    obs, _ = env.reset(seed=0)
    player = env.demonstrator()
    steps = [player.act(obs, np.random.default_rng(seed)) for seed in (0, 1)]
    np.testing.assert_array_equal(steps[0].actions, steps[1].actions)
    assert steps[0].actions.dtype == np.int64
    assert np.isnan(steps[0].log_probs).all()
    assert np.isnan(steps[0].values).all()
    assert player.label == "demonstrator"
