"""One update's figures under the names of telemetry 1.2.

Legend: T steps, L lanes, B samples, E event kinds.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from journeyman.learning.gae import Advantages
from journeyman.learning.rollout import Rollout
from journeyman.learning.update import UpdateFigures

TELEMETRY_VERSION = "1.2"

EVENT_COUNTS = {
    "queue_conflict": "queue_conflict_events",
    "shared_meal": "shared_meal_events",
    "late_help": "late_help_events",
    "shift_takeover": "shift_takeover_events",
    "chat_success": "chat_success_events",
    "chat_failure": "chat_failure_events",
}
"""Event of an environment -> metric; left out where an environment has no such event."""

MetricValue = float | int | bool | str


class UpdateClock:
    """Where an update's wall time went; it starts when it is made."""

    def __init__(self) -> None:
        self._began = self._collected = self._optimised = time.perf_counter()

    def collected(self) -> None:
        """Marks the rollout's end."""
        self._collected = time.perf_counter()

    def optimised(self) -> None:
        """Marks the optimisation's end."""
        self._optimised = time.perf_counter()

    @property
    def collect_seconds(self) -> float:
        """The rollout's duration."""
        return self._collected - self._began

    @property
    def update_seconds(self) -> float:
        """The optimisation's duration, advantages included."""
        return self._optimised - self._collected

    def metrics(self, env_steps: int, figures: UpdateFigures) -> dict[str, MetricValue]:
        """Returns the durations and rates that are part of an update's telemetry.

        Args:
            env_steps: transitions of the rollout; 0: there was none, and there is no rate.
            figures: what the optimisation reported.
        """
        seconds = self.collect_seconds + self.update_seconds
        rates: dict[str, MetricValue] = {
            "epoch_duration_sec": seconds,
            "update_samples_per_sec": figures.samples / figures.seconds,
        }
        if env_steps:
            rates["env_steps_per_sec"] = env_steps / seconds
        return rates


class Learned(NamedTuple):
    """What an update learned from, sample by sample, idle steps left out.

    Attributes:
        rewards: (B,) float32.
        values: (B,) float32, at the time of the rollout.
        advantages: (B,) float32.
        returns: (B,) float32.
    """

    rewards: NDArray[np.float32]
    values: NDArray[np.float32]
    advantages: NDArray[np.float32]
    returns: NDArray[np.float32]

    @classmethod
    def of(cls, rollout: Rollout, advantages: Advantages) -> "Learned":
        """Returns a rollout's."""
        columns = (rollout.rewards, rollout.values, *advantages)
        if rollout.idle is None:
            return cls(*(column.ravel() for column in columns))
        return cls(*(column[~rollout.idle] for column in columns))


def update_metrics(
    figures: UpdateFigures,
    learned: Learned,
    *,
    learning_rate: float,
    data_mode: str,
    ticks: int,
) -> dict[str, MetricValue]:
    """Returns what an update measured; counters of the run are the caller's to add.

    Figures of minibatches are means over all of them. What is undefined (a correlation with
    something constant) is left out.

    Args:
        figures: what the minibatches reported.
        learned: what they were drawn from.
        learning_rate: step size of the optimiser.
        data_mode: as the settings say.
        ticks: steps of a lane, of the longest one where they differ.
    """
    column = figures.column
    entropies, norms, kls = column("entropy"), column("grad_norm"), column("kl_divergence")
    metrics: dict[str, MetricValue] = {
        "transitions": len(learned.rewards),
        **{
            name: float(column(name).mean())
            for name in ("loss_policy", "loss_value", "loss_entropy", "loss_total")
        },
        "clip_fraction": float(column("clip_fraction").mean()),
        "adv_mean": float(column("adv_mean").mean()),
        "adv_std": float(column("adv_std").mean()),
        "grad_norm": float(norms.mean()),
        "kl_divergence": float(kls.mean()),
        "lr": learning_rate,
        "telemetry_version": TELEMETRY_VERSION,
        "adv_zero_std_batches": int(column("adv_zero_std").sum()),
        "adv_min_std": float(column("adv_std").min()),
        "clip_triggered_minibatches": int((column("clip_fraction") > 0.0).sum()),
        "clip_fraction_max": float(column("clip_fraction").max()),
        "data_mode": data_mode,
        "batch_entropy_mean": float(entropies.mean()),
        "batch_entropy_std": float(entropies.std()),
        "grad_norm_max": float(norms.max()),
        "kl_divergence_max": float(kls.max()),
        "rollout_ticks": ticks,
        "value_rmse": root_mean_squared(learned.values - learned.returns),
    }
    optional = {
        "reward_advantage_corr": correlation(learned.rewards, learned.advantages),
        "explained_variance": explained_variance(learned.values, learned.returns),
    }
    return metrics | {name: value for name, value in optional.items() if value is not None}


