"""What the tracker and the progress line are told of an update."""

from collections.abc import Mapping

from journeyman.context import MetricValue, TrainingContext
from journeyman.env.protocol import LaneEnv
from journeyman.learning.gathering import Gathered
from journeyman.learning.telemetry import UpdateClock
from journeyman.learning.update import Coefficients, UpdateFigures

SHOWN = ("episode_return_mean", "kl_divergence", "env_steps_per_sec")


def emit_update(
    context: TrainingContext,
    env: LaneEnv | None,
    metrics: Mapping[str, MetricValue],
    gathered: Gathered,
    figures: UpdateFigures,
    coefficients: Coefficients,
    clock: UpdateClock,
) -> None:
    """Hands an update's telemetry, rewards, losses and durations to the tracker."""
    step, rollout = int(metrics["steps"]), gathered.rollout
    context.emit("ppo", metrics, step)
    times: dict[str, MetricValue] = {
        "collect_sec": clock.collect_seconds,
        "update_sec": clock.update_seconds,
    }
    if rollout is not None and env is not None:
        terms = (rollout.reward_terms / rollout.transitions).tolist()
        context.emit("reward", dict(zip(env.reward_term_names, terms, strict=True)), step)
        times["env_sec"] = rollout.env_seconds
        times["env_steps_per_sec"] = metrics["env_steps_per_sec"]
    context.emit(
        "optimisation",
        {
            "epochs": figures.epochs,
            "kl_signed": float(figures.column("kl_signed").mean()),
            "critic_only": coefficients.critic_only,
        },
        step,
    )
    context.emit("time", times, step)


def shown(metrics: Mapping[str, MetricValue]) -> dict[str, float]:
    """Returns the figures that the progress line has room for."""
    return {name: float(metrics[name]) for name in SHOWN if name in metrics}
