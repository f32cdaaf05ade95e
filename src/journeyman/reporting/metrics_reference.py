"""The part of the metrics reference that is generated: the fields of telemetry 1.2.

    python -m journeyman.reporting.metrics_reference docs/metrics.md

Meanings come from the schema that every ``ppo`` line is checked against; units and which way is
good are added here. Everything else in ``docs/metrics.md`` is written by hand.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from journeyman.reporting.schema_tables import prose
from journeyman.tracking.telemetry import PPOUpdateMetrics

COMMAND = "python -m journeyman.reporting.metrics_reference docs/metrics.md"
BEGIN = "<!-- telemetry: generated from journeyman.tracking.telemetry -->"
END = "<!-- end of telemetry -->"

FULLER = {
    "transitions": "Transitions this update learned from: of the rollout, of recorded play, or of "
    "both; idle steps are none.",
    "steps": "Environment steps of the whole run so far; where nobody plays (`data_mode: replay`), "
    "recorded ones, counted again each update.",
    "rollout_ticks": "Steps of each lane in the rollout; of the longest recorded trajectory where "
    "nobody plays.",
    "adv_mean": "Mean advantage before normalisation (after it, where that is over the batch).",
    "adv_std": "Standard deviation of the advantages, likewise.",
    "reward_advantage_corr": "Correlation of a step's reward with its advantage; absent where "
    "either does not vary.",
    "queue_conflict_events": "Conflicts in queues during the rollout, all worlds together, as "
    "all events here.",
    "conflict.rivalry_avoid_count_mean_avg": "Mean over lanes and steps of the observed count of "
    "rivals avoided, a tenth each.",
    "anneal_bc_accuracy": "Held-out accuracy on decision steps after the last imitation stage; "
    "of continuous actions the share of their variance explained.",
    "explained_variance": "Share of the returns' variance that the value function foresaw; "
    "absent where returns do not vary.",
    "episode_return_mean": "Mean return of the lanes' episodes that ended in the rollout, before "
    "any normalisation; absent where none did.",
}
"""Meanings where a reader needs to know more than the schema says."""

READING = {
    "epoch": "passes | -",
    "updates": "updates | -",
    "transitions": "transitions | -",
    "steps": "transitions | -",
    "loss_policy": "- | none: it compares minibatches, not updates",
    "loss_value": "squared return units | lower, at one scale of returns",
    "loss_entropy": "nats | -",
    "loss_total": "- | none: its targets move",
    "clip_fraction": "share | small: over 0.3 the updates are too long",
    "adv_mean": "return units | near 0",
    "adv_std": "return units | over 0",
    "grad_norm": "- | steady",
    "kl_divergence": "nats | small, not 0; see `guard/kl`",
    "lr": "- | -",
    "telemetry_version": "words | -",
    "adv_zero_std_batches": "minibatches | 0",
    "adv_min_std": "return units | over 0",
    "clip_triggered_minibatches": "minibatches | -",
    "clip_fraction_max": "share | small",
    "epoch_duration_sec": "s | lower",
    "data_mode": "words | -",
    "cycle_id": "- | -",
    "batch_entropy_mean": "nats | falls slowly; at 0 nothing is tried any more",
    "batch_entropy_std": "nats | -",
    "grad_norm_max": "- | steady",
    "kl_divergence_max": "nats | small",
    "reward_advantage_corr": "[-1, 1] | -",
    "rollout_ticks": "steps | -",
    "log_stream_offset": "lines | -",
    "queue_conflict_events": "events | lower",
    "queue_conflict_intensity_sum": "intensity | lower",
    "shared_meal_events": "events | higher",
    "late_help_events": "events | -",
    "shift_takeover_events": "events | lower",
    "chat_success_events": "events | higher",
    "chat_failure_events": "events | lower",
    "chat_quality_mean": "[0, 1] | higher",
    "conflict.rivalry_max_mean_avg": "[0, 1] | lower",
    "conflict.rivalry_max_max_avg": "[0, 1] | lower",
    "conflict.rivalry_avoid_count_mean_avg": "[0, 1] | -",
    "conflict.rivalry_avoid_count_max_avg": "[0, 1] | -",
    "baseline_sample_count": "trajectories | -",
    "baseline_reward_mean": "reward | -",
    "baseline_reward_sum": "reward | -",
    "baseline_reward_sum_mean": "reward | -",
    "baseline_log_prob_mean": "nats | -",
    "replay_kl": "nats | under `max_replay_kl`",
    "replay_effective_sample_share": "share | near 1",
    "anneal_cycle": "- | -",
    "anneal_stage": "words | -",
    "anneal_dataset": "words | -",
    "anneal_bc_accuracy": "share | higher",
    "anneal_bc_threshold": "share | -",
    "anneal_bc_passed": "0, 1 | 1",
    "anneal_loss_baseline": "- | -",
    "anneal_queue_baseline": "per 1000 agent-ticks | -",
    "anneal_intensity_baseline": "per 1000 agent-ticks | -",
    "anneal_loss_flag": "0, 1 | 0",
    "anneal_queue_flag": "0, 1 | 0",
    "anneal_intensity_flag": "0, 1 | 0",
    "anneal_bc_weight": "[0, 1] | -",
    "anneal_kl_weight": "- | -",
    "anneal_guide_ratio": "share | -",
    "loss_bc": "nats | lower",
    "kl_to_prior": "nats | -",
    "value_rmse": "return units | lower, at one scale of returns",
    "explained_variance": "up to 1 | higher: 1 a perfect critic, 0 or less none",
    "episode_return_mean": "return | higher",
    "episode_length_mean": "steps | -",
    "env_steps_per_sec": "1/s | higher",
    "update_samples_per_sec": "1/s | higher",
}
"""Unit, and which way is good, of every field by the name it is logged under."""


def telemetry_names() -> tuple[str, ...]:
    """Returns the names of all fields as they are logged."""
    return tuple(field.alias or name for name, field in PPOUpdateMetrics.model_fields.items())


def telemetry_tables() -> str:
    """Returns the table of what an update's line holds."""
    return "\n".join(_table(telemetry_names()))


def with_telemetry(text: str) -> str:
    """Returns the text of ``docs/metrics.md`` with its generated part as it should be now.

    Raises:
        ValueError: the text lacks the marks around that part.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{telemetry_tables()}\n\n{END}{after}"


def _table(names: Iterable[str]) -> Iterator[str]:
    described = {
        field.alias or name: field.description or ""
        for name, field in PPOUpdateMetrics.model_fields.items()
    }
    yield from ("| metric | meaning | unit | good |", "|---|---|---|---|")
    for name in names:
        meaning = prose(FULLER.get(name, described[name]))
        yield f"| `ppo/{name}` | {meaning} | {READING[name]} |"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_telemetry(path.read_text()))
