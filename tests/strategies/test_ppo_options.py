"""Practice with schedules, idle lanes, normalisation, and measured."""

import json

import numpy as np
import pytest
import torch

from journeyman.learning.policy import (
    network_from_checkpoint,
    policy_from_checkpoint,
)
from journeyman.policies.numpy_actor_critic import Whitening
from journeyman.settings.anneal import GuideSettings
from journeyman.settings.schedule import Ramp
from journeyman.strategies.ppo import train_ppo
from journeyman.strategies.ppo_guidance import Leading
from journeyman.tracking.telemetry import PPOUpdateMetrics
from support.idle_envs import NextStepEnv
from support.signal_env import SignalEnv
from support.training import Surroundings, ppo_settings, practised, untrained


def test_idle_steps_are_no_steps_of_the_environment(tmp_path):
    # Episodes of 3 steps and one for the reset: of 8 steps 6 are some, on 8 lanes: 48.
    context, outcome = practised(
        tmp_path,
        settings=ppo_settings(updates=2),
        env=lambda worlds: NextStepEnv(num_worlds=worlds, length=3),
    )
    assert [m["transitions"] for m in context.emissions.of("ppo")] == [48, 48]
    assert [m["steps"] for m in context.emissions.of("ppo")] == [48, 96]
    assert outcome.result.transitions == outcome.result.steps == 96
    assert outcome.checkpoint.state["counters"]["env_steps"] == 96
    for _, metrics, step in (call for call in context.emissions.calls if call[0] == "ppo"):
        assert PPOUpdateMetrics.model_validate({**metrics, "log_stream_offset": 0})
        assert step == metrics["steps"]
    # An answer is paid 1: the mean over steps that were some, not over those of the reset too.
    terms = [m["answer"] for m in context.emissions.of("reward")]
    assert 0.0 < terms[0] < 0.7


def test_a_guide_that_always_acts_acted_on_every_step_that_was_one(tmp_path):
    context = Surroundings(tmp_path, env=lambda worlds: NextStepEnv(num_worlds=worlds, length=3))
    always = GuideSettings(kind="blend", ratio=1.0)
    start = untrained(context)
    outcome = train_ppo(context, start, ppo_settings(updates=1), leading=Leading(guide=always))
    (metrics,) = context.emissions.of("ppo")
    assert (metrics["anneal_guide_ratio"], metrics["transitions"]) == (1.0, 48)
    # Nothing of it is the policy's own: only the value function has learned.
    before, after = start.part("policy"), outcome.checkpoint.part("policy")
    changed = {name for name in before if before[name].tobytes() != after[name].tobytes()}
    assert changed == {n for n in before if n.startswith(("critic.", "value_head."))}


def test_what_idle_lanes_hold_changes_nothing(tmp_path):
    class Other(NextStepEnv):
        """The same, but for what the lanes are shown and paid where it does not count."""

        def step(self, actions):
            obs, rewards, terminated, truncated, info = super().step(actions)
            if "idle" in info:
                info["events"][info["idle"]] = 99.0
                info["reward_terms"][info["idle"]] = 99.0
            return obs, rewards, terminated, truncated, info

    settings = ppo_settings(updates=2, normalize_features=True, normalize_rewards=True)
    plain, other = (
        practised(
            tmp_path / env.__name__,
            settings=settings,
            env=lambda worlds, env=env: env(num_worlds=worlds, length=3),
        )
        for env in (NextStepEnv, Other)
    )
    assert plain[1].checkpoint.digest() == other[1].checkpoint.digest()
    for group in ("ppo", "reward"):
        assert plain[0].emissions.of(group) == other[0].emissions.of(group)


