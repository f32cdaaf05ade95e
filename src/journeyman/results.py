"""Typed results: what a run, a stage, an evaluation and a promotion say when they are done.

Counts are ints, flags are bools, durations are seconds, rates are per 1000 agent-ticks; every
model has ``model_dump()``. Only the tracker turns them into floats.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["PASS", "HOLD", "FAIL"]
VERDICT_VALUE: dict[str, int] = {"FAIL": 0, "HOLD": 1, "PASS": 2}
"""The verdict as the metric ``run/status``."""


class Result(BaseModel):
    """A frozen record."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Interval(Result):
    """A mean with its 95 % confidence interval."""

    mean: float
    low: float
    high: float
    episodes: int
    """Number of independent episodes behind it."""


class EvaluationResult(Result):
    """A policy played on fixed seeds.

    An episode is one world from reset to its end; its return is the mean over the world's
    agents of the rewards summed over the episode (a faint or an eviction does not end it).
    """

    policy: str
    env_id: str
    social_stage: str
    """The fixed social stage the rewards were counted under."""
    seeds: tuple[int, ...]
    """One world seed an episode."""
    episode_returns: tuple[float, ...]
    """In the order of ``seeds``, so that two policies can be compared pair by pair."""
    episode_return: Interval
    return_iqm: float
    """Interquartile mean of the episode returns."""
    episode_length_mean: float
    """Steps an episode in which anyone acted."""
    rates: dict[str, float]
    """Event name -> count per 1000 agent-ticks (sums, for events that carry a magnitude)."""
    activity_shares: dict[str, float]
    """Action name -> share of all actions chosen; of multi-discrete actions, the share in its
    component; empty where actions are continuous."""
    action_means: dict[str, float] = {}
    """Component of a continuous action -> its mean, before the environment clips it."""
    reward_terms: dict[str, float]
    """Reward term -> mean over agents and episodes of its sum over an episode."""
    duration_sec: float


class PairedResult(Result):
    """Candidate against champion on the same seeds."""

    candidate: str
    opponent: str
    difference: Interval
    """Mean of (candidate - opponent) with a paired bootstrap interval."""
    probability_of_improvement: float
    """Share of pairs the candidate wins; ties count half."""
    candidate_iqm: float
    opponent_iqm: float
    seeds: tuple[int, ...]


class PromotionEvaluation(Result):
    """One paired evaluation and what it means for promotion."""

    passed: bool
    reasons: tuple[str, ...]
    """One sentence for each condition, held or broken."""
    max_rate_increase: dict[str, float]
    """The gate metrics that were judged -> allowed increase per 1000 agent-ticks."""
    weights_digest: str
    paired: PairedResult


class PromotionSnapshot(Result):
    """The state of promotion: ``monitoring -> ready -> promoted``."""

    state: Literal["monitoring", "ready", "promoted"] = "monitoring"
    pass_streak: int = Field(default=0, ge=0)
    required_passes: int = Field(default=2, ge=1, le=10)
    candidate_ready: bool = False
    candidate_ready_at: str | None = None
    """ISO time at which the streak was reached."""
    candidate: str | None = None
    """Weights digest the streak belongs to."""
    current_release: str | None = None
    initial_release: str | None = None
    last_result: PromotionEvaluation | None = None
    last_evaluated: str | None = None
    seeds_used: int = Field(default=0, ge=0)
    """World seeds drawn so far; an evaluation never plays one twice."""
    history: tuple[dict[str, Any], ...] = ()
    """The last 50 evaluations in short."""


class CaptureResult(Result):
    """Demonstrations, or any policy's play, as trajectories."""

    mode: Literal["capture"] = "capture"
    policy: str
    env_id: str
    ticks: int
    worlds: int
    lanes: int
    samples: int
    """Transitions captured: ticks x lanes, without idle steps."""
    trajectories: int
    digest: str
    """SHA-256 over all captured arrays: the dataset's identity."""
    manifest: str | None
    """Path of the manifest, or None where nothing was saved."""
    metrics: dict[str, float]
    warnings: tuple[str, ...]
    duration_sec: float


class ReplaySummary(Result):
    """What a dataset holds."""

    mode: Literal["replay"] = "replay"
    manifest: str | None
    samples: int
    """Trajectory files (lanes)."""
    skipped: int
    """Entries with ``accepted: false``."""
    transitions: int
    batches: int
    buckets: tuple[dict[str, Any], ...]
    feature_names: tuple[str, ...]
    baseline_metrics: dict[str, float]
    batch_summaries: tuple[dict[str, float], ...]
    warnings: tuple[str, ...]
    digest: str
    duration_sec: float


class BCTrainingResult(Result):
    """Behaviour cloning; figures named ``val_*`` are on trajectories never trained on.

    Continuous actions are never exactly right: for them accuracies and the figures of choices
    are None or empty, and errors and explained variance are there instead.
    """

    mode: Literal["bc"] = "bc"
    manifest: str | None
    accuracy: float | None
    """On the training trajectories, last epoch; all components of an action must be right."""
    loss: float
    """Mean over the last epoch's minibatches."""
    val_accuracy: float | None
    val_decision_accuracy: float | None
    """On steps where the mask allows a real choice."""
    val_loss: float
    """Cross-entropy; continuous actions: negative log-density."""
    val_mean_absolute_error: float | None = None
    """Continuous actions: mean over steps and components of |policy's mean - action|."""
    val_explained_variance: float | None = None
    """Continuous actions: 1 - squared error / squared distance of the actions from their mean,
    both summed over steps and components; 0 is what the mean action reaches."""
    majority_accuracy: float | None
    """Held-out accuracy of always answering the training set's most frequent action."""
    majority_decision_accuracy: float | None
    """The same on decision steps."""
    accuracy_over_majority: float | None
    """``val_decision_accuracy - majority_decision_accuracy``."""
    per_action: dict[str, dict[str, float]]
    """Action -> precision, recall, support on held-out decision steps; of actions with several
    components each choice by itself."""
    confusion: tuple[tuple[int, ...], ...]
    """Rows true, columns predicted, held-out decision steps; of actions with several components
    a block for each."""
    learning_rate: float
    batch_size: int
    epochs: int
    """Epochs trained, early stopping included."""
    best_epoch: int
    weight_decay: float
    device: str
    duration_sec: float
    samples: int
    val_samples: int
    action_histogram: dict[str, int]
    """Choice -> how often the training trajectories make it."""
    weights_digest: str

    @property
    def gate_accuracy(self) -> float:
        """What the gate judges: ``val_decision_accuracy``, or ``val_explained_variance``.

        Raises:
            ValueError: if the result has neither.
        """
        for figure in (self.val_decision_accuracy, self.val_explained_variance):
            if figure is not None:
                return figure
        raise ValueError("imitation with neither accuracy nor explained variance")


