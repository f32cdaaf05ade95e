import json

import numpy as np
import pytest
import torch

from journeyman.checkpoint import load_checkpoint, save_checkpoint
from journeyman.context import RunStopped
from journeyman.learning.collector import Collector
from journeyman.learning.demonstrations import DemonstrationTensors
from journeyman.learning.policy import policy_from_checkpoint, weights
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.seeding import SeedPlan
from journeyman.settings.schedule import Ramp
from journeyman.strategies.bc import train_bc
from journeyman.strategies.ppo import train_ppo
from journeyman.tracking.telemetry import PPOUpdateMetrics
from support.signal_env import SignalEnv
from support.training import (
    DURATIONS,
    Surroundings,
    bc_settings,
    ppo_settings,
    practised,
    signal_demonstrations,
    untrained,
)


def without_durations(result):
    document = result.model_dump(exclude={"duration_sec"})
    for name in DURATIONS:
        document["last_update"].pop(name, None)
    return document


def share_answered(checkpoint, steps=50):
    """Share of free steps on which the policy, sampling, names the signal."""
    env = SignalEnv(num_worlds=20)
    obs, _ = env.reset(seed=99)
    policy, rng = policy_from_checkpoint(checkpoint), np.random.default_rng(0)
    right, free = 0.0, 0
    for _ in range(steps):
        free += int(obs["action_mask"][:, 1].sum())
        obs, rewards, *_ = env.step(policy.act(obs, rng).actions)
        right += float(rewards.sum())
    return right / free


def test_practice_alone_solves_the_signal(tmp_path):
    # The untrained policy guesses among four: a quarter. Learned: nearly always.
    settings = ppo_settings(updates=40, worlds=8, rollout_ticks=32, minibatch_size=256, epochs=4)
    context, outcome = practised(tmp_path, settings=settings)
    assert share_answered(untrained(Surroundings(tmp_path))) < 0.35
    assert share_answered(outcome.checkpoint) > 0.95
    # An episode has 20 steps of which .7 are free: at most about 14, untrained about 3.5.
    assert outcome.result.episode_return_mean > 12.0
    first = [update["episode_return_mean"] for update in context.emissions.of("ppo")[:2]]
    assert max(first) < 6.0


def test_the_same_config_twice_gives_the_same_bits_and_metrics(tmp_path):
    runs = [
        practised(
            tmp_path / str(i),
            settings=ppo_settings(normalize_features=True, normalize_rewards=True),
            weight=lambda update: 0.5,
            demonstrations=signal_demonstrations(),
        )
        for i in range(2)
    ]
    (first, one), (second, two) = runs
    assert one.checkpoint.digest() == two.checkpoint.digest()
    assert without_durations(one.result) == without_durations(two.result)
    for group in ("ppo", "reward", "optimisation"):
        assert first.emissions.of(group) == second.emissions.of(group)
        assert len(first.emissions.of(group)) == 4
    _, other = practised(tmp_path / "other", seed=1)
    assert other.checkpoint.digest("policy") != one.checkpoint.digest("policy")


