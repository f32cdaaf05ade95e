from dataclasses import replace

import numpy as np
import pytest

from journeyman.checkpoint import load_checkpoint
from journeyman.context import RunStopped
from journeyman.errors import UserError
from journeyman.learning.policy import initial_checkpoint, policy_from_checkpoint
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.services.rollout import capture_rollout
from journeyman.settings.schedule import Ramp, value_at
from journeyman.strategies.base import training_words
from journeyman.strategies.bc import train_bc
from support.action_envs import AnswerEnv
from support.training import (
    SMALL,
    Surroundings,
    bc_settings,
    ppo_settings,
    signal_demonstrations,
)


def untrained(context):
    return initial_checkpoint(SMALL, context.lane_spec, context.seeds)


def scheduled(weight, settings):
    return lambda epoch: value_at(weight, epoch, settings.epochs)


def taught(tmp_path, shown=None, *, settings=None, weight=1.0, start=None, **surroundings):
    shown = signal_demonstrations() if shown is None else shown
    context = Surroundings(tmp_path, demonstrations=shown, **surroundings)
    first = untrained(context) if start is None else start
    settings = settings or bc_settings()
    return context, train_bc(context, first, settings, bc_weight=scheduled(weight, settings))


def test_imitation_masters_the_signal(tmp_path):
    context, outcome = taught(tmp_path)
    result = outcome.result
    assert result.val_decision_accuracy > 0.99
    assert result.accuracy_over_majority > 0.5  # one of three answers is right a third of times
    assert result.samples + result.val_samples == 8 * 2 * 30
    assert result.val_samples == 2 * 2 * 30  # a quarter of eight worlds
    assert sum(result.action_histogram.values()) == result.samples
    assert result.weights_digest == outcome.checkpoint.digest("policy")
    assert [step for group, _, step in context.emissions.calls if group == "bc"] == [1, 2, 3]
    assert context.shown.advances == [(1, 3), (2, 3), (3, 3)]
    decisions = int(sum(map(sum, result.confusion)))
    assert decisions == sum(int(f["support"]) for f in result.per_action.values())


def test_random_labels_give_chance_on_what_is_held_out(tmp_path):
    # Labels are drawn among three answers whatever the signal: nothing to learn. Trained long
    # enough to learn by heart what can be, the held-out share stays near a third; about 1700
    # held-out decisions have a standard error of .011.
    shown = signal_demonstrations(worlds=64, ticks=80)
    free = shown.action_mask[:, 1]
    drawn = np.random.default_rng(0).integers(1, 4, len(shown))
    noise = signal_demonstrations(worlds=64, ticks=80, actions=np.where(free, drawn, 0))
    _, outcome = taught(tmp_path, noise, settings=bc_settings(epochs=4, batch_size=512))
    assert abs(outcome.result.val_decision_accuracy - 1.0 / 3.0) < 0.05
    assert abs(outcome.result.accuracy_over_majority) < 0.05
    assert outcome.result.val_accuracy > 0.45  # forced steps flatter


def test_the_same_config_twice_gives_the_same_bits(tmp_path):
    (first, one), (second, two) = (taught(tmp_path) for _ in range(2))
    assert one.checkpoint.digest() == two.checkpoint.digest()
    assert first.emissions.of("bc") == second.emissions.of("bc")


@pytest.mark.parametrize("stopped_after", [1, 4])
def test_a_stage_stopped_in_the_middle_goes_on_bit_for_bit(tmp_path, stopped_after):
    settings = bc_settings(epochs=6, patience=6)
    weight = Ramp(start=1.0, end=0.1)
    whole, expected = taught(tmp_path / "whole", settings=settings, weight=weight)
    shown = signal_demonstrations()
    stopped = Surroundings(
        tmp_path / "cut", demonstrations=shown, checkpoint_every=1, stop_after=stopped_after
    )
    with pytest.raises(RunStopped):
        train_bc(stopped, untrained(stopped), settings, bc_weight=scheduled(weight, settings))
    halfway = load_checkpoint(tmp_path / "cut" / "checkpoints" / "latest.safetensors")
    resumed, outcome = taught(tmp_path / "resumed", settings=settings, weight=weight, start=halfway)
    assert outcome.checkpoint.digest() == expected.checkpoint.digest()
    assert outcome.checkpoint.state == expected.checkpoint.state
    figures = {"duration_sec"}
    assert outcome.result.model_dump(exclude=figures) == expected.result.model_dump(exclude=figures)
    rejoined = stopped.emissions.of("bc") + resumed.emissions.of("bc")
    assert rejoined == whole.emissions.of("bc")


