"""The lines of ``metrics.jsonl``: telemetry 1.2 of a PPO update, and the check of any line.

Counts are ints, flags are bools. A field that only exists inside an anneal, only in the town or
only where it is defined is absent elsewhere, never null.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from journeyman.tracking.values import finite

TELEMETRY_VERSION = "1.2"
ENVELOPE = ("group", "step", "time")
"""Keys of every line besides its metrics and ``log_stream_offset``."""

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]


class PPOUpdateMetrics(BaseModel):
    """One update of PPO: a rollout and its optimisation (group ``ppo``)."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    # Base
    epoch: Count
    """Passes over rollouts made so far, this update's included."""
    updates: Count
    """Updates made so far, this one included."""
    transitions: Count
    """Transitions this update learned from."""
    steps: Count
    """Environment steps of the whole run so far."""
    loss_policy: float
    """Clipped surrogate, mean over all minibatches of the update, as every figure here."""
    loss_value: float
    """Value loss, before its coefficient."""
    loss_entropy: float
    """The policy's mean entropy with its sign turned, before its coefficient; of the states in
    which it acted itself, and not a guide."""
    loss_total: float
    """What was minimised: all terms with their coefficients."""
    clip_fraction: Share
    """Share of ratios outside the clip range."""
    adv_mean: float
    """Mean advantage before normalisation."""
    adv_std: NonNegative
    """Standard deviation of the advantages before normalisation."""
    grad_norm: NonNegative
    """Global norm before clipping."""
    kl_divergence: float
    """``mean((r - 1) - log r)`` of new against old policy, in nats."""
    lr: NonNegative
    """Step size of the optimiser in this update."""
    telemetry_version: Literal["1.2"]
    """Version of this schema."""

    # Advantage health
    adv_zero_std_batches: Count
    """Minibatches whose advantages had a deviation below 1e-8; these are not normalised."""
    adv_min_std: NonNegative
    """Smallest deviation of the advantages in any minibatch."""
    clip_triggered_minibatches: Count
    """Minibatches in which at least one ratio was clipped."""
    clip_fraction_max: Share
    """Largest clip fraction of any minibatch."""

    # 1.1
    epoch_duration_sec: NonNegative
    """Seconds of the whole update: rollout and optimisation together."""
    data_mode: Literal["rollout", "replay", "mixed"] | None = None
    """Where the transitions came from."""
    cycle_id: int | None = None
    """Number of the cycle in a schedule."""
    batch_entropy_mean: float
    """Mean over minibatches of their mean entropy, in nats; of all states, whoever acted there."""
    batch_entropy_std: NonNegative
    """Deviation over minibatches of their mean entropy, in nats."""
    grad_norm_max: NonNegative
    """Largest norm of any minibatch, before clipping."""
    kl_divergence_max: float
    """Largest ``kl_divergence`` of any minibatch."""
    reward_advantage_corr: Annotated[float, Field(ge=-1.0, le=1.0)] | None = None
    """Absent where rewards or advantages do not vary."""
    rollout_ticks: Count
    """Steps of each lane in the rollout."""
    log_stream_offset: Count
    """Running number of the line over the run, resumptions included."""
    queue_conflict_events: Count | None = None
    """Events of the rollout, all worlds together (town only, as all events below)."""
    queue_conflict_intensity_sum: NonNegative | None = None
    """Sum of the conflicts' intensities."""
    shared_meal_events: Count | None = None
    """Meals eaten in company."""
    late_help_events: Count | None = None
    """Times one agent helped another that was late."""
    shift_takeover_events: Count | None = None
    """Shifts taken over from another agent."""
    chat_success_events: Count | None = None
    """Chats that went well."""
    chat_failure_events: Count | None = None
    """Chats that failed."""
    chat_quality_mean: float | None = None
    """Mean quality of the successful chats; absent without any."""
    rivalry_max_mean_avg: float | None = Field(default=None, alias="conflict.rivalry_max_mean_avg")
    """Mean over lanes of the mean over the rollout of an agent's strongest rivalry."""
    rivalry_max_max_avg: float | None = Field(default=None, alias="conflict.rivalry_max_max_avg")
    """Mean over lanes of its maximum over the rollout."""
    rivalry_avoid_count_mean_avg: float | None = Field(
        default=None, alias="conflict.rivalry_avoid_count_mean_avg"
    )
    """Mean over lanes of the mean count of rivals avoided."""
    rivalry_avoid_count_max_avg: float | None = Field(
        default=None, alias="conflict.rivalry_avoid_count_max_avg"
    )
    """Mean over lanes of its maximum over the rollout."""
    baseline_sample_count: Count | None = None
    """Trajectories of the recorded play; ``baseline_*`` and ``replay_*`` only where there is."""
    baseline_reward_mean: float | None = None
    """Mean reward a step."""
    baseline_reward_sum: float | None = None
    """Sum of all rewards."""
    baseline_reward_sum_mean: float | None = None
    """Mean over trajectories of their summed reward."""
    baseline_log_prob_mean: float | None = None
    """Mean log-probability of the recorded actions."""
    replay_kl: NonNegative | None = None
    """How far the policy was, before the update, from the one that acted in recorded play:
    ``mean((r - 1) - log r)`` over its steps, in nats."""
    replay_effective_sample_share: Share | None = None
    """Effective samples of each recorded one, by the ratios before the update."""

    # 1.2: inside an anneal
    anneal_cycle: Count | None = None
    """Cycle of the stage."""
    anneal_stage: str | None = None
    """Name of the stage."""
    anneal_dataset: str | None = None
    """Label of the demonstrations."""
    anneal_bc_accuracy: Annotated[float, Field(le=1.0)] | None = None
    """Held-out accuracy of the last imitation stage; continuous actions: explained variance,
    below 0 where the mean action would be nearer."""
    anneal_bc_threshold: Share | None = None
    """Accuracy its gate asks for."""
    anneal_bc_passed: bool | None = None
    """Whether the gate was passed."""
    anneal_loss_baseline: float | None = None
    """Practice loss of the last accepted ppo stage, which the guardrail compares with."""
    anneal_queue_baseline: float | None = None
    """Conflicts per 1000 agent-ticks, as played after the last accepted stage."""
    anneal_intensity_baseline: float | None = None
    """Their summed intensity per 1000 agent-ticks, as played after the last accepted stage."""
    anneal_loss_flag: bool | None = None
    """Whether the guardrail on the loss tripped in the stage before."""
    anneal_queue_flag: bool | None = None
    """Whether the guardrail on conflicts tripped in the stage before."""
    anneal_intensity_flag: bool | None = None
    """Whether the guardrail on their intensity tripped in the stage before."""
    anneal_bc_weight: NonNegative | None = None
    """Weight of the imitation term in the loss."""
    anneal_kl_weight: NonNegative | None = None
    """Weight of the KL divergence to the imitated policy."""
    anneal_guide_ratio: Share | None = None
    """Share of steps in which the demonstrator acted."""
    loss_bc: float | None = None
    """Imitation term, before its weight."""
    kl_to_prior: float | None = None
    """KL divergence to the imitated policy, in nats."""

    # 1.2: everywhere
    explained_variance: Annotated[float, Field(le=1.0 + 1e-6)] | None = None
    """Absent where returns do not vary."""
    value_rmse: NonNegative | None = None
    """Root mean squared distance of the values, as of the rollout, from the returns."""
    episode_return_mean: float | None = None
    """Absent where no episode ended in the rollout."""
    episode_length_mean: Annotated[float, Field(gt=0.0)] | None = None
    """Mean steps of the same episodes, idle ones left out; absent where none ended."""
    env_steps_per_sec: NonNegative | None = None
    """Transitions of the rollout a second of the whole update, optimisation included."""
    update_samples_per_sec: NonNegative | None = None
    """Transitions optimised a second, every pass counted."""


