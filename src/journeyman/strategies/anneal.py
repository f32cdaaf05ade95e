"""``strategy=anneal``: one policy through imitation and practice, stage by stage.

The trainers of the two modes are handed in; this file knows only checkpoints, played
evaluations, guardrails and what follows from them.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from journeyman.checkpoint import Checkpoint, write_json
from journeyman.context import MetricValue, TrainingContext
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.policies.prior import prior_of, with_prior
from journeyman.results import (
    VERDICT_VALUE,
    AnnealStageResult,
    AnnealSummary,
    BCTrainingResult,
    EvaluationResult,
    PPOTrainingResult,
    StageDiagnosis,
)
from journeyman.services.diagnosis import diagnose
from journeyman.services.guardrails import (
    Baseline,
    StageDecision,
    check_guardrails,
    run_verdict,
    stage_verdict,
)
from journeyman.settings.anneal import StageSettings
from journeyman.settings.schedule import ends_of
from journeyman.strategies.base import (
    StageOutcome,
    decide_promotion,
    emit_baselines,
    emit_evaluation,
    evaluation_rng,
    play,
    play_demonstrator,
    player,
    steps_spent,
    training_words,
)
from journeyman.strategies.course import ScheduleCourse
from journeyman.tracking.protocol import StageRun

_LOG = logging.getLogger(__name__)

Telemetry = Mapping[str, MetricValue]

StageTrainer = Callable[[TrainingContext, Checkpoint, StageSettings, Telemetry], StageOutcome]
"""Trains the policy in a checkpoint through one stage, adding constants to its telemetry."""

HeldOut = Callable[[TrainingContext], NDArray[np.int64] | None]
"""Rows of the demonstrations that no stage of the run learns from; None: no stage learns any."""


@dataclass(frozen=True)
class AnnealStrategy:
    """Runs the stages of ``settings.anneal``.

    Attributes:
        trainers: mode -> trainer.
        untrained: makes the untrained policy's checkpoint.
        held_out: says what the stages leave out.
    """

    trainers: Mapping[Literal["bc", "ppo"], StageTrainer]
    untrained: Callable[[TrainingContext], Checkpoint]
    held_out: HeldOut

    def run(self, context: TrainingContext, start: Checkpoint | None) -> AnnealSummary:
        """Trains, plays, checks and accepts or rolls back each stage; then promotion."""
        first = self.untrained(context) if start is None else start
        dataset_label = _dataset_label(context)
        course = ScheduleCourse.resumed_after(context, first)
        if course is None:
            course = _begun(context, first, trained=start is not None)
        unbegun: str | None = None
        for index, stage in enumerate(context.settings.anneal.stages):
            if index >= len(course.stages) and not course.stopped:
                if unbegun := _in_vain(course, index, stage):
                    _LOG.warning("the schedule ends here: %s", unbegun)
                    break
                self._run_stage(context, course, index, stage)
                course.leave_stage(context)

        if course.stages[-1].rolled_back:
            # The curve's last point is what a reader compares: it belongs to the final policy.
            emit_evaluation(context, course.evaluation, steps_spent(course.current))
        status, reason = run_verdict([stage.status for stage in course.stages])
        reason = "; ".join(filter(None, (reason, unbegun)))
        context.save(course.current, "final")
        promotion = decide_promotion(context, course.current, status)
        context.emit("run", {"status": VERDICT_VALUE[status]}, steps_spent(course.current))
        summary = AnnealSummary(
            status=status,
            reason=reason,
            dataset_label=dataset_label,
            stages=tuple(course.stages),
            baselines=_baseline_figures(course.baseline),
            untrained=course.untrained,
            demonstrator=course.demonstrator,
            final=course.evaluation,
            promotion=promotion,
            promotion_pass_streak=0 if promotion is None else promotion.pass_streak,
            promotion_candidate_ready=promotion is not None and promotion.candidate_ready,
            weights_digest=course.current.digest("policy"),
            duration_sec=context.seconds,
        )
        write_json(context.run_dir / "anneal_results.json", summary.model_dump(mode="json"))
        return summary

    def _run_stage(
        self, context: TrainingContext, course: ScheduleCourse, index: int, stage: StageSettings
    ) -> None:
        """Trains, plays and judges one stage, and moves the course on."""
        name = f"{index:02d}-{stage.mode}"
        digest_before = course.enter_stage(context)
        with context.tracker.stage(name, stage.model_dump()) as stage_run:
            context.progress.begin(name)
            telemetry = _telemetry(context, course, stage, name)
            train = self.trainers[stage.mode]
            outcome = course.trained(
                context, lambda current: train(context, current, stage, telemetry)
            )
            context.progress.end(training_words(outcome.result))
            trained = outcome.checkpoint.with_parts(
                {}, schedule={"stages_done": index + 1, "stage_update": 0}
            )
            evaluation = play(context, player(trained, name))
            emit_evaluation(context, evaluation, steps_spent(trained))
            readings = check_guardrails(
                context.settings.anneal.guardrails,
                baseline=course.baseline,
                evaluation=evaluation,
                training=outcome.result,
                telemetry=context.telemetry,
                evaluation_settings=context.settings.evaluation,
                rng=evaluation_rng(context),
                continuous=context.lane_spec.action_kind == "box",
            )
            decision = stage_verdict(readings, stage.mode)
            _move_on(context, course, name, trained, evaluation, outcome, decision)
            result = AnnealStageResult(
                index=index,
                name=name,
                cycle=stage.cycle,
                anneal_mode=stage.mode,
                social_stage=context.settings.social_reward.stage_at(stage.cycle),
                bc_weight_start=ends_of(stage.bc_weight)[0],
                bc_weight_end=ends_of(stage.bc_weight)[-1],
                status=decision.status,
                reason=decision.reason,
                guardrails=decision.readings,
                rolled_back=_rolls_back(decision),
                digest_before=digest_before,
                digest_trained=trained.digest(),
                digest_after=course.current.digest(),
                training=outcome.result,
                evaluation=evaluation,
                diagnosis=self._diagnosis(context, trained, outcome),
            )
            course.stages.append(result)
            context.save(course.current, name)
            _report(context, stage_run, result, steps_spent(trained))

    def _diagnosis(
        self, context: TrainingContext, trained: Checkpoint, outcome: StageOutcome
    ) -> StageDiagnosis:
        rows = self.held_out(context)
        with context.spans.span("evaluate"):
            return diagnose(
                NumpyActorCritic.from_checkpoint(trained, with_values=False),
                prior_of(trained),
                outcome.result,
                None if rows is None else context.demonstrations(),
                rows,
            )


def _begun(context: TrainingContext, first: Checkpoint, *, trained: bool) -> ScheduleCourse:
    """Plays what the run begins with, and whom it is to learn from; saves the beginning."""
    untrained = play(context, player(first, "untrained"))
    demonstrator = play_demonstrator(context)
    emit_baselines(context, untrained, demonstrator)
    course = ScheduleCourse(
        first,
        untrained,
        demonstrator,
        evaluation=untrained,
        accepted=first,
        baseline=Baseline(evaluation=untrained, ppo_loss=None, trained=trained),
    )
    course.followed(context)
    context.save(first)
    return course


def _in_vain(course: ScheduleCourse, index: int, stage: StageSettings) -> str | None:
    """Returns why a stage cannot begin after what became of those before; None: it can.

    The check before the run has seen a bc stage in front of it; that one was not accepted.
    """
    if stage.keeps_to_prior and prior_of(course.current) is None:
        return (
            f"stage {index} (cycle {stage.cycle}) was not begun: its kl_weight needs a prior, and "
            "no bc stage before it was accepted"
        )
    return None


def _dataset_label(context: TrainingContext) -> str:
    """Returns the demonstrations' name; captures or reads them if any stage asks for them."""
    if not any(stage.demonstrates for stage in context.settings.anneal.stages):
        return "none"
    return context.demonstrations().label


