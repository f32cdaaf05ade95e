"""Config group ``anneal``: the stages from imitation to practice, and their guardrails."""

from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from journeyman.settings.base import Section
from journeyman.settings.guardrails import GuardrailSettings
from journeyman.settings.schedule import (
    Ramp,
    Scheduled,
    check_ends,
    check_share,
    ends_of,
    in_words,
)

HIGHEST_KL_WEIGHT = 100.0
PPO_ONLY = ("critic_warmup", "entropy_coef", "clip", "target_kl")
"""Keys of a stage that mean nothing to imitation."""


class GuideSettings(Section):
    """Who acts in a ppo stage's rollouts beside the policy."""

    kind: Literal["none", "blend", "prefix"] = "none"
    """``blend``: at each step the demonstrator acts in a lane with probability ``ratio``;
    ``prefix``: it acts in the first share ``ratio`` of each episode."""
    ratio: Scheduled = 0.0
    """In [0, 1]."""

    @model_validator(mode="after")
    def _ratio_and_kind_fit(self) -> Self:
        check_share("guide.ratio", self.ratio)
        if (self.kind == "none") != (max(ends_of(self.ratio)) == 0.0):
            raise ValueError(
                f"guide: kind={self.kind} with ratio {in_words(self.ratio)}; give a kind "
                "(blend, prefix) and a ratio above 0, or neither"
            )
        return self


NO_GUIDE = GuideSettings()


class StageSettings(Section):
    """One stage; what is null is taken from the strategy's settings."""

    cycle: int = Field(ge=0)
    """Order of execution, and clock of the social-reward schedule."""
    mode: Literal["bc", "ppo"]
    """Imitate or practise."""
    epochs: int = Field(ge=1, le=10_000_000)
    """bc: passes over the demonstrations; ppo: updates (a rollout and its optimisation)."""
    bc_weight: Scheduled = 0.0
    """In [0, 1]. ppo: weight of the demonstrations' loss; bc: factor on the step size."""
    kl_weight: Scheduled = 0.0
    """Weight, at most 100, of KL(prior, policy) in a ppo stage's loss; the prior is a frozen copy
    of the policy at the end of the last accepted bc stage."""
    guide: GuideSettings = NO_GUIDE
    critic_warmup: int | None = Field(default=None, ge=0, le=1_000_000)
    """First updates of a ppo stage in which only the value function learns."""
    learning_rate: Scheduled | None = None
    """Step size of this stage."""
    entropy_coef: Scheduled | None = None
    """Weight of the entropy bonus in this ppo stage."""
    clip: Scheduled | None = None
    """Clip range of the probability ratio in this ppo stage."""
    target_kl: float | None = Field(default=None, gt=0.0)
    """Bound of ``kl_divergence`` that ends an update's epochs in this ppo stage."""

    @model_validator(mode="after")
    def _weights_and_mode_fit(self) -> Self:
        check_share("bc_weight", self.bc_weight)
        if max(ends_of(self.kl_weight)) > HIGHEST_KL_WEIGHT:
            raise ValueError(
                f"kl_weight must lie in [0, {HIGHEST_KL_WEIGHT:g}], got {in_words(self.kl_weight)}"
            )
        for name in ("learning_rate", "clip"):
            if getattr(self, name) is not None:
                check_ends(name, getattr(self, name), 10.0)
        if self.mode == "bc":
            self._check_imitation()
        elif self.critic_warmup is not None and self.critic_warmup > self.epochs:
            raise ValueError(
                f"critic_warmup {self.critic_warmup} is longer than the stage's "
                f"{self.epochs} updates"
            )
        return self

    def _check_imitation(self) -> None:
        if max(ends_of(self.bc_weight)) == 0.0:
            raise ValueError("a bc stage with bc_weight 0 learns nothing; give it up to 1.0")
        for name in PPO_ONLY:
            if getattr(self, name) is not None:
                raise ValueError(f"{name} belongs to ppo stages, this one is mode=bc")
        if self.guide != NO_GUIDE or max(ends_of(self.kl_weight)) > 0.0:
            raise ValueError("guide and kl_weight belong to ppo stages, this one is mode=bc")
        if isinstance(self.learning_rate, Ramp):
            raise ValueError("learning_rate of a bc stage must be a number, got a ramp")

    @property
    def demonstrates(self) -> bool:
        """Whether the stage learns from demonstrations."""
        return self.mode == "bc" or max(ends_of(self.bc_weight)) > 0.0

    @property
    def keeps_to_prior(self) -> bool:
        """Whether the stage's loss holds the policy to a prior."""
        return max(ends_of(self.kl_weight)) > 0.0


class AnnealSettings(Section):
    """An ordered list of stages; used by ``strategy=anneal``."""

    label: str = Field(min_length=1, max_length=100)
    """Name of the schedule in run names and tables."""
    stages: tuple[StageSettings, ...] = Field(min_length=1, max_length=1000)
    """Stages by ascending cycle; each trains the policy the one before it left."""
    guardrails: GuardrailSettings
    """What is checked after each stage on played episodes."""

    @model_validator(mode="after")
    def _cycles_ascend(self) -> Self:
        cycles = [stage.cycle for stage in self.stages]
        for index, (before, cycle) in enumerate(pairwise(cycles), start=1):
            if cycle <= before:
                stage = f"stage {index} (cycle {cycle})"
                raise ValueError(f"{stage}: cycles must ascend without repeats, got {cycles}")
        return self

    @model_validator(mode="after")
    def _a_prior_is_learned_first(self) -> Self:
        for index, stage in enumerate(self.stages):
            if stage.mode == "bc":
                break
            if stage.keeps_to_prior:
                raise ValueError(
                    f"stage {index} (cycle {stage.cycle}): kl_weight needs a prior, but no bc "
                    "stage comes before it"
                )
        return self