def rollout_metrics(rollout: Rollout, event_names: Sequence[str]) -> dict[str, MetricValue]:
    """Returns what happened in a rollout; return and length of no episode are left out."""
    metrics = event_metrics(rollout, event_names) | _watched_metrics(rollout)
    if len(rollout.episode_returns):
        metrics["episode_return_mean"] = float(rollout.episode_returns.mean())
        metrics["episode_length_mean"] = float(rollout.episode_lengths.mean())
    return metrics


def event_metrics(rollout: Rollout, event_names: Sequence[str]) -> dict[str, MetricValue]:
    """Returns counts and magnitudes of the rollout's events, as far as there are such events."""
    sums = {name: float(total) for name, total in zip(event_names, rollout.events, strict=True)}
    metrics: dict[str, MetricValue] = {
        metric: round(sums[event]) for event, metric in EVENT_COUNTS.items() if event in sums
    }
    if "queue_conflict_intensity" in sums:
        metrics["queue_conflict_intensity_sum"] = sums["queue_conflict_intensity"]
    if "chat_quality" in sums and sums.get("chat_success", 0.0) > 0.0:
        metrics["chat_quality_mean"] = sums["chat_quality"] / sums["chat_success"]
    return metrics


def _watched_metrics(rollout: Rollout) -> dict[str, MetricValue]:
    """A lane's mean and maximum over the rollout, each averaged over lanes.

    A lane that was idle throughout is left out.
    """
    metrics: dict[str, MetricValue] = {}
    real_TL = None if rollout.idle is None else ~rollout.idle
    for name, values_TL in rollout.watched.items():
        if real_TL is None:
            means_L, maxima_L = values_TL.mean(axis=0, dtype=np.float64), values_TL.max(axis=0)
        else:
            steps_L = real_TL.sum(axis=0)
            some = steps_L > 0
            sums_L = values_TL.sum(axis=0, dtype=np.float64, where=real_TL)
            means_L = sums_L[some] / steps_L[some]
            maxima_L = values_TL.max(axis=0, initial=-np.inf, where=real_TL)[some]
        metrics[f"conflict.{name}_mean_avg"] = float(means_L.mean())
        metrics[f"conflict.{name}_max_avg"] = float(maxima_L.mean(dtype=np.float64))
    return metrics


def explained_variance(values: NDArray[np.float32], returns: NDArray[np.float32]) -> float | None:
    """Returns ``1 - Var(returns - values) / Var(returns)``; None where returns do not vary."""
    variance = float(returns.var(dtype=np.float64))
    if variance < 1e-12:
        return None
    return 1.0 - float((returns - values).var(dtype=np.float64)) / variance


def root_mean_squared(errors: NDArray[np.float32]) -> float:
    """Returns ``sqrt(mean(errors ** 2))``."""
    return float(np.sqrt(np.square(errors, dtype=np.float64).mean()))


def correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float | None:
    """Returns Pearson's correlation in [-1, 1]; None where one side does not vary."""
    x = first.ravel() - first.mean(dtype=np.float64)
    y = second.ravel() - second.mean(dtype=np.float64)
    scale = float(np.sqrt(np.square(x).mean() * np.square(y).mean()))
    if scale < 1e-12:
        return None
    return float(np.clip((x * y).mean() / scale, -1.0, 1.0))