def _telemetry(
    context: TrainingContext, course: ScheduleCourse, stage: StageSettings, name: str
) -> dict[str, MetricValue]:
    """Returns what is known of the schedule when a stage begins, under telemetry's names."""
    known: dict[str, MetricValue] = {
        "anneal_cycle": stage.cycle,
        "anneal_stage": name,
        "anneal_dataset": _dataset_label(context),
        "cycle_id": stage.cycle,
    }
    for done in course.stages:
        if isinstance(done.training, BCTrainingResult):
            known["anneal_bc_accuracy"] = done.training.gate_accuracy
            known["anneal_bc_threshold"] = context.settings.anneal.guardrails.bc_accuracy.threshold
            known["anneal_bc_passed"] = done.status != "FAIL"
    rates = course.baseline.evaluation.rates if course.baseline.trained else {}
    baselines = {
        "loss": course.baseline.ppo_loss,
        "queue": rates.get("queue_conflict"),
        "intensity": rates.get("queue_conflict_intensity"),
    }
    known |= {f"anneal_{n}_baseline": v for n, v in baselines.items() if v is not None}
    names = {"loss": "loss", "queue_events": "queue", "queue_intensity": "intensity"}
    for reading in course.stages[-1].guardrails if course.stages else ():
        if reading.name in names:
            known[f"anneal_{names[reading.name]}_flag"] = reading.tripped
    return known