SETTINGS = {
    "plain": {},
    "normalised": {"normalize_features": True, "normalize_rewards": True},
    "scheduled": {
        "learning_rate": Ramp(start=3e-3, end=1e-4),
        "clip": Ramp(start=0.3, end=0.1),
        "entropy_coef": Ramp(start=0.02, end=0.0),
        "critic_warmup": 2,
        "target_kl": 0.01,
    },
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("stopped_after", [1, 3, 5])
def test_a_stage_stopped_in_the_middle_goes_on_bit_for_bit(tmp_path, name, stopped_after):
    settings = ppo_settings(updates=6, **SETTINGS[name])
    shown = signal_demonstrations()
    options = {"settings": settings, "weight": lambda i: 0.1 * i, "demonstrations": shown}
    whole, expected = practised(tmp_path / "whole", **options)
    stopped = Surroundings(
        tmp_path / "cut", demonstrations=shown, checkpoint_every=1, stop_after=stopped_after
    )
    with pytest.raises(RunStopped):
        train_ppo(stopped, untrained(stopped), settings, bc_weight=options["weight"])
    halfway = load_checkpoint(tmp_path / "cut" / "checkpoints" / "latest.safetensors")
    assert halfway.state["schedule"]["stage_update"] == stopped_after
    resumed, outcome = practised(tmp_path / "resumed", halfway, seed=0, **options)
    assert outcome.checkpoint.digest() == expected.checkpoint.digest()
    assert outcome.checkpoint.state == expected.checkpoint.state
    assert without_durations(outcome.result) == without_durations(expected.result)
    rejoined = stopped.emissions.of("ppo") + resumed.emissions.of("ppo")
    assert rejoined == whole.emissions.of("ppo")


def test_two_stages_of_three_updates_are_one_of_six(tmp_path):
    _, six = practised(tmp_path, settings=ppo_settings(updates=6))
    _, three = practised(tmp_path, settings=ppo_settings(updates=3))
    save_checkpoint(three.checkpoint, tmp_path / "three.safetensors")
    between = load_checkpoint(tmp_path / "three.safetensors")
    _, again = practised(tmp_path, between, settings=ppo_settings(updates=3))
    assert again.checkpoint.digest() == six.checkpoint.digest()
    # With another seed too: whatever practice draws from comes out of the checkpoint.
    _, other = practised(tmp_path, between, settings=ppo_settings(updates=3), seed=1)
    owners = ("policy", "ppo_optimizer", "env", "lanes")
    assert other.checkpoint.digest(*owners) == six.checkpoint.digest(*owners)
    assert again.checkpoint.state["counters"] == six.checkpoint.state["counters"]
    assert again.result.steps == six.result.steps == 6 * 64
    assert again.result.transitions == 3 * 64


def test_another_number_of_worlds_starts_lanes_anew(tmp_path):
    _, four = practised(tmp_path, settings=ppo_settings(updates=1))
    _, eight = practised(tmp_path, four.checkpoint, settings=ppo_settings(updates=1, worlds=8))
    assert eight.checkpoint.state["env"] == {"worlds": 8}
    assert eight.checkpoint.part("lanes")["episode_length"].tolist() == [8] * 16


def test_practice_begins_with_the_weights_imitation_left(tmp_path):
    shown = signal_demonstrations()
    apprentice = Surroundings(tmp_path, demonstrations=shown)
    taught = train_bc(apprentice, untrained(apprentice), bc_settings()).checkpoint
    seen = []

    class Watched(SignalEnv):
        """Notes what is played on the first step of practice."""

        def step(self, actions):
            seen.append((self._observe(), actions.copy()))
            return super().step(actions)

    context = Surroundings(tmp_path, env=lambda worlds: Watched(num_worlds=worlds))
    # A step size of 0 would hide a change of weights, so the update is a real one; what acted
    # in the rollout before it is compared with the player of imitation's checkpoint.
    outcome = train_ppo(context, taught, ppo_settings(updates=1))
    rng = np.random.default_rng()
    rng.bit_generator.state = taught.state["generators"]["act"]
    player = policy_from_checkpoint(taught)
    for obs, actions in seen:
        assert player.act(obs, rng).actions.tolist() == actions.tolist()
    assert outcome.checkpoint.digest("policy") != taught.digest("policy")


def test_the_first_rollouts_policy_is_imitations_last_to_the_last_bit(tmp_path, monkeypatch):
    apprentice = Surroundings(tmp_path, demonstrations=signal_demonstrations())
    taught = train_bc(apprentice, untrained(apprentice), bc_settings()).checkpoint
    rollouts, collect = [], Collector.collect

    def noting(self, rng, **options):
        network = self._network
        before = weights(network)
        rollout = collect(self, rng, **options)
        seen = [a.reshape(-1, a.shape[-1]).copy() for a in (rollout.features, rollout.mask)]
        with torch.no_grad():
            logits = network.outputs(torch.from_numpy(seen[0]))
        rollouts.append((before, seen, logits.numpy(), rollout.log_probs.ravel().copy()))
        return rollout

    monkeypatch.setattr(Collector, "collect", noting)
    train_ppo(Surroundings(tmp_path), taught, ppo_settings(updates=2))
    before, (features, mask), logits, log_probs = rollouts[0]
    assert taught.with_parts({"policy": before}).digest("policy") == taught.digest("policy")

    # The logits, asked of imitation's checkpoint for all that was seen in the rollout...
    obs = {"features": features, "action_mask": mask}
    expected, _ = policy_from_checkpoint(taught).evaluate(obs)
    assert logits.tobytes() == expected.tobytes()
    # ... and the log-probabilities, asked of the player that acts on a CPU, lane by lane.
    player = NumpyActorCritic.from_checkpoint(taught)
    rng = np.random.default_rng()
    rng.bit_generator.state = taught.state["generators"]["act"]
    env = SignalEnv(num_worlds=4)
    seen, _ = env.reset(seed=SeedPlan(0).integer("env"))
    played = []
    for _ in range(8):
        step = player.act(seen, rng)
        played.append(step.log_probs)
        seen, *_ = env.step(step.actions)
    assert log_probs.tobytes() == np.concatenate(played).tobytes()
    # Of the second rollout none of it holds: an update was made in between.
    after, (features, mask), logits, _ = rollouts[1]
    assert taught.with_parts({"policy": after}).digest("policy") != taught.digest("policy")
    obs = {"features": features, "action_mask": mask}
    assert logits.tobytes() != policy_from_checkpoint(taught).evaluate(obs)[0].tobytes()


def test_a_stage_of_critic_warmup_ends_with_imitations_weights(tmp_path):
    shown = signal_demonstrations()
    apprentice = Surroundings(tmp_path, demonstrations=shown)
    taught = train_bc(apprentice, untrained(apprentice), bc_settings()).checkpoint
    context, outcome = practised(
        tmp_path,
        taught,
        settings=ppo_settings(updates=3, critic_warmup=3),
        weight=lambda update: 1.0,
        demonstrations=shown,
    )
    before, after = taught.part("policy"), outcome.checkpoint.part("policy")
    changed = {name for name in before if before[name].tobytes() != after[name].tobytes()}
    expected = {name for name in before if name.startswith(("critic.", "value_head."))}
    assert changed == expected
    assert all(emitted["critic_only"] for emitted in context.emissions.of("optimisation"))


def test_every_update_follows_telemetry(tmp_path):
    settings = ppo_settings(updates=3, critic_warmup=1)
    context, outcome = practised(
        tmp_path, settings=settings, weight=lambda i: 0.5, demonstrations=signal_demonstrations()
    )
    updates = [call for call in context.emissions.calls if call[0] == "ppo"]
    for index, (_, metrics, step) in enumerate(updates):
        assert PPOUpdateMetrics.model_validate({**metrics, "log_stream_offset": index})
        assert step == metrics["steps"] == 64 * (index + 1)
        assert metrics["updates"] == index + 1
        assert metrics["epoch"] == 2 * (index + 1)
        assert ("loss_bc" in metrics) is (index > 0)
        assert metrics["anneal_bc_weight"] == 0.5
        total = metrics["loss_policy"] + 0.5 * metrics["loss_value"]
        total += 0.01 * metrics["loss_entropy"] + 0.5 * metrics.get("loss_bc", 0.0)
        if index == 0:
            total = 0.5 * metrics["loss_value"]
        assert metrics["loss_total"] == pytest.approx(total, rel=1e-4, abs=1e-6)
    assert outcome.result.last_update == updates[-1][1]
    assert json.dumps(outcome.result.model_dump())
    assert {group for group, _, _ in context.emissions.calls} == {
        "ppo",
        "reward",
        "optimisation",
        "time",
    }
    assert set(context.emissions.of("reward")[0]) == {"answer", "hazard"}
    assert context.shown.advances == [(1, 3), (2, 3), (3, 3)]


def test_constants_of_the_anneal_are_in_every_update(tmp_path):
    context = Surroundings(tmp_path)
    train_ppo(
        context,
        untrained(context),
        ppo_settings(updates=2),
        telemetry={"anneal_cycle": 3, "anneal_stage": "01-ppo"},
    )
    found = [(m["anneal_cycle"], m["anneal_stage"]) for m in context.emissions.of("ppo")]
    assert found == [(3, "01-ppo")] * 2


def test_the_demonstrations_loss_never_sees_what_was_held_out(tmp_path, monkeypatch):
    shown = signal_demonstrations()
    apprentice = Surroundings(tmp_path, demonstrations=shown)
    taught = train_bc(apprentice, untrained(apprentice), bc_settings(epochs=1))
    used = []
    original = DemonstrationTensors.from_rows

    def noting(demonstrations, rows, **options):
        used.append(rows)
        return original(demonstrations, rows, **options)

    monkeypatch.setattr(DemonstrationTensors, "from_rows", noting)
    settings = ppo_settings(updates=1)
    practised(
        tmp_path, taught.checkpoint, settings=settings, weight=lambda i: 1.0, demonstrations=shown
    )
    assert len(used[0]) == taught.result.samples
    assert len(used[0]) + taught.result.val_samples == len(shown)
