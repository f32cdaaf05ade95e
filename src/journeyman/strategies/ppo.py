"""Practice: proximal policy optimisation (Schulman et al. 2017), demonstrations beside it."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from journeyman.checkpoint import Checkpoint
from journeyman.context import MetricValue, TrainingContext
from journeyman.env.protocol import LaneEnv
from journeyman.errors import NotFiniteError, TrainingError
from journeyman.learning.demonstrations import DemonstrationTensors
from journeyman.learning.devices import resolve_device
from journeyman.learning.gathering import Gathered, gather
from journeyman.learning.policy import require_same_spec
from journeyman.learning.practice import Practice, PracticeCourse, finished_schedule
from journeyman.learning.profiler import traced
from journeyman.learning.telemetry import UpdateClock
from journeyman.learning.update import Coefficients, UpdateFigures, optimise
from journeyman.results import PPOTrainingResult
from journeyman.settings.strategy import PPOSettings
from journeyman.strategies.base import StageOutcome
from journeyman.strategies.keeping import Keeper
from journeyman.strategies.ppo_emission import emit_update, shown
from journeyman.strategies.ppo_guidance import Guidance, Leading
from journeyman.strategies.ppo_recorded import recorded_play
from journeyman.strategies.ppo_stage import PracticeStage, as_the_policy_sees, own_loss

_LOG = logging.getLogger(__name__)

UNLED = Leading()
"""Practice by reward alone."""

MAX_ROLLBACKS = 3
"""How often a stage with ``on_nan: rollback`` halves its step size before it gives up."""


def train_ppo(
    context: TrainingContext,
    start: Checkpoint,
    settings: PPOSettings,
    *,
    updates: int | None = None,
    bc_weight: Callable[[int], float] | None = None,
    leading: Leading = UNLED,
    social_stage: str = "OFF",
    telemetry: Mapping[str, MetricValue] | None = None,
) -> StageOutcome:
    """Practises for a number of updates, each a rollout and its optimisation.

    The same function whether it is a whole run or one stage: it goes on exactly where ``start``
    stands (weights, Adam, statistics, lanes, generators), also in the middle of a stage.

    Args:
        context: the run's surroundings.
        start: where to go on from.
        settings: of PPO; a stage's overrides are already in it.
        updates: length of the stage; None: ``settings.updates``.
        bc_weight: weight of the demonstrations' loss at each update of the stage, from 0 on;
            None: practice alone.
        leading: prior and guide.
        social_stage: social rewards in force.
        telemetry: constants added to every update's metrics.

    Raises:
        UserError: the policy, the environment and the demonstrations do not fit together, or
            the device is absent.
        TrainingError: something was not finite, naming it, the update and the minibatch; with
            ``on_nan: rollback`` only after three halvings of the step size.
    """
    require_same_spec(start, context.lane_spec)
    torch.set_num_threads(context.settings.runtime.torch_threads)
    device = resolve_device(context.settings.runtime.device)
    with context.spans.span("data"):
        play, start = recorded_play(context, settings, start, device)
    count = settings.updates if updates is None else updates
    stage = PracticeStage(
        context=context,
        settings=settings,
        keeper=Keeper(context, start, count, keep_all=settings.on_nan == "rollback"),
        bc_weight=bc_weight,
        leading=leading,
        social_stage=social_stage,
        telemetry=telemetry or {},
        device=device,
        start=start,
        play=play,
    )
    env = None
    if settings.data_mode != "replay":
        env = context.make_env(settings.worlds, social_stage)
    try:
        with traced(context.trace, max(1, count)) as traced_one, stage.keeper.rescue():
            outcome = _practise(stage, env, traced_one)
    finally:
        if env is not None:
            env.close()
    return outcome


def _practise(
    stage: PracticeStage, env: LaneEnv | None, traced_one: Callable[[], None]
) -> StageOutcome:
    """The training loop."""
    began = time.perf_counter()
    context, settings = stage.context, stage.settings
    course, keeper = PracticeCourse.of(stage.start), stage.keeper
    counters = {"ppo_epochs": 0, "replayed": 0, **stage.start.state["counters"]}
    practice = stage.resume(env, stage.start)
    demonstrations: DemonstrationTensors | None = None
    guidance = Guidance.prepare(context, stage.start, settings, stage.leading, env)
    ended_early: str | None = None
    while course.done < keeper.count:
        if keeper.asked_to_stop():
            keeper.stop(stage.state(practice, course, counters))
        clock = UpdateClock()
        coefficients = stage.coefficients(course)
        if coefficients.bc_weight > 0.0 and demonstrations is None:
            demonstrations = stage.demonstrations(practice)
        try:
            gathered = _gathered(stage, practice, guidance, course, coefficients)
            clock.collected()
            if ended_early := _too_stale(gathered, settings, course):
                break
            _count(gathered, course, counters)
            figures = _optimised(stage, practice, gathered, coefficients, demonstrations, guidance)
        except NotFiniteError as error:
            course = _rolled_back(error, settings, course, keeper.good)
            practice = stage.resume(env, keeper.good)
            continue
        except TrainingError as error:
            raise TrainingError(f"update {course.done + 1}: {error}") from error
        clock.optimised()

        metrics = stage.metrics(env, gathered, figures, coefficients)
        metrics |= guidance.metrics(gathered.rollout, figures, coefficients.kl_weight)
        metrics |= _counted(figures, counters) | clock.metrics(gathered.env_steps, figures)
        course.record(
            metrics, own_loss(metrics, coefficients), _episode_returns(gathered), keeper.count
        )
        emit_update(context, env, metrics, gathered, figures, coefficients, clock)
        context.progress.advance(course.done, keeper.count, **shown(metrics))
        if keeper.wants(course.done, clock.collect_seconds + clock.update_seconds):
            keeper.keep(course.done, stage.state(practice, course, counters))
        traced_one()
    seconds = time.perf_counter() - began
    return _outcome(practice, stage, course, counters, seconds, ended_early)


def _gathered(
    stage: PracticeStage,
    practice: Practice,
    guidance: Guidance,
    course: PracticeCourse,
    coefficients: Coefficients,
) -> Gathered:
    return gather(
        practice,
        stage.play,
        stage.settings,
        stage.context.seeds["act"],
        stage.context.spans,
        guide=guidance.guide_at(course.done, stage.keeper.count),
        prior=guidance.prior,
        # Whitening is part of the policy, which must stay as it is while the critic learns.
        learn_statistics=not coefficients.critic_only,
    )


def _optimised(
    stage: PracticeStage,
    practice: Practice,
    gathered: Gathered,
    coefficients: Coefficients,
    demonstrations: DemonstrationTensors | None,
    guidance: Guidance,
) -> UpdateFigures:
    seeds = stage.context.seeds
    with stage.context.spans.span("update"):
        return optimise(
            practice.network,
            practice.optimizer,
            gathered.batch,
            stage.settings,
            coefficients,
            minibatch_rng=seeds["minibatch"],
            demonstrations=as_the_policy_sees(demonstrations, practice),
            demonstration_rng=seeds["demonstration_minibatch"],
            prior_log_std=guidance.prior_log_std(stage.device),
        )


def _too_stale(gathered: Gathered, settings: PPOSettings, course: PracticeCourse) -> str | None:
    """Returns why recorded play has become too old to go on; raises if it was from the start."""
    reason = gathered.stale(settings)
    if reason is None:
        return None
    if course.done == 0:
        raise TrainingError(
            f"{reason}: recorded play as old as this cannot be learned from; record anew, or "
            "raise the limit"
        )
    _LOG.warning("the stage ends after %d updates: %s", course.done, reason)
    return reason


def _count(gathered: Gathered, course: PracticeCourse, counters: dict[str, int]) -> None:
    counters["env_steps"] += gathered.env_steps
    if gathered.rollout is None:
        counters["replayed"] += len(gathered.batch)
    course.transitions += gathered.env_steps or len(gathered.batch)


def _counted(figures: UpdateFigures, counters: dict[str, int]) -> dict[str, MetricValue]:
    """Counts an update, and returns what its metrics say of the whole run."""
    counters["ppo_updates"] += 1
    counters["ppo_epochs"] += figures.epochs
    return {
        "epoch": counters["ppo_epochs"],
        "updates": counters["ppo_updates"],
        "steps": counters["env_steps"] + counters["replayed"],
    }


def _episode_returns(gathered: Gathered) -> NDArray[np.float64]:
    return np.zeros(0) if gathered.rollout is None else gathered.rollout.episode_returns


def _rolled_back(
    error: NotFiniteError, settings: PPOSettings, course: PracticeCourse, good: Checkpoint
) -> PracticeCourse:
    """Returns the course of the last good update at half the step size, or raises."""
    rollbacks = course.rollbacks
    message = f"update {course.done + 1}: {error}"
    if settings.on_nan == "raise":
        raise NotFiniteError(message) from error
    if rollbacks == MAX_ROLLBACKS:
        raise NotFiniteError(f"{message}; {rollbacks} rollbacks did not help") from error
    return replace(
        PracticeCourse.of(good),
        transitions=course.transitions,
        rollbacks=rollbacks + 1,
        learning_rate_scale=course.learning_rate_scale / 2.0,
    )


def _outcome(
    practice: Practice,
    stage: PracticeStage,
    course: PracticeCourse,
    counters: Mapping[str, int],
    seconds: float,
    ended_early: str | None,
) -> StageOutcome:
    checkpoint = practice.checkpoint(
        stage.start,
        stage.context.seeds,
        counters=dict(counters),
        schedule=finished_schedule(stage.start),
    )
    if checkpoint.part("replay"):
        checkpoint = checkpoint.with_parts({"replay": {}}, replay=None)
    result = PPOTrainingResult(
        data_mode=stage.settings.data_mode,
        updates=course.done,
        transitions=course.transitions,
        steps=counters["env_steps"],
        last_update=course.last_update,
        loss_total_mean=course.loss_total_mean,
        episode_return_mean=course.episode_return_mean,
        device=str(stage.device),
        duration_sec=seconds,
        weights_digest=checkpoint.digest("policy"),
        ended_early=ended_early,
    )
    return StageOutcome(result=result, checkpoint=checkpoint)