def test_schedules_run_over_the_stage_and_may_end_at_zero(tmp_path):
    # Five updates from 4e-3 to 0 in equal steps; the last one changes no weight.
    settings = ppo_settings(
        updates=5,
        learning_rate=Ramp(start=4e-3, end=0.0),
        clip=Ramp(start=0.3, end=0.1),
        entropy_coef=Ramp(start=0.02, end=0.0),
    )
    context, outcome = practised(tmp_path, settings=settings, checkpoint_every=1)
    rates = [m["lr"] for m in context.emissions.of("ppo")]
    assert rates == pytest.approx([4e-3, 3e-3, 2e-3, 1e-3, 0.0])
    assert rates[-1] == 0.0
    fourth = context.saved[-1]
    assert fourth.state["counters"]["ppo_updates"] == 4
    assert outcome.checkpoint.digest("policy") == fourth.digest("policy")
    assert context.saved[-2].digest("policy") != fourth.digest("policy")
    # The total is its parts with the entropy's coefficient of that update.
    for index, metrics in enumerate(context.emissions.of("ppo")):
        total = metrics["loss_policy"] + 0.5 * metrics["loss_value"]
        total += (0.02 - 0.005 * index) * metrics["loss_entropy"]
        assert metrics["loss_total"] == pytest.approx(total, rel=1e-4, abs=1e-6)


def test_the_clip_schedule_reaches_the_loss(tmp_path):
    # With so narrow a range nearly every ratio leaves it once a step is made; with so wide a one
    # none does.
    narrow, wide = (
        practised(tmp_path / str(clip), settings=ppo_settings(updates=2, clip=clip))[0]
        for clip in (1e-6, Ramp(start=9.0, end=9.0))
    )
    assert narrow.emissions.of("ppo")[0]["clip_fraction"] > 0.5
    assert wide.emissions.of("ppo")[0]["clip_fraction"] == 0.0


def test_statistics_are_kept_and_frozen_where_the_policy_is_played(tmp_path):
    settings = ppo_settings(updates=2, normalize_features=True, normalize_rewards=True)
    _, outcome = practised(tmp_path, settings=settings)
    part = outcome.checkpoint.part("normalizer")
    # Two updates of 8 steps on 8 lanes.
    assert part["feature_count"].tolist() == part["return_count"].tolist() == [128.0]
    before = {name: array.tobytes() for name, array in part.items()}
    env, rng = SignalEnv(num_worlds=3), np.random.default_rng(0)
    obs, _ = env.reset(seed=1)
    player = policy_from_checkpoint(outcome.checkpoint)
    first = [player.evaluate(obs)[0]]
    seen = obs["features"].copy(), obs["action_mask"].copy()
    for _ in range(30):
        obs, *_ = env.step(player.act(obs, rng).actions)
    again = player.evaluate({"features": seen[0], "action_mask": seen[1]})[0]
    assert again.tobytes() == first[0].tobytes()
    after = outcome.checkpoint.part("normalizer")
    assert {name: array.tobytes() for name, array in after.items()} == before
    # The player sees what the network was trained on: features whitened by these statistics.
    network = network_from_checkpoint(outcome.checkpoint, torch.device("cpu"))
    whitened = Whitening.from_part(part)(seen[0])
    with torch.inference_mode():
        expected = network.outputs(torch.from_numpy(whitened)).numpy()
    np.testing.assert_allclose(again, expected, atol=1e-6)


def test_practice_can_be_traced_once(tmp_path):
    context = Surroundings(tmp_path)
    context.trace = tmp_path / "profile" / "trace.json"
    train_ppo(context, untrained(context), ppo_settings(updates=4))
    events = json.loads(context.trace.read_text())["traceEvents"]
    steps = {e["name"] for e in events if str(e.get("name")).startswith("ProfilerStep")}
    # Of four updates the first is let pass, the second warms up, two are recorded.
    assert steps == {"ProfilerStep#2", "ProfilerStep#3"}
    assert any("adam" in str(event.get("name")).lower() for event in events)
    written = context.trace.stat().st_mtime_ns
    train_ppo(context, untrained(context), ppo_settings(updates=1))
    assert context.trace.stat().st_mtime_ns == written


def test_the_time_of_practice_is_split(tmp_path):
    context, _ = practised(tmp_path)
    spent = context.spans.seconds
    assert {"env", "act", "advantages", "update", "tracking"} <= set(spent)
    assert all(seconds > 0.0 for name, seconds in spent.items() if name != "data")
    # No second is counted twice: an update's parts are within its durations.
    durations = [m for group, m, _ in context.emissions.calls if group == "time"]
    collected = sum(m["collect_sec"] + m["update_sec"] for m in durations)
    parts = sum(spent[name] for name in ("env", "act", "advantages", "update"))
    assert parts == pytest.approx(collected, rel=0.2)
    assert spent["env"] == pytest.approx(sum(m["env_sec"] for m in durations))
