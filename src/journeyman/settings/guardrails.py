"""Key ``anneal.guardrails``: what is checked after each stage, and what a breach leads to."""

from typing import Literal

from pydantic import Field

from journeyman.settings.base import Section

OnTrip = Literal["hold", "rollback", "stop"]


class Guardrail(Section):
    """What all guardrails have."""

    enabled: bool
    """Off: not checked, no reading."""
    on_trip: OnTrip
    """``hold``: keep the weights, go on, but compare later stages with the last stage that
    passed; ``rollback``: restore that stage and go on; ``stop``: restore it and end the run."""


class BCAccuracyGuardrail(Guardrail):
    """The gate behind imitation: accuracy on held-out trajectories, on decision steps; for
    continuous actions the share of their variance that the policy explains."""

    threshold: float = Field(ge=0.0, le=1.0)
    """Lowest share of held-out decision steps on which the demonstrated action is answered."""
    min_over_majority: float = Field(default=0.0, ge=0.0, le=1.0)
    """How far that share must also lie above what always answering the most frequent action
    gets; 0: not asked for. Where there is but one action to learn, it can never pass."""


class LossGuardrail(Guardrail):
    """PPO's loss without the terms of demonstrations and prior, as the mean over a stage's last
    quarter of updates, against that of the last accepted PPO stage; lower never trips."""

    tolerance: float = Field(ge=0.0)
    """Allowed rise, as a share of max(|baseline|, 0.001)."""


class RateGuardrail(Guardrail):
    """An event rate of the played evaluation against that of the last accepted stage."""

    tolerance: float = Field(ge=0.0)
    """Allowed change, as a share of max(|baseline|, min_scale)."""
    min_scale: float = Field(gt=0.0)
    """A baseline under this many per 1000 agent-ticks counts as this many, for the tolerance."""
    direction: Literal["increase", "decrease", "band"]
    """Which change trips: a rise, a fall, or either."""


class EpisodeReturnGuardrail(Guardrail):
    """The played return, world by world, against that of the last accepted stage."""

    margin: float = Field(ge=0.0)
    """How far under zero the lower bound of the paired interval of the change may lie, as a
    share of max(|baseline|, 0.001)."""


class HealthGuardrail(Guardrail):
    """Figures of PPO updates that are out of bounds several updates in a row."""

    max_kl: float = Field(gt=0.0)
    """Highest ``kl_divergence`` of an update, in nats."""
    max_grad_norm: float = Field(gt=0.0)
    """Highest ``grad_norm`` of an update, measured before clipping."""
    min_entropy: float = Field(ge=0.0)
    """Lowest ``batch_entropy_mean`` of an update, in nats, where actions are choices."""
    min_differential_entropy: float | None = None
    """The same of continuous actions, whose entropy depends on their units and is under 0 for a
    sharp policy; null: any."""
    consecutive: int = Field(ge=1, le=1000)
    """Updates in a row that must be out of bounds."""


class GuardrailSettings(Section):
    """All guardrails of a schedule."""

    bc_accuracy: BCAccuracyGuardrail
    loss: LossGuardrail
    queue_events: RateGuardrail
    """Queue conflicts (``queue_conflict``)."""
    queue_intensity: RateGuardrail
    """Summed intensity of queue conflicts (``queue_conflict_intensity``)."""
    episode_return: EpisodeReturnGuardrail
    health: HealthGuardrail
