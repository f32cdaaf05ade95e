"""The schedule really trains one policy, judges it by play, and really rolls back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from journeyman.checkpoint import Checkpoint, load_checkpoint
from journeyman.context import TrainingContext
from journeyman.settings.anneal import StageSettings
from journeyman.strategies.anneal import Telemetry
from journeyman.strategies.base import StageOutcome
from journeyman.strategies.training import anneal_strategy
from support.anneal import IMITATE, PRACTISE, Recorder, context_for, run


def test_one_policy_goes_through_all_stages(tmp_path: Path) -> None:
    summary = run(context_for(tmp_path, IMITATE, PRACTISE))
    first, second = summary.stages
    assert first.digest_after == second.digest_before
    assert first.training.weights_digest != second.training.weights_digest
    assert load_checkpoint(tmp_path / "checkpoints/00-bc.safetensors").digest() == (
        second.digest_before
    )
    assert summary.weights_digest == second.training.weights_digest
    assert summary.status == "PASS"


def test_training_beats_the_untrained_policy_on_the_same_seeds(tmp_path: Path) -> None:
    summary = run(context_for(tmp_path, IMITATE, PRACTISE))
    assert summary.final.seeds == summary.untrained.seeds == summary.demonstrator.seeds
    # A third of the answers is right by chance, of the unforced 70 % of 20 steps: 14 against 3.5.
    assert summary.untrained.episode_return.high < 8.0
    assert summary.final.episode_return.low > 13.0


def wrecked(
    context: TrainingContext, start: Checkpoint, stage: StageSettings, telemetry: Telemetry
) -> StageOutcome:
    """A stage of practice after which the policy is noise, and generators have moved."""
    outcome = anneal_strategy().trainers["ppo"](context, start, stage, telemetry)
    rng = np.random.default_rng(0)
    noise = {
        name: rng.normal(size=array.shape).astype(np.float32)
        for name, array in outcome.checkpoint.part("policy").items()
    }
    return StageOutcome(
        result=outcome.result, checkpoint=outcome.checkpoint.with_parts({"policy": noise})
    )


class OnceWrecked:
    """Wrecks the first stage of practice and trains the others as they should be."""

    def __init__(self) -> None:
        self.starts: list[Checkpoint] = []
        self.generators: list[Any] = []

    def __call__(
        self,
        context: TrainingContext,
        start: Checkpoint,
        stage: StageSettings,
        telemetry: Telemetry,
    ) -> StageOutcome:
        self.starts.append(start)
        self.generators.append(context.seeds.state())
        train = wrecked if len(self.starts) == 1 else anneal_strategy().trainers["ppo"]
        return train(context, start, stage, telemetry)


def test_rollback_restores_the_digest_and_the_next_stage_starts_from_it(tmp_path: Path) -> None:
    practice = OnceWrecked()
    shipped = anneal_strategy()
    strategy = replace(shipped, trainers={**shipped.trainers, "ppo": practice})
    third = {**PRACTISE, "cycle": 2}
    context = context_for(tmp_path, IMITATE, PRACTISE, third)
    summary = strategy.run(context, None)
    imitated, ruined, after = summary.stages

    assert ruined.status == "HOLD"
    assert ruined.rolled_back
    assert "episode return changed by -" in ruined.reason
    assert ruined.digest_trained != ruined.digest_before
    assert ruined.digest_after == imitated.digest_after
    # Every bit is back: weights, optimisers, environment and generators ...
    assert practice.starts[1].digest() == practice.starts[0].digest()
    assert practice.generators[1] == practice.generators[0]
    # ... and the steps spent stay spent.
    spent = [start.state["counters"]["env_steps"] for start in practice.starts]
    assert spent[1] - spent[0] == ruined.training.transitions  # type: ignore[union-attr]
    assert after.digest_before == imitated.digest_after
    assert not after.rolled_back
    assert summary.status == "HOLD"
    assert summary.final.episode_return.mean > 13.0


def test_a_rolled_back_last_stage_leaves_the_accepted_policy(tmp_path: Path) -> None:
    shipped = anneal_strategy()
    strategy = replace(shipped, trainers={**shipped.trainers, "ppo": wrecked})
    context = context_for(tmp_path, IMITATE, PRACTISE)
    summary = strategy.run(context, None)
    assert summary.weights_digest == summary.stages[0].training.weights_digest
    assert summary.final == summary.stages[0].evaluation
    final = load_checkpoint(tmp_path / "checkpoints/final.safetensors")
    assert final.digest() == summary.stages[0].digest_after
    assert final.state["schedule"]["stages_done"] == 2
    # The curve ends with the policy that is left, not with the one that was discarded.
    assert isinstance(context.tracker, Recorder)
    last = context.tracker.emissions.of("eval")[-1]
    assert last["return_mean"] == summary.final.episode_return.mean


def test_a_failed_imitation_gate_fails_the_run_and_stops_it(tmp_path: Path) -> None:
    barely = {**IMITATE, "epochs": 1, "learning_rate": 1e-6}
    summary = run(context_for(tmp_path, barely, PRACTISE))
    assert summary.status == "FAIL"
    assert len(summary.stages) == 1
    assert "held-out accuracy on decision steps" in summary.stages[0].reason
    # What is left is the untrained policy the stage began with.
    assert summary.stages[0].digest_after == summary.stages[0].digest_before


def test_the_guardrail_baseline_comes_from_played_episodes(tmp_path: Path) -> None:
    summary = run(context_for(tmp_path, IMITATE, PRACTISE))
    first, second = summary.stages

    def baseline(stage: Any) -> float:
        (reading,) = [g for g in stage.guardrails if g.name == "episode_return"]
        return float(reading.baseline)

    assert baseline(first) == summary.untrained.episode_return.mean
    assert baseline(second) == first.evaluation.episode_return.mean
    assert summary.baselines["episode_return"] == second.evaluation.episode_return.mean
    # Played: the mean of the episodes' returns, one world a seed, not a figure of training.
    assert baseline(second) == pytest.approx(np.mean(first.evaluation.episode_returns))
    assert len(set(first.evaluation.episode_returns)) > 1


def test_the_social_stage_follows_the_cycle_in_the_environment(tmp_path: Path) -> None:
    schedule = [{"cycle": 0, "stage": "OFF"}, {"cycle": 2, "stage": "C2"}]
    context = context_for(
        tmp_path,
        IMITATE,
        PRACTISE,
        {**PRACTISE, "cycle": 2},
        social={"schedule": schedule, "override": None},
    )
    summary = run(context)
    assert [stage.social_stage for stage in summary.stages] == ["OFF", "OFF", "C2"]
    practised = [env for env in context.made if env.num_worlds == 4]  # type: ignore[attr-defined]
    assert [env.social_stage for env in practised] == ["OFF", "C2"]
    assert {stage.evaluation.social_stage for stage in summary.stages} == {"OFF"}


def test_the_demonstration_weight_follows_the_schedule_into_the_loss(tmp_path: Path) -> None:
    context = context_for(tmp_path, IMITATE, PRACTISE)
    run(context)
    tracker = context.tracker
    assert isinstance(tracker, Recorder)
    weights = [update["anneal_bc_weight"] for update in tracker.emissions.of("ppo")]
    assert weights == [0.5, 0.25, 0.0]
    losses = ["loss_bc" in update for update in tracker.emissions.of("ppo")]
    assert losses == [True, True, False]


def test_telemetry_says_what_the_schedule_knew_when_the_stage_began(tmp_path: Path) -> None:
    context = context_for(tmp_path, IMITATE, PRACTISE, {**PRACTISE, "cycle": 2})
    summary = run(context)
    assert isinstance(context.tracker, Recorder)
    updates = context.tracker.emissions.of("ppo")
    imitated, practised, _ = summary.stages
    assert [update["anneal_stage"] for update in updates] == ["01-ppo"] * 3 + ["02-ppo"] * 3
    assert {update["anneal_bc_accuracy"] for update in updates} == {
        imitated.training.val_decision_accuracy  # type: ignore[union-attr]
    }
    assert "anneal_loss_baseline" not in updates[0]
    assert updates[-1]["anneal_loss_baseline"] == (
        practised.training.loss_total_mean  # type: ignore[union-attr]
    )
    assert updates[-1]["anneal_loss_flag"] is False


def test_a_pinned_ratio_holds_until_the_next_stage(tmp_path: Path) -> None:
    context = context_for(tmp_path, IMITATE, PRACTISE, {**PRACTISE, "cycle": 2})
    log = context.tracker.log

    def pin_after_the_first_update(group: str, metrics: Any, step: int) -> None:
        log(group, metrics, step)
        if group == "ppo" and context.anneal_ratio.pinned is None and metrics["updates"] == 1:
            context.anneal_ratio.pinned = 0.9

    context.tracker.log = pin_after_the_first_update  # type: ignore[method-assign]
    run(context)
    tracker = context.tracker
    assert isinstance(tracker, Recorder)
    weights = [update["anneal_bc_weight"] for update in tracker.emissions.of("ppo")]
    assert weights == [0.5, 0.9, 0.9, 0.5, 0.25, 0.0]


def test_the_same_config_twice_gives_identical_metrics_and_weights(tmp_path: Path) -> None:
    contexts = [context_for(tmp_path / name, IMITATE, PRACTISE) for name in ("a", "b")]
    one, other = (run(context) for context in contexts)
    assert one.weights_digest == other.weights_digest
    assert [s.digest_after for s in one.stages] == [s.digest_after for s in other.stages]
    first, second = (context.tracker.emissions for context in contexts)  # type: ignore[attr-defined]
    for group in ("bc", "ppo", "eval", "guard", "reward", "anneal"):
        assert first.of(group) == second.of(group)
        assert first.of(group)


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    one = context_for(tmp_path / "a", IMITATE, seed=0)
    other = context_for(tmp_path / "b", IMITATE, seed=1)
    assert run(one).weights_digest != run(other).weights_digest


def test_every_stage_says_how_far_its_policy_is_from_prior_and_demonstrator(
    tmp_path: Path,
) -> None:
    context = context_for(tmp_path, IMITATE, PRACTISE, {**PRACTISE, "cycle": 2})
    summary = run(context)
    imitated, practised, later = (stage.diagnosis for stage in summary.stages)
    # A quarter of 8 worlds x 2 agents x 30 steps is held out, and judged as imitation judges it.
    assert imitated.states == practised.states == 120
    assert imitated.agreement == pytest.approx(
        summary.stages[0].training.val_decision_accuracy  # type: ignore[union-attr]
    )
    assert (imitated.kl_to_prior, imitated.value_rmse) == (None, None)
    assert practised.kl_to_prior is not None
    assert later.kl_to_prior is not None
    assert later.kl_to_prior > practised.kl_to_prior > 0.0
    last = summary.stages[1].training.last_update  # type: ignore[union-attr]
    assert practised.value_rmse == last["value_rmse"]
    assert practised.explained_variance == last["explained_variance"]
    assert sum(imitated.support.values()) == sum(later.support.values())
    assert isinstance(context.tracker, Recorder)
    emitted = context.tracker.emissions.of("anneal")
    assert ["kl_to_prior" in figures for figures in emitted] == [False, True, True]
    assert emitted[2]["agreement"] == later.agreement


def test_practice_alone_reads_no_demonstrations(tmp_path: Path) -> None:
    alone = {**PRACTISE, "cycle": 0, "bc_weight": 0.0}
    context = context_for(tmp_path, alone)
    context.load_demonstrations = lambda: pytest.fail("not asked for")
    summary = run(context)
    assert summary.dataset_label == "none"
    assert summary.stages[0].diagnosis.states == 0
