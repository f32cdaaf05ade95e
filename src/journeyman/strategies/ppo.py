"""Practice: proximal policy optimisation (Schulman et al. 2017), demonstrations beside it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from journeyman.checkpoint import Checkpoint
from journeyman.context import MetricValue, TrainingContext
from journeyman.env.protocol import LaneEnv
from journeyman.errors import TrainingError
from journeyman.learning.demonstrations import (
    DemonstrationTensors,
    check_demonstrations,
    split_rows,
)
from journeyman.learning.devices import resolve_device
from journeyman.learning.gae import Advantages, generalised_advantages
from journeyman.learning.policy import require_same_spec
from journeyman.learning.practice import Practice, PracticeCourse, finished_schedule
from journeyman.learning.rollout import Rollout
from journeyman.learning.telemetry import UpdateClock, update_metrics
from journeyman.learning.update import Coefficients, PracticeBatch, UpdateFigures, optimise
from journeyman.results import PPOTrainingResult
from journeyman.settings.schedule import value_at
from journeyman.settings.strategy import PPOSettings
from journeyman.strategies.base import StageOutcome

SHOWN = ("episode_return_mean", "kl_divergence", "env_steps_per_sec")

MAX_ROLLBACKS = 3
"""How often a stage with ``on_nan: rollback`` halves its step size before it gives up."""


def train_ppo(
    context: TrainingContext,
    start: Checkpoint,
    settings: PPOSettings,
    *,
    updates: int | None = None,
    bc_weight: Callable[[int], float] | None = None,
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
    stage = _Stage(
        context=context,
        settings=settings,
        count=settings.updates if updates is None else updates,
        bc_weight=bc_weight,
        social_stage=social_stage,
        telemetry=telemetry or {},
        device=resolve_device(context.settings.runtime.device),
        start=start,
    )
    env = context.make_env(settings.worlds, social_stage)
    try:
        return _practise(stage, env)
    finally:
        env.close()


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """What stays the same from one update of a stage to the next."""

    context: TrainingContext
    settings: PPOSettings
    count: int
    bc_weight: Callable[[int], float] | None
    social_stage: str
    telemetry: Mapping[str, MetricValue]
    device: torch.device
    start: Checkpoint


def _practise(stage: _Stage, env: LaneEnv) -> StageOutcome:
    """The training loop."""
    began = time.perf_counter()
    context, settings, seeds = stage.context, stage.settings, stage.context.seeds
    course, good = PracticeCourse.of(stage.start), stage.start
    counters = {"ppo_epochs": 0, **stage.start.state["counters"]}
    practice = _resume(stage, env, good)
    demonstrations: DemonstrationTensors | None = None
    while course.done < stage.count:
        context.should_stop()
        clock = UpdateClock()
        coefficients = _coefficients(stage, course)
        if coefficients.bc_weight > 0.0 and demonstrations is None:
            demonstrations = _demonstrations(stage, practice)
        try:
            rollout = practice.collector.collect(seeds["act"])
            clock.collected()
            counters["env_steps"] += rollout.log_probs.size
            course.transitions += rollout.log_probs.size
            advantages = _advantages(rollout, settings)
            figures = optimise(
                practice.network,
                practice.optimizer,
                PracticeBatch.of(rollout, advantages, stage.device),
                settings,
                coefficients,
                minibatch_rng=seeds["minibatch"],
                demonstrations=_as_the_policy_sees(demonstrations, practice),
                demonstration_rng=seeds["demonstration_minibatch"],
            )
        except TrainingError as error:
            course = _rolled_back(error, settings, course, good)
            practice = _resume(stage, env, good)
            continue
        clock.optimised()

        counters["ppo_updates"] += 1
        counters["ppo_epochs"] += figures.epochs
        metrics = _metrics(stage, env, rollout, advantages, figures, coefficients)
        metrics |= {"epoch": counters["ppo_epochs"], "updates": counters["ppo_updates"]}
        metrics |= {"steps": counters["env_steps"], **clock.metrics(rollout, figures)}
        course.record(metrics, rollout.episode_returns, stage.count)
        _emit(context, env, metrics, rollout, figures, coefficients, clock)
        context.progress.advance(course.done, stage.count, **_shown(metrics))
        good = _kept(practice, stage, course, counters) or good
    return _outcome(practice, stage, course, counters, time.perf_counter() - began)


def _resume(stage: _Stage, env: LaneEnv, checkpoint: Checkpoint) -> Practice:
    return Practice.resume(
        checkpoint,
        env,
        stage.settings,
        stage.context.seeds,
        stage.device,
        social_stage=stage.social_stage,
    )


def _coefficients(stage: _Stage, course: PracticeCourse) -> Coefficients:
    settings, index, count = stage.settings, course.done, stage.count
    learning_rate = value_at(settings.learning_rate, index, count)
    return Coefficients(
        learning_rate=learning_rate * course.learning_rate_scale,
        clip=value_at(settings.clip, index, count),
        entropy_coef=value_at(settings.entropy_coef, index, count),
        bc_weight=0.0 if stage.bc_weight is None else stage.bc_weight(index),
        critic_only=index < settings.critic_warmup,
    )


def _demonstrations(stage: _Stage, practice: Practice) -> DemonstrationTensors:
    """Loads what the demonstrations' loss draws from: never what imitation holds out."""
    demonstrations = stage.context.demonstrations()
    check_demonstrations(demonstrations, practice.env.lane_spec)
    rows = np.arange(len(demonstrations.actions))
    held_out = stage.start.state.get("held_out")
    if held_out is not None:
        seed = stage.context.seeds.integer("split")
        rows, _ = split_rows(demonstrations, held_out["val_fraction"], seed)
    return DemonstrationTensors.from_rows(
        demonstrations, rows, needs_map=practice.network.needs_map, device=stage.device
    )


