"""Config group ``strategy``: what the run does."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from journeyman.settings.base import Section
from journeyman.settings.schedule import Scheduled, check_ends


class BCSettings(Section):
    """Behaviour cloning: cross-entropy on demonstrations, held out by trajectory."""

    kind: Literal["bc"]
    epochs: int = Field(ge=1, le=100_000)
    """Passes over the training trajectories (an anneal stage brings its own number)."""
    batch_size: int = Field(ge=1, le=1_000_000)
    """Transitions a minibatch."""
    learning_rate: float = Field(gt=0.0, le=10.0)
    """Step size of AdamW."""
    weight_decay: float = Field(ge=0.0, le=1.0)
    """Decoupled weight decay of AdamW."""
    max_grad_norm: float = Field(ge=0.0)
    """Clip the gradient's global norm to this; 0: never clip."""
    label_smoothing: float = Field(ge=0.0, lt=1.0)
    """Probability mass spread over the allowed actions."""
    class_weighting: Literal["none", "inverse_frequency"]
    """Weigh each sample by its action's rarity in the training trajectories."""
    val_fraction: float = Field(gt=0.0, lt=1.0)
    """Share of the demonstrations held out, by whole worlds: accuracy, best epoch and gate."""
    patience: int = Field(ge=0, le=100_000)
    """Stop after this many epochs without a better held-out loss (best kept); 0: never."""


class PPOSettings(Section):
    """Proximal policy optimisation (Schulman et al. 2017)."""

    kind: Literal["ppo"]
    updates: int = Field(ge=1, le=10_000_000)
    """Rollouts, each followed by its optimisation (an anneal stage brings its own number)."""
    worlds: int = Field(ge=1, le=100_000)
    """Worlds practised in side by side."""
    rollout_ticks: int = Field(ge=2, le=100_000)
    """Steps of each lane between two optimisations."""
    data_mode: Literal["rollout", "replay", "mixed"]
    """What is learned from: play of the present policy, recorded play of ``dataset`` with known
    log-probabilities, or both in every minibatch."""
    replay_share: float = Field(gt=0.0, lt=1.0)
    """Recorded share of every minibatch of ``data_mode: mixed``."""
    ratio_truncation: float = Field(gt=1.0, le=1e6)
    """Probability ratios count as no larger in the loss; only where there is recorded play."""
    max_replay_kl: float = Field(gt=0.0, le=1e6)
    """Recorded play is stale where the policy has moved further from the one that acted, in nats
    a step; it is not learned from then."""
    min_effective_sample_share: float = Field(ge=0.0, le=1.0)
    """Recorded play is stale where the ratios leave fewer effective samples of each."""
    epochs: int = Field(ge=1, le=1000)
    """Passes over each rollout."""
    minibatch_size: int = Field(ge=2, le=10_000_000)
    """Transitions a minibatch."""
    learning_rate: Scheduled
    """Step size of Adam, over 0 and at most 10 at its start."""
    gamma: float = Field(ge=0.0, le=1.0)
    """Discount a step."""
    gae_lambda: float = Field(ge=0.0, le=1.0)
    """Lambda of generalised advantage estimation (Schulman et al. 2016)."""
    clip: Scheduled
    """Clip range of the probability ratio, over 0 and at most 10 at its start."""
    value_clip: float | None = Field(gt=0.0)
    """Clip range of the value's change; null: the plain squared error."""
    value_coef: float = Field(ge=0.0)
    """Weight of the value loss."""
    entropy_coef: Scheduled
    """Weight of the entropy bonus."""
    max_grad_norm: float = Field(ge=0.0)
    """Clip the gradient's global norm to this; 0: never clip (the norm is measured still)."""
    target_kl: float | None = Field(gt=0.0)
    """End an update after the epoch whose mean ``kl_divergence`` exceeds this; null: never."""
    normalize_advantages: Literal["minibatch", "batch", "off"]
    """Over what advantages get mean 0 and deviation 1."""
    normalize_rewards: bool
    """Divide rewards by the running deviation of the discounted return."""
    normalize_features: bool
    """Whiten features by running mean and deviation; frozen in evaluation. Imitation before
    practice in ``strategy=anneal`` then whitens too, by its demonstrations; ``strategy=bc`` never
    does."""
    critic_warmup: int = Field(ge=0, le=1_000_000)
    """First updates in which only the value function learns."""
    demonstration_batch_size: int = Field(ge=1, le=1_000_000)
    """Demonstrated transitions beside each minibatch where bc_weight is above 0."""
    adam_eps: float = Field(gt=0.0, le=1.0)
    """Adam's epsilon."""
    on_nan: Literal["raise", "rollback"]
    """A NaN or infinity ends the run, or restores the last good update at half the step size."""

    @model_validator(mode="after")
    def _ends_within_reason(self) -> Self:
        for name in ("learning_rate", "clip"):
            check_ends(name, getattr(self, name), 10.0)
        return self


class AnnealStrategySettings(Section):
    """The schedule of config group ``anneal``, with these settings for its stages."""

    kind: Literal["anneal"]
    bc: BCSettings
    """Settings of bc stages."""
    ppo: PPOSettings
    """Settings of ppo stages."""


class CaptureSettings(Section):
    """Play a policy and keep its trajectories."""

    kind: Literal["capture"]
    policy: str
    """``demonstrator``, ``random``, or the path of a checkpoint."""
    worlds: int = Field(ge=1, le=100_000)
    """Worlds played side by side."""
    ticks: int = Field(ge=1, le=10_000_000)
    """Steps of each world."""
    save: bool
    """Write npz, json, manifest and metrics into the run folder."""
    prefix: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """File names start with this."""


class ReplayStrategySettings(Section):
    """Read a dataset batch by batch and summarise it."""

    kind: Literal["replay"]
    epochs: int = Field(ge=1, le=1000)
    """Passes over the dataset."""


class EvaluateSettings(Section):
    """Play a policy on the fixed evaluation seeds."""

    kind: Literal["evaluate"]
    policy: str
    """``demonstrator``, ``random``, or the path of a checkpoint."""
    render: Literal["off", "gif", "mp4"]
    """Film the first evaluation world into the run folder and the run's artifacts; ``mp4`` needs
    ffmpeg."""
    render_ticks: int = Field(ge=1, le=100_000)
    """Ticks of the world's first episode that are filmed, at most."""
    render_every: int = Field(ge=1, le=10_000)
    """Ticks from one picture to the next."""
    render_fps: int = Field(ge=1, le=50)
    """Pictures a second."""


StrategySettings = Annotated[
    BCSettings
    | PPOSettings
    | AnnealStrategySettings
    | CaptureSettings
    | ReplayStrategySettings
    | EvaluateSettings,
    Field(discriminator="kind"),
]