def validate_line(line: Mapping[str, Any]) -> None:
    """Checks one line of ``metrics.jsonl``.

    Raises:
        ValueError: a key is missing, unknown, of the wrong type or out of bounds; the message
            names group, step and every such key.
    """
    group, step = line.get("group"), line.get("step")
    if not isinstance(group, str) or not group:
        raise ValueError(f"a line needs its group as text, got {group!r}")
    if isinstance(step, bool) or not isinstance(step, int):
        raise ValueError(f"a line of group {group!r} needs an integer step, got {step!r}")
    metrics = {key: value for key, value in line.items() if key not in ENVELOPE}
    if group == "ppo":
        _validate_ppo(metrics, step)
        return
    if not isinstance(metrics.pop("log_stream_offset", None), int):
        raise ValueError(f"a line of group {group!r} needs an integer log_stream_offset")
    for name, value in metrics.items():
        if not (type(value) is float and math.isfinite(value)) and not isinstance(value, str):
            finite(f"{group}/{name}", value, step)


def _validate_ppo(metrics: Mapping[str, Any], step: int) -> None:
    nulls = [f"{name}: leave it out instead of null" for name in metrics if metrics[name] is None]
    try:
        PPOUpdateMetrics.model_validate(metrics, by_alias=True, by_name=False)
    except ValidationError as error:
        nulls += [
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
    if nulls:
        raise ValueError(f"metrics of group 'ppo' at step {step}: {'; '.join(nulls)}")