def test_early_stopping_keeps_the_best_epochs_weights(tmp_path):
    # Random labels on few samples: the held-out loss is best early and grows from there.
    shown = signal_demonstrations(worlds=4)
    drawn = np.random.default_rng(0).integers(1, 4, len(shown))
    noise = signal_demonstrations(
        worlds=4, actions=np.where(shown.action_mask[:, 1], drawn, 0).astype(np.int64)
    )
    settings = bc_settings(epochs=50, patience=4, learning_rate=3e-2)
    context, outcome = taught(tmp_path, noise, settings=settings)
    result = outcome.result
    losses = [emitted["val_loss"] for emitted in context.emissions.of("bc")]
    assert result.epochs == len(losses) == result.best_epoch + 4 < 50
    assert result.best_epoch == int(np.argmin(losses)) + 1
    assert result.val_loss == pytest.approx(min(losses), abs=1e-9)


def test_bc_weight_scales_the_step(tmp_path):
    context, outcome = taught(tmp_path, weight=Ramp(start=1.0, end=0.0))
    assert [m["lr"] for m in context.emissions.of("bc")] == pytest.approx([1e-2, 5e-3, 0.0])
    start = untrained(Surroundings(tmp_path))
    _, still = taught(tmp_path, weight=0.0)
    assert still.checkpoint.digest("policy") == start.digest("policy")
    assert outcome.checkpoint.digest("policy") != start.digest("policy")


def test_rare_actions_weigh_more(tmp_path):
    # Half the free steps show answer 1 whatever the signal; inverse frequencies must raise the
    # recall of the others.
    shown = signal_demonstrations(worlds=32)
    free = shown.action_mask[:, 1]
    lazy = np.random.default_rng(0).random(len(shown)) < 0.55
    actions = np.where(free & lazy, 1, shown.actions).astype(np.int64)
    skewed = signal_demonstrations(worlds=32, actions=actions)
    recalls = []
    for weighting in ("none", "inverse_frequency"):
        settings = bc_settings(class_weighting=weighting, epochs=4)
        _, outcome = taught(tmp_path, skewed, settings=settings)
        recalls.append(outcome.result.per_action["answer_2"]["recall"])
    assert recalls[1] > recalls[0] + 0.3


def test_statistics_are_fitted_where_practice_will_whiten(tmp_path):
    shown = signal_demonstrations()
    _, outcome = taught(tmp_path, shown, ppo=ppo_settings(normalize_features=True))
    part = outcome.checkpoint.part("normalizer")
    assert part["feature_count"][0] == outcome.result.samples
    assert outcome.result.val_decision_accuracy > 0.99
    # The player whitens too: it answers as the training did.
    player = NumpyActorCritic.from_checkpoint(outcome.checkpoint)
    obs = {"features": shown.features, "action_mask": shown.action_mask}
    step = player.act(obs, np.random.default_rng(0), deterministic=True)
    assert (step.actions == shown.actions).mean() > 0.99
    _, plain = taught(tmp_path, shown)
    assert plain.checkpoint.part("normalizer") == {}


def test_demonstrations_without_a_choice_are_refused(tmp_path):
    shown = signal_demonstrations()
    mask = np.zeros_like(shown.action_mask)
    mask[:, 0] = True
    forced = signal_demonstrations(action_mask=mask, actions=np.zeros(len(shown), np.int64))
    with pytest.raises(UserError, match="no held-out step has a real choice"):
        taught(tmp_path, forced)


def answers(kind, *, worlds=40, ticks=30, seed=3, **env):
    """The right answers in a capture of an environment of this kind of action."""
    world = AnswerEnv(kind, num_worlds=worlds, **env)
    rng = np.random.default_rng(0)
    capture = capture_rollout(world, world.demonstrator(), ticks=ticks, seed=seed, rng=rng)
    return capture.demonstrations


def taught_answers(tmp_path, kind, shown=None, **changes):
    shown = answers(kind) if shown is None else shown
    context = Surroundings(
        tmp_path, demonstrations=shown, env=lambda worlds: AnswerEnv(kind, num_worlds=worlds)
    )
    settings = bc_settings(**{"epochs": 30, **changes})
    return context, train_bc(context, untrained(context), settings)