def _rolls_back(decision: StageDecision) -> bool:
    return decision.action in ("rollback", "stop")


def _move_on(
    context: TrainingContext,
    course: ScheduleCourse,
    name: str,
    trained: Checkpoint,
    evaluation: EvaluationResult,
    outcome: StageOutcome,
    decision: StageDecision,
) -> None:
    """Accepts the trained state, keeps it on hold, or restores the accepted one.

    A rollback brings back weights, optimisers, normalisers, environment and generators, all of
    which the checkpoint holds; counters and position in the schedule stay as they are: steps
    spent are spent, and the stage is over.
    """
    course.stopped = decision.action == "stop"
    if _rolls_back(decision):
        spent = {name: trained.state[name] for name in ("counters", "schedule")}
        course.current = course.accepted.with_parts({}, **spent)
        course.evaluation = course.baseline.evaluation
        context.seeds.restore(course.accepted.state["generators"])
        return
    course.current, course.evaluation = trained, evaluation
    if decision.action == "accept":
        ppo_loss = course.baseline.ppo_loss
        if isinstance(outcome.result, PPOTrainingResult):
            ppo_loss = outcome.result.loss_total_mean
        if isinstance(outcome.result, BCTrainingResult):
            trained = course.current = with_prior(trained)
        course.accepted, course.accepted_name = trained, name
        course.baseline = Baseline(evaluation=evaluation, ppo_loss=ppo_loss)


def _baseline_figures(baseline: Baseline) -> dict[str, float]:
    evaluation = baseline.evaluation
    figures = {"episode_return": evaluation.episode_return.mean} | evaluation.rates
    if baseline.ppo_loss is not None:
        figures["loss_total"] = baseline.ppo_loss
    return figures


def _report(
    context: TrainingContext, stage_run: StageRun, result: AnnealStageResult, step: int
) -> None:
    """Puts the verdict on the stage run, and the guardrail readings on the job's curves."""
    deltas = {f"{g.name}_delta": g.delta for g in result.guardrails if g.delta is not None}
    values = {g.name: g.value for g in result.guardrails if g.value is not None}
    tripped = {f"{g.name}_tripped": g.tripped for g in result.guardrails}
    context.emit("guard", {**values, **deltas, **tripped}, step)
    diagnosis = result.diagnosis
    why = {"kl_to_prior": diagnosis.kl_to_prior, "agreement": diagnosis.agreement}
    context.emit(
        "anneal",
        {
            "cycle": result.cycle,
            "stage": result.index,
            "bc_weight": result.bc_weight_end,
            "status": VERDICT_VALUE[result.status],
            "rolled_back": result.rolled_back,
            **{name: figure for name, figure in why.items() if figure is not None},
        },
        step,
    )
    stage_run.figures(
        {
            "return_mean": result.evaluation.episode_return.mean,
            "return_low": result.evaluation.episode_return.low,
            "return_high": result.evaluation.episode_return.high,
            **values,
        }
    )
    stage_run.tag(
        {
            "status": result.status,
            "reason": result.reason,
            "rolled_back": str(result.rolled_back).lower(),
            "social_stage": result.social_stage,
            "digest": result.digest_after,
        }
    )
