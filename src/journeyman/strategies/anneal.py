"""``strategy=anneal``: one policy through imitation and practice, stage by stage.

The trainers of the two modes are handed in; this file knows only checkpoints, played
evaluations, guardrails and what follows from them.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from journeyman.checkpoint import Checkpoint, write_json
from journeyman.context import TrainingContext
from journeyman.results import (
    VERDICT_VALUE,
    AnnealStageResult,
    AnnealSummary,
    EvaluationResult,
    PPOTrainingResult,
)
from journeyman.services.guardrails import (
    Baseline,
    StageDecision,
    check_guardrails,
    run_verdict,
    stage_verdict,
)
from journeyman.settings.anneal import StageSettings
from journeyman.settings.schedule import Ramp
from journeyman.strategies.base import (
    StageOutcome,
    decide_promotion,
    emit_evaluation,
    play,
    player,
    steps_spent,
)

StageTrainer = Callable[[TrainingContext, Checkpoint, StageSettings], StageOutcome]
"""Trains the policy in a checkpoint through one stage."""


@dataclass
class Course:
    """Where a schedule stands.

    Attributes:
        current: what the next stage starts from.
        evaluation: the played evaluation of ``current``.
        accepted: the last state whose stage passed: what a rollback restores.
        baseline: the figures of ``accepted`` that guardrails compare with.
        stages: results so far.
    """

    current: Checkpoint
    evaluation: EvaluationResult
    accepted: Checkpoint
    baseline: Baseline
    stages: list[AnnealStageResult] = field(default_factory=list)


@dataclass(frozen=True)
class AnnealStrategy:
    """Runs the stages of ``settings.anneal``.

    Attributes:
        trainers: mode -> trainer.
        untrained: makes the untrained policy's checkpoint.
    """

    trainers: Mapping[Literal["bc", "ppo"], StageTrainer]
    untrained: Callable[[TrainingContext], Checkpoint]

    def run(self, context: TrainingContext, start: Checkpoint | None) -> AnnealSummary:
        """Trains, plays, checks and accepts or rolls back each stage; then promotion."""
        began = time.monotonic()
        first = self.untrained(context) if start is None else start
        demonstrations = context.demonstrations()
        untrained = play(context, player(first, "untrained"))
        demonstrator = play(context, None)
        emit_evaluation(context, untrained, steps_spent(first))

        baseline = Baseline(evaluation=untrained, ppo_loss=None)
        course = Course(first, untrained, first, baseline)
        for index, stage in enumerate(context.settings.anneal.stages):
            if self._run_stage(context, course, index, stage) == "stop":
                break

        status, reason = run_verdict([stage.status for stage in course.stages])
        context.save(course.current, "final")
        promotion = decide_promotion(context, course.current, status)
        context.emit("run", {"status": VERDICT_VALUE[status]}, steps_spent(course.current))
        summary = AnnealSummary(
            status=status,
            reason=reason,
            dataset_label=demonstrations.label,
            stages=tuple(course.stages),
            baselines=_baseline_figures(course.baseline),
            untrained=untrained,
            demonstrator=demonstrator,
            final=course.evaluation,
            promotion=promotion,
            promotion_pass_streak=0 if promotion is None else promotion.pass_streak,
            promotion_candidate_ready=promotion is not None and promotion.candidate_ready,
            weights_digest=course.current.digest("policy"),
            duration_sec=time.monotonic() - began,
        )
        write_json(context.run_dir / "anneal_results.json", summary.model_dump(mode="json"))
        return summary

    def _run_stage(
        self, context: TrainingContext, course: Course, index: int, stage: StageSettings
    ) -> Literal["accept", "hold", "rollback", "stop"]:
        """Runs one stage and moves the course on; returns what was decided."""
        name = f"{index:02d}-{stage.mode}"
        context.anneal_ratio.begin_stage()
        context.telemetry.clear()
        with context.tracker.stage(name, stage.model_dump()) as stage_run:
            before = course.current
            outcome = self.trainers[stage.mode](context, before, stage)
            trained = outcome.checkpoint.with_parts(
                {}, schedule={"stages_done": index + 1, "stage_update": 0}
            )
            evaluation = play(context, player(trained, name))
            emit_evaluation(context, evaluation, steps_spent(trained))
            decision = stage_verdict(
                check_guardrails(
                    context.settings.anneal.guardrails,
                    baseline=course.baseline,
                    evaluation=evaluation,
                    training=outcome.result,
                    telemetry=context.telemetry,
                    evaluation_settings=context.settings.evaluation,
                    rng=context.evaluation_rng(),
                ),
                stage.mode,
            )
            _move_on(course, trained, evaluation, outcome, decision)
            result = _stage_result(
                context, course, index, stage, name, before, trained, outcome, evaluation, decision
            )
            course.stages.append(result)
            context.save(course.current, name)
            _report(context, stage_run, result, steps_spent(trained))
        return decision.action