def test_a_linear_policy_of_continuous_actions_is_recovered(tmp_path):
    context, outcome = taught_answers(tmp_path, "box")
    result = outcome.result
    # Deviations of the right actions are about .8 and .7 (uniform features, variance 1/3): an
    # error of .05 a component leaves under 1 % unexplained; the untrained policy, whose mean
    # is nearly 0, explains nothing.
    assert result.val_explained_variance > 0.99
    assert result.val_mean_absolute_error < 0.06
    assert result.gate_accuracy == result.val_explained_variance
    choices = (result.accuracy, result.val_accuracy, result.val_decision_accuracy)
    majority = (result.majority_accuracy, result.accuracy_over_majority)
    assert {*choices, *majority} == {None}
    assert (result.per_action, result.confusion, result.action_histogram) == ({}, (), {})
    emitted = context.emissions.of("bc")
    assert not any("accuracy" in name for name in emitted[0])
    assert emitted[0]["val_explained_variance"] < emitted[-1]["val_explained_variance"]
    losses = [metrics["val_loss"] for metrics in emitted]
    assert result.best_epoch == int(np.argmin(losses)) + 1
    assert "explained variance 0.99" in training_words(result)
    # both players give the demonstrator's actions on what none of them has seen
    fresh = answers("box", worlds=20, seed=9)
    obs = {"features": fresh.features}
    for player in (
        NumpyActorCritic.from_checkpoint(outcome.checkpoint),
        policy_from_checkpoint(outcome.checkpoint),
    ):
        step = player.act(obs, np.random.default_rng(0), deterministic=True)
        assert np.abs(step.actions - fresh.actions).mean() < 0.06


def test_the_deviation_of_continuous_actions_is_learned(tmp_path):
    # Noise of deviation .3 on the demonstrator's actions: ln .3 = -1.2 is what the policy's
    # deviation must come to, from 0.
    shown = answers("box", worlds=60)
    noise = np.random.default_rng(1).normal(0.0, 0.3, shown.actions.shape)
    noisy = replace(shown, actions=(shown.actions + noise).astype(np.float32))
    _, outcome = taught_answers(tmp_path, "box", noisy, epochs=12)
    log_std = outcome.checkpoint.part("policy")["log_std"]
    np.testing.assert_allclose(log_std, np.log(0.3), atol=0.1)


def test_choices_of_several_components_are_imitated(tmp_path):
    _, outcome = taught_answers(tmp_path, "multi_discrete", epochs=15)
    result = outcome.result
    # six pairs of choices; the signs and largest of three numbers near 0 stay doubtful
    assert result.val_decision_accuracy == result.val_accuracy > 0.85
    assert result.accuracy_over_majority > 0.4
    assert result.val_explained_variance is None
    assert sum(result.action_histogram.values()) == 2 * result.samples
    assert set(result.per_action) == {"low", "high", "first", "second", "third"}
    assert min(figures["recall"] for figures in result.per_action.values()) > 0.85


@pytest.mark.parametrize("option", [{"label_smoothing": 0.1}, {"weights": True}])
def test_options_of_choices_work_on_several_components(tmp_path, option):
    changes = {"class_weighting": "inverse_frequency"} if "weights" in option else option
    _, outcome = taught_answers(tmp_path, "multi_discrete", epochs=15, **changes)
    assert outcome.result.val_decision_accuracy > 0.8


def test_options_of_choices_are_refused_for_continuous_actions(tmp_path):
    with pytest.raises(UserError) as caught:
        taught_answers(tmp_path, "box", label_smoothing=0.1, class_weighting="inverse_frequency")
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "label_smoothing",
        "class_weighting",
    ]


def test_continuous_actions_that_do_not_vary_are_refused(tmp_path):
    shown = answers("box", worlds=4)
    same = replace(shown, actions=np.zeros_like(shown.actions))
    with pytest.raises(UserError, match="no held-out action differs from another"):
        taught_answers(tmp_path, "box", same)


def test_lanes_that_idle_are_imitated_without_their_idle_steps(tmp_path):
    shown = answers("box", idles=True)
    assert len(shown) < 40 * 30
    _, outcome = taught_answers(tmp_path, "box", shown)
    assert outcome.result.samples + outcome.result.val_samples == len(shown)
    assert outcome.result.val_explained_variance > 0.99


def test_a_stage_of_continuous_actions_goes_on_bit_for_bit(tmp_path):
    _, expected = taught_answers(tmp_path / "whole", "box", epochs=4)
    shown = answers("box")
    make = lambda worlds: AnswerEnv("box", num_worlds=worlds)  # noqa: E731
    stopped = Surroundings(
        tmp_path / "cut", demonstrations=shown, env=make, checkpoint_every=1, stop_after=2
    )
    with pytest.raises(RunStopped):
        train_bc(stopped, untrained(stopped), bc_settings(epochs=4))
    halfway = load_checkpoint(tmp_path / "cut" / "checkpoints" / "latest.safetensors")
    resumed = Surroundings(tmp_path / "resumed", demonstrations=shown, env=make)
    outcome = train_bc(resumed, halfway, bc_settings(epochs=4))
    assert outcome.checkpoint.digest() == expected.checkpoint.digest()
