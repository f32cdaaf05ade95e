"""Practice on recorded play, alone and beside fresh play."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from journeyman.checkpoint import load_checkpoint
from journeyman.context import RunStopped
from journeyman.data.replay import ReplayDataset
from journeyman.errors import TrainingError, UserError
from journeyman.learning.policy import initial_checkpoint
from journeyman.settings.schedule import Ramp
from journeyman.strategies import ppo_recorded
from journeyman.strategies.ppo import train_ppo
from journeyman.tracking.telemetry import PPOUpdateMetrics
from support.recordings import BATCHING, recording, signal_trajectory
from support.signal_env import SignalEnv
from support.training import SMALL, Surroundings, ppo_settings


def untrained(context):
    return initial_checkpoint(SMALL, context.lane_spec, context.seeds)


@pytest.fixture(scope="module")
def diary(tmp_path_factory):
    """640 steps of the untrained policy's own play, two episodes of 20 steps on each lane.

    Where the first episodes' last steps led is not recorded: 624 can be learned from.
    """
    return recording(untrained(Surroundings(tmp_path_factory.mktemp("start"))), ticks=40)


def nobody(worlds):
    """The spec of the environment, and no more: replay must not need one to play in."""

    class Unplayable(SignalEnv):
        def reset(self, **options):
            raise AssertionError("replay played")

    return Unplayable(num_worlds=worlds)


def practised(folder, start=None, *, mode="replay", surroundings=None, **changes):
    context = Surroundings(folder, **(surroundings or {}))
    settings = ppo_settings(data_mode=mode, **changes)
    return context, train_ppo(context, start or untrained(context), settings)


def lost(dataset):
    """The same play without its log-probabilities."""
    parts = [
        replace(dataset.read(k)[0], old_log_probs=np.full(40, np.nan, np.float32))
        for k in range(len(dataset.files))
    ]
    return ReplayDataset.from_trajectories(parts, BATCHING, label="old diary")


HASTY = {"epochs": 4, "minibatch_size": 156, "learning_rate": 1e-2}


def test_replay_improves_the_policy_without_playing(tmp_path, diary):
    # The recording is of chance, a quarter right. Clipping around the recorded policy keeps the
    # new one within reach: right answers become about half as likely again.
    context, outcome = practised(
        tmp_path, updates=15, **HASTY, surroundings={"recorded": diary, "env": nobody}
    )

    def reward(checkpoint):
        played = recording(checkpoint, ticks=40, seed=77)
        return np.mean([played.read(k)[0].rewards.mean() for k in range(len(played.files))])

    assert reward(outcome.checkpoint) > 1.4 * reward(untrained(context))
    assert outcome.result.data_mode == "replay"
    assert (outcome.result.steps, outcome.result.updates) == (0, 15)
    assert outcome.result.transitions == 15 * 624
    assert "env" not in outcome.checkpoint.state


def test_a_policy_out_of_the_recordings_reach_ends_the_stage(tmp_path, diary, caplog):
    with caplog.at_level(logging.WARNING):
        context, outcome = practised(
            tmp_path,
            updates=15,
            max_replay_kl=0.01,
            **HASTY,
            surroundings={"recorded": diary, "env": nobody},
        )
    assert outcome.result.updates == len(context.emissions.of("ppo")) == 1
    assert "nats a step away from the one that acted in diary" in outcome.result.ended_early
    assert "(max_replay_kl 0.01)" in outcome.result.ended_early
    assert outcome.result.ended_early in caplog.text
    # What was learned is kept, and has its figures.
    assert outcome.result.loss_total_mean == outcome.result.last_update["loss_total"]
    assert outcome.checkpoint.digest("policy") != untrained(context).digest("policy")


def test_every_replay_update_follows_telemetry(tmp_path, diary):
    context, outcome = practised(
        tmp_path, updates=2, max_replay_kl=10.0, surroundings={"recorded": diary, "env": nobody}
    )
    updates = [call for call in context.emissions.calls if call[0] == "ppo"]
    for index, (_, metrics, step) in enumerate(updates):
        assert PPOUpdateMetrics.model_validate({**metrics, "log_stream_offset": index})
        assert step == metrics["steps"] == 624 * (index + 1)
        assert (metrics["data_mode"], metrics["transitions"]) == ("replay", 624)
        assert metrics["rollout_ticks"] == 40
        assert metrics["baseline_sample_count"] == 16
        assert metrics["baseline_reward_mean"] == pytest.approx(
            np.mean([diary.read(k)[0].rewards.mean() for k in range(16)])
        )
        assert "env_steps_per_sec" not in metrics
    first, second = (metrics for _, metrics, _ in updates)
    # Before its first update the policy is the recorded one.
    assert first["replay_kl"] == pytest.approx(0.0, abs=1e-9)
    assert first["replay_effective_sample_share"] == pytest.approx(1.0, abs=1e-6)
    assert second["replay_kl"] > 1e-4
    assert second["replay_effective_sample_share"] < 1.0
    assert outcome.result.ended_early is None
    assert {group for group, _, _ in context.emissions.calls} == {"ppo", "optimisation", "time"}


def test_play_too_stale_from_the_start_is_refused(tmp_path, diary):
    other = Surroundings(tmp_path)
    start = untrained(other)
    part = start.part("policy")
    bias = part["policy_head.bias"] + np.array([0.0, 3.0, 0.0, -3.0], np.float32)
    moved = start.with_parts({"policy": {**part, "policy_head.bias": bias}})
    surroundings = {"recorded": diary, "env": nobody}
    with pytest.raises(TrainingError, match=r"nats a step away .* in diary .*cannot be learned"):
        practised(tmp_path, moved, surroundings=surroundings)
    with pytest.raises(TrainingError, match=r"effective samples of each in diary"):
        practised(
            tmp_path,
            moved,
            surroundings=surroundings,
            max_replay_kl=100.0,
            min_effective_sample_share=0.9,
        )


def test_unknown_log_probabilities_are_refused_with_an_offer(tmp_path, diary):
    with pytest.raises(UserError, match=r"'old diary'.* 640 of 640 .*recompute_log_probs=true"):
        practised(tmp_path, surroundings={"recorded": lost(diary), "env": nobody})


def test_recomputed_log_probabilities_are_those_of_the_stages_start(tmp_path, diary, caplog):
    # The diary is the untrained policy's own: recomputing finds what was recorded.
    surroundings = {"recorded": lost(diary), "env": nobody, "recompute_log_probs": True}
    with caplog.at_level(logging.WARNING, logger=ppo_recorded.__name__):
        again, outcome = practised(tmp_path / "again", updates=3, surroundings=surroundings)
    assert "old diary: its log-probabilities are replaced" in caplog.text
    known, expected = practised(
        tmp_path / "known", updates=3, surroundings={"recorded": diary, "env": nobody}
    )
    found = [m["replay_kl"] for m in again.emissions.of("ppo")]
    assert found == pytest.approx([m["replay_kl"] for m in known.emissions.of("ppo")], abs=1e-6)
    assert found[-1] > 1e-4
    for name, array in expected.checkpoint.part("policy").items():
        np.testing.assert_allclose(outcome.checkpoint.part("policy")[name], array, atol=1e-4)
    # Between stages nothing of it is left: the next one recomputes.
    assert not outcome.checkpoint.part("replay")


@pytest.mark.parametrize("mode", ["replay", "mixed"])
@pytest.mark.parametrize("recomputed", [False, True])
def test_a_stage_stopped_in_the_middle_goes_on_bit_for_bit(tmp_path, diary, mode, recomputed):
    changes = {
        "mode": mode,
        "updates": 5,
        "normalize_features": True,
        "normalize_rewards": True,
        "max_replay_kl": 100.0,
        "min_effective_sample_share": 0.0,
        "learning_rate": Ramp(start=3e-3, end=0.0),
    }
    surroundings = {
        "recorded": lost(diary) if recomputed else diary,
        "recompute_log_probs": recomputed,
    }
    whole, expected = practised(tmp_path / "whole", surroundings=surroundings, **changes)
    stopping = {**surroundings, "checkpoint_every": 1, "stop_after": 2}
    with pytest.raises(RunStopped):
        practised(tmp_path / "cut", surroundings=stopping, **changes)
    halfway = load_checkpoint(tmp_path / "cut" / "checkpoints" / "latest.safetensors")
    resumed, outcome = practised(
        tmp_path / "resumed", halfway, surroundings=surroundings, **changes
    )
    assert outcome.checkpoint.digest() == expected.checkpoint.digest()
    assert outcome.checkpoint.state == expected.checkpoint.state
    assert resumed.emissions.of("ppo") == whole.emissions.of("ppo")[2:]


def test_mixed_practice_plays_and_remembers(tmp_path, diary):
    context, outcome = practised(
        tmp_path,
        mode="mixed",
        updates=3,
        max_replay_kl=100.0,
        min_effective_sample_share=0.0,
        surroundings={"recorded": diary},
    )
    for index, metrics in enumerate(context.emissions.of("ppo")):
        assert PPOUpdateMetrics.model_validate({**metrics, "log_stream_offset": index, **RATES})
        assert metrics["data_mode"] == "mixed"
        assert metrics["transitions"] == 64 + 624
        assert metrics["steps"] == 64 * (index + 1)
        assert "baseline_reward_mean" in metrics
        assert metrics["replay_kl"] >= 0.0
    assert outcome.result.steps == outcome.result.transitions == 3 * 64
    assert {group for group, _, _ in context.emissions.calls} == {
        "ppo",
        "reward",
        "optimisation",
        "time",
    }


RATES = {"epoch_duration_sec": 1.0, "env_steps_per_sec": 1.0, "update_samples_per_sec": 1.0}


def test_play_of_another_observation_is_refused(tmp_path):
    strange = signal_trajectory(3)
    names = list(strange.metadata["feature_names"])
    other = strange.with_metadata(feature_names=["time", *names[1:]])
    dataset = ReplayDataset.from_trajectories([other], BATCHING, label="strange")
    with pytest.raises(UserError, match="'strange' does not fit environment test/signal"):
        practised(tmp_path, surroundings={"recorded": dataset, "env": nobody})


def test_replay_between_stages_leaves_the_lanes_where_they_were(tmp_path, diary):
    _, live = practised(tmp_path / "live", mode="rollout", updates=1)
    _, between = practised(
        tmp_path / "replay", live.checkpoint, updates=1, surroundings={"recorded": diary}
    )
    for owner in ("env", "lanes"):
        assert between.checkpoint.digest(owner) == live.checkpoint.digest(owner)
    assert between.checkpoint.state["env"] == {"worlds": 4}
    assert between.checkpoint.digest("policy") != live.checkpoint.digest("policy")