def _as_the_policy_sees(
    demonstrations: DemonstrationTensors | None, practice: Practice
) -> DemonstrationTensors | None:
    features = practice.collector.normalizer.features
    if demonstrations is None or features is None:
        return demonstrations
    return demonstrations.whitened(features.whitening)


def _advantages(rollout: Rollout, settings: PPOSettings) -> Advantages:
    return generalised_advantages(
        rollout.rewards,
        rollout.values,
        rollout.next_values,
        rollout.terminated,
        rollout.truncated,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
    )


def _rolled_back(
    error: TrainingError, settings: PPOSettings, course: PracticeCourse, good: Checkpoint
) -> PracticeCourse:
    """Returns the course of the last good update at half the step size, or raises."""
    rollbacks = course.rollbacks
    message = f"update {course.done + 1}: {error}"
    if settings.on_nan == "raise":
        raise TrainingError(message) from error
    if rollbacks == MAX_ROLLBACKS:
        raise TrainingError(f"{message}; {rollbacks} rollbacks did not help") from error
    return replace(
        PracticeCourse.of(good),
        transitions=course.transitions,
        rollbacks=rollbacks + 1,
        learning_rate_scale=course.learning_rate_scale / 2.0,
    )


def _metrics(
    stage: _Stage,
    env: LaneEnv,
    rollout: Rollout,
    advantages: Advantages,
    figures: UpdateFigures,
    coefficients: Coefficients,
) -> dict[str, MetricValue]:
    metrics = update_metrics(
        rollout,
        advantages,
        figures,
        event_names=env.event_names,
        learning_rate=coefficients.learning_rate,
    )
    if stage.bc_weight is not None:
        metrics["anneal_bc_weight"] = coefficients.bc_weight
    if coefficients.bc_weight > 0.0 and not coefficients.critic_only:
        metrics["loss_bc"] = float(figures.column("loss_bc").mean())
    return metrics | dict(stage.telemetry)


def _emit(
    context: TrainingContext,
    env: LaneEnv,
    metrics: Mapping[str, MetricValue],
    rollout: Rollout,
    figures: UpdateFigures,
    coefficients: Coefficients,
    clock: UpdateClock,
) -> None:
    step = int(metrics["steps"])
    context.emit("ppo", metrics, step)
    reward_terms = (rollout.reward_terms / rollout.log_probs.size).tolist()
    context.emit("reward", dict(zip(env.reward_term_names, reward_terms, strict=True)), step)
    context.emit(
        "optimisation",
        {
            "epochs": figures.epochs,
            "kl_signed": float(figures.column("kl_signed").mean()),
            "critic_only": coefficients.critic_only,
        },
        step,
    )
    times: dict[str, MetricValue] = {
        "collect_sec": clock.collect_seconds,
        "env_sec": rollout.env_seconds,
        "update_sec": clock.update_seconds,
        "env_steps_per_sec": metrics["env_steps_per_sec"],
    }
    context.emit("time", times, step)


def _shown(metrics: Mapping[str, MetricValue]) -> dict[str, float]:
    """Returns the figures that the progress line has room for."""
    return {name: float(metrics[name]) for name in SHOWN if name in metrics}


def _kept(
    practice: Practice, stage: _Stage, course: PracticeCourse, counters: Mapping[str, int]
) -> Checkpoint | None:
    """Returns the state after an update if it is needed, and saves it if that is due."""
    due = course.done % stage.context.settings.checkpoint.every == 0 and course.done < stage.count
    if not due and stage.settings.on_nan != "rollback":
        return None
    schedule = course.schedule(stage.start)
    checkpoint = practice.checkpoint(
        stage.start, stage.context.seeds, counters=dict(counters), schedule=schedule
    )
    if due:
        stage.context.save(checkpoint)
    return checkpoint


def _outcome(
    practice: Practice,
    stage: _Stage,
    course: PracticeCourse,
    counters: Mapping[str, int],
    seconds: float,
) -> StageOutcome:
    checkpoint = practice.checkpoint(
        stage.start,
        stage.context.seeds,
        counters=dict(counters),
        schedule=finished_schedule(stage.start),
    )
    result = PPOTrainingResult(
        updates=course.done,
        transitions=course.transitions,
        steps=counters["env_steps"],
        last_update=course.last_update,
        loss_total_mean=course.loss_total_mean,
        episode_return_mean=course.episode_return_mean,
        device=str(stage.device),
        duration_sec=seconds,
        weights_digest=checkpoint.digest("policy"),
    )
    return StageOutcome(result=result, checkpoint=checkpoint)
