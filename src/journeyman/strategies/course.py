"""What a run knows besides its policy; it is in every checkpoint, so that a killed run goes on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from journeyman.checkpoint import Checkpoint, load_checkpoint
from journeyman.context import TrainingContext
from journeyman.results import (
    AnnealStageResult,
    BCTrainingResult,
    EvaluationResult,
    PPOTrainingResult,
)
from journeyman.services.guardrails import Baseline
from journeyman.strategies.base import StageOutcome


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ScheduleState(_State):
    """Where a schedule stands: see ``Course``."""

    stages: tuple[AnnealStageResult, ...]
    stopped: bool
    evaluation: EvaluationResult
    accepted: str | None
    baseline: EvaluationResult
    baseline_ppo_loss: float | None
    baseline_trained: bool
    digest_before: str | None


class CourseState(_State):
    """A course as a checkpoint keeps it, under ``state["course"]``."""

    untrained: EvaluationResult
    demonstrator: EvaluationResult | None
    training: BCTrainingResult | PPOTrainingResult | None = None
    schedule: ScheduleState | None = None
    health: tuple[dict[str, Any], ...] = ()
    """Of the updates of the stage that is under way."""
    pinned_ratio: float | None = None
    """Of the demonstration loss, where it was set by hand."""
    seconds: float = 0.0
    """Wall time of the run up to the checkpoint."""


@dataclass
class Course:
    """Where a run stands.

    Attributes:
        current: what the next piece of work starts from.
        untrained: the played evaluation of what the run began with.
        demonstrator: that of the demonstrator, or None.
        training: of the stage whose training is over and whose policy is not judged yet.
    """

    current: Checkpoint
    untrained: EvaluationResult
    demonstrator: EvaluationResult | None
    training: BCTrainingResult | PPOTrainingResult | None = None

    @classmethod
    def resumed(cls, context: TrainingContext) -> Self | None:
        """Returns the course of the checkpoint a run is resumed from; None: it is not."""
        if context.resumed is None:
            return None
        state = _restored(context, context.resumed)
        course = cls(context.resumed, state.untrained, state.demonstrator, state.training)
        course.followed(context)
        return course

    def state(self, context: TrainingContext) -> CourseState:
        """Returns the course as it is now."""
        return CourseState(
            untrained=self.untrained,
            demonstrator=self.demonstrator,
            training=self.training,
            health=tuple(dict(update) for update in context.telemetry),
            pinned_ratio=context.anneal_ratio.pinned,
        )

    def followed(self, context: TrainingContext) -> None:
        """Has every checkpoint from now on keep this course."""
        context.describe_course = lambda: self.state(context).model_dump(mode="json")

    def trained(
        self, context: TrainingContext, train: Callable[[Checkpoint], StageOutcome]
    ) -> StageOutcome:
        """Returns what a stage's training leaves behind, and saves it; at once if it is there."""
        if self.training is not None:
            return StageOutcome(result=self.training, checkpoint=self.current)
        outcome = train(self.current)
        self.training = outcome.result
        context.save(outcome.checkpoint)
        return outcome


@dataclass
class ScheduleCourse(Course):
    """Where a schedule stands.

    Attributes:
        evaluation: the played evaluation of ``current``.
        accepted: the last state whose stage passed: what a rollback restores.
        accepted_name: its checkpoint's name; None: what the run began with.
        baseline: the figures of ``accepted`` that guardrails compare with.
        stages: results so far.
        stopped: a guardrail ended the schedule.
        digest_before: digest of what the stage under way began with; None: none is under way.
    """

    evaluation: EvaluationResult = field(kw_only=True)
    accepted: Checkpoint = field(kw_only=True)
    accepted_name: str | None = None
    baseline: Baseline = field(kw_only=True)
    stages: list[AnnealStageResult] = field(default_factory=list)
    stopped: bool = False
    digest_before: str | None = None

    @classmethod
    def resumed_after(cls, context: TrainingContext, first: Checkpoint) -> Self | None:
        """Returns the course of the checkpoint a run is resumed from; None: it is not.

        Args:
            context: the run's surroundings.
            first: what the run began with.
        """
        if context.resumed is None:
            return None
        state = _restored(context, context.resumed)
        schedule = state.schedule
        assert schedule is not None
        accepted = first
        if schedule.accepted is not None:
            accepted = load_checkpoint(context.checkpoint_path(schedule.accepted))
        context.seeds.restore(context.resumed.state["generators"])
        course = cls(
            context.resumed,
            state.untrained,
            state.demonstrator,
            state.training,
            evaluation=schedule.evaluation,
            accepted=accepted,
            accepted_name=schedule.accepted,
            baseline=Baseline(
                evaluation=schedule.baseline,
                ppo_loss=schedule.baseline_ppo_loss,
                trained=schedule.baseline_trained,
            ),
            stages=list(schedule.stages),
            stopped=schedule.stopped,
            digest_before=schedule.digest_before,
        )
        course.followed(context)
        return course

    def state(self, context: TrainingContext) -> CourseState:
        """Returns the course as it is now."""
        schedule = ScheduleState(
            stages=tuple(self.stages),
            stopped=self.stopped,
            evaluation=self.evaluation,
            accepted=self.accepted_name,
            baseline=self.baseline.evaluation,
            baseline_ppo_loss=self.baseline.ppo_loss,
            baseline_trained=self.baseline.trained,
            digest_before=self.digest_before,
        )
        return super().state(context).model_copy(update={"schedule": schedule})

    def enter_stage(self, context: TrainingContext) -> str:
        """Begins a stage, or comes back to it.

        Returns:
            The digest of what it began with.
        """
        if self.digest_before is None:
            context.anneal_ratio.begin_stage()
            context.telemetry.clear()
            self.digest_before = self.current.digest()
        return self.digest_before

    def leave_stage(self, context: TrainingContext) -> None:
        """Ends a stage that has been judged, and saves what the next one starts from."""
        self.training = self.digest_before = None
        context.telemetry.clear()
        context.save(self.current)


def _restored(context: TrainingContext, checkpoint: Checkpoint) -> CourseState:
    """Reads a checkpoint's course and puts what belongs to the context back into it."""
    state = CourseState.model_validate(checkpoint.state["course"])
    context.telemetry[:] = state.health
    context.anneal_ratio.pinned = state.pinned_ratio
    return state