class PPOTrainingResult(Result):
    """Practice: the last update's figures and the course of the stage."""

    mode: Literal["ppo"] = "ppo"
    data_mode: Literal["rollout", "replay", "mixed"] = "rollout"
    updates: int
    transitions: int
    """In this stage; where nobody plays, recorded ones, counted once an update."""
    steps: int
    """Environment steps of the whole run so far (transitions of all lanes)."""
    last_update: dict[str, Any]
    """Telemetry of the last update, see the metrics reference."""
    loss_total_mean: float
    """``loss_total`` without the terms of demonstrations and prior, mean over the last quarter."""
    episode_return_mean: float | None
    """Mean return of the lanes' episodes that ended in the last quarter; None if none did."""
    device: str
    duration_sec: float
    weights_digest: str
    ended_early: str | None = None
    """Why fewer updates were made than asked for: recorded play had become stale; else None."""


class GuardrailReading(Result):
    """One guardrail after one stage."""

    name: str
    value: float | None
    baseline: float | None
    delta: float | None
    limit: float | None
    applicable: bool
    """False: the figures to read it by were not there; ``reason`` says which."""
    tripped: bool
    on_trip: Literal["hold", "rollback", "stop"]
    reason: str


class StageDiagnosis(Result):
    """Why a stage went as it did: its policy in held-out states that the demonstrator was in.

    It is the policy that the stage trained, also where it was then rolled back.
    """

    states: int
    """Held-out demonstrated states looked at; 0: there are none, and what they would show is
    None or empty."""
    kl_to_prior: float | None = None
    """Mean KL(prior, policy) in nats; the prior is the policy of the last accepted bc stage
    before this one. None: there was none."""
    agreement: float | None = None
    """Share of held-out decisions on which the demonstrated action is the policy's likeliest;
    None for continuous actions."""
    agreement_by_action: dict[str, float] = {}
    """The same by demonstrated action (its recall); of actions with several components, each
    choice by itself."""
    support: dict[str, int] = {}
    """Held-out decisions behind each of them."""
    action_errors: dict[str, float] = {}
    """Continuous actions: component -> mean of |policy's mean - demonstrated action|."""
    value_rmse: float | None = None
    """Root mean squared (V - return) of the stage's last update, in units of the return that was
    learned from; None for imitation, which trains no value function."""
    explained_variance: float | None = None
    """Share of these returns' variance that the value function foresaw; None likewise, and where
    returns do not vary."""


class AnnealStageResult(Result):
    """One stage of the schedule and what became of it."""

    index: int
    name: str
    cycle: int
    anneal_mode: Literal["bc", "ppo"]
    social_stage: str
    bc_weight_start: float
    bc_weight_end: float
    status: Verdict
    reason: str
    guardrails: tuple[GuardrailReading, ...]
    rolled_back: bool
    """True only if weights were really restored from an earlier checkpoint."""
    digest_before: str
    digest_trained: str
    digest_after: str
    """Digest of what the next stage starts from (the accepted one after a rollback)."""
    training: BCTrainingResult | PPOTrainingResult
    evaluation: EvaluationResult
    diagnosis: StageDiagnosis


class AnnealSummary(Result):
    """The whole schedule."""

    mode: Literal["anneal"] = "anneal"
    status: Verdict
    reason: str
    dataset_label: str
    stages: tuple[AnnealStageResult, ...]
    baselines: dict[str, float]
    """Guardrail baselines: figures of the last accepted stage, from played episodes."""
    untrained: EvaluationResult
    demonstrator: EvaluationResult | None
    """None where the environment has no demonstrator."""
    final: EvaluationResult
    promotion: PromotionSnapshot | None
    promotion_pass_streak: int
    promotion_candidate_ready: bool
    weights_digest: str
    duration_sec: float


class TrainingSummary(Result):
    """A run of ``strategy=bc`` or ``strategy=ppo``: training, and play before and after."""

    mode: Literal["bc_run", "ppo_run"]
    training: BCTrainingResult | PPOTrainingResult
    untrained: EvaluationResult
    demonstrator: EvaluationResult | None
    """None where the environment has no demonstrator."""
    final: EvaluationResult
    promotion: PromotionSnapshot | None
    weights_digest: str
    duration_sec: float


RunResult = AnnealSummary | TrainingSummary | CaptureResult | ReplaySummary | EvaluationResult


def objective(result: RunResult) -> float | None:
    """Returns what a sweep maximises: the final policy's mean return, None without one."""
    if isinstance(result, AnnealSummary | TrainingSummary):
        return result.final.episode_return.mean
    if isinstance(result, EvaluationResult):
        return result.episode_return.mean
    return None
