"""The strategies that train, put together from the two trainers."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from journeyman.checkpoint import Checkpoint
from journeyman.context import TrainingContext
from journeyman.learning.demonstrations import split_rows
from journeyman.learning.policy import initial_checkpoint
from journeyman.results import BCTrainingResult, EvaluationResult, TrainingSummary
from journeyman.services.sight import overlooked
from journeyman.settings.anneal import StageSettings
from journeyman.settings.env import TownSettings
from journeyman.strategies.anneal import AnnealStrategy, Telemetry
from journeyman.strategies.base import (
    StageOutcome,
    decide_promotion,
    emit_baselines,
    emit_evaluation,
    play,
    play_demonstrator,
    player,
    steps_spent,
    training_words,
)
from journeyman.strategies.bc import train_bc
from journeyman.strategies.course import Course
from journeyman.strategies.ppo import train_ppo
from journeyman.strategies.ppo_guidance import Leading
from journeyman.tracking.protocol import StageRun

_LOG = logging.getLogger(__name__)


def untrained(context: TrainingContext) -> Checkpoint:
    """Returns the checkpoint of the policy as it is initialised from the run's seed.

    What its network will never see is said: the town's features tell all that its map shows,
    which is known of no other environment.
    """
    unseen = overlooked(context.settings.policy, context.lane_spec)
    if unseen is not None and not isinstance(context.settings.env, TownSettings):
        _LOG.warning("%s", unseen)
    return initial_checkpoint(context.settings.policy, context.lane_spec, context.seeds)


def held_out_rows(context: TrainingContext) -> NDArray[np.int64] | None:
    """Returns the rows (S,) that no stage learns from; None: no stage learns from any."""
    fraction = context.settings.held_out_fraction()
    if fraction is None:
        return None
    return split_rows(context.demonstrations(), fraction, context.seeds.integer("split"))[1]


@dataclass(frozen=True)
class SingleStrategy:
    """Trains one policy in one way, and plays it before and after.

    Attributes:
        name: stage name in the tracker.
        train: trains the policy in a checkpoint.
    """

    name: str
    train: Callable[[TrainingContext, Checkpoint], StageOutcome]

    def run(self, context: TrainingContext, start: Checkpoint | None) -> TrainingSummary:
        """Plays, trains, plays again on the same seeds, and has promotion decided."""
        first = untrained(context) if start is None else start
        course = Course.resumed(context)
        if course is None:
            course = _begun(context, first, "untrained" if start is None else "start")
        settings = context.settings.strategy.model_dump(mode="json")
        with context.tracker.stage(f"00-{self.name}", settings) as stage_run:
            context.progress.begin(f"00-{self.name}")
            outcome = course.trained(context, lambda current: self.train(context, current))
            context.progress.end(training_words(outcome.result))
            after = play(context, player(outcome.checkpoint, self.name))
            emit_evaluation(context, after, steps_spent(outcome.checkpoint))
            _report(context, stage_run, outcome, after)
        context.save(outcome.checkpoint, "final")
        return TrainingSummary(
            mode="bc_run" if self.name == "bc" else "ppo_run",
            training=outcome.result,
            untrained=course.untrained,
            demonstrator=course.demonstrator,
            final=after,
            promotion=decide_promotion(context, outcome.checkpoint, "PASS"),
            weights_digest=outcome.checkpoint.digest("policy"),
            duration_sec=context.seconds,
        )


def _begun(context: TrainingContext, first: Checkpoint, label: str) -> Course:
    """Plays what the run begins with and the demonstrator; saves the beginning."""
    before = play(context, player(first, label))
    demonstrator = play_demonstrator(context)
    emit_baselines(context, before, demonstrator)
    course = Course(first, before, demonstrator)
    course.followed(context)
    context.save(first)
    return course


def _report(
    context: TrainingContext, stage_run: StageRun, outcome: StageOutcome, after: EvaluationResult
) -> None:
    """Puts on the stage's run what stages of a schedule have; no guardrail judges this one."""
    result = outcome.result
    if isinstance(result, BCTrainingResult):
        figures, ended_early = {"bc_accuracy": result.gate_accuracy}, None
    else:
        figures, ended_early = {"loss": result.loss_total_mean}, result.ended_early
    stage_run.figures(
        {
            "return_mean": after.episode_return.mean,
            "return_low": after.episode_return.low,
            "return_high": after.episode_return.high,
            **figures,
        }
    )
    stage_run.tag(
        {
            "status": "PASS",
            "reason": ended_early or "no guardrail is checked outside a schedule",
            "rolled_back": "false",
            "social_stage": context.settings.social_reward.stage_at(0),
            "digest": outcome.checkpoint.digest(),
        }
    )


def bc_strategy() -> SingleStrategy:
    """Returns ``strategy=bc``."""
    return SingleStrategy("bc", _train_bc)


def ppo_strategy() -> SingleStrategy:
    """Returns ``strategy=ppo``."""
    return SingleStrategy("ppo", _train_ppo)


def anneal_strategy() -> AnnealStrategy:
    """Returns ``strategy=anneal`` with the two trainers in it."""
    return AnnealStrategy({"bc": _bc_stage, "ppo": _ppo_stage}, untrained, held_out_rows)


def _train_bc(context: TrainingContext, start: Checkpoint) -> StageOutcome:
    settings = context.settings.bc()
    assert settings is not None
    return train_bc(context, start, settings)


def _train_ppo(context: TrainingContext, start: Checkpoint) -> StageOutcome:
    settings = context.settings.ppo()
    assert settings is not None
    stage = context.settings.social_reward.stage_at(0)
    return train_ppo(context, start, settings, social_stage=stage)


def _bc_stage(
    context: TrainingContext, start: Checkpoint, stage: StageSettings, telemetry: Telemetry
) -> StageOutcome:
    settings = context.settings.bc()
    assert settings is not None
    if stage.learning_rate is not None:
        settings = settings.model_copy(update={"learning_rate": stage.learning_rate})
    weight = _scheduled_weight(context, stage)
    return train_bc(context, start, settings, epochs=stage.epochs, bc_weight=weight)


def _ppo_stage(
    context: TrainingContext, start: Checkpoint, stage: StageSettings, telemetry: Telemetry
) -> StageOutcome:
    settings = context.settings.ppo()
    assert settings is not None
    changes = {
        name: getattr(stage, name)
        for name in ("critic_warmup", "learning_rate", "entropy_coef", "clip", "target_kl")
        if getattr(stage, name) is not None
    }
    return train_ppo(
        context,
        start,
        settings.model_copy(update=changes),
        updates=stage.epochs,
        bc_weight=_scheduled_weight(context, stage),
        leading=Leading(kl_weight=stage.kl_weight, guide=stage.guide),
        social_stage=context.settings.social_reward.stage_at(stage.cycle),
        telemetry=telemetry,
    )


def _scheduled_weight(context: TrainingContext, stage: StageSettings) -> Callable[[int], float]:
    return lambda index: context.anneal_ratio.at(stage.bc_weight, index, stage.epochs)
