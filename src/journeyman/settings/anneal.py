"""Config group ``anneal``: the stages from imitation to practice, and their guardrails."""

from typing import Literal, Self

from pydantic import Field, model_validator

from journeyman.settings.base import Section
from journeyman.settings.guardrails import GuardrailSettings
from journeyman.settings.schedule import Ramp, Scheduled, check_ends


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
    critic_warmup: int | None = Field(default=None, ge=0, le=1_000_000)
    """First updates of a ppo stage in which only the value function learns."""
    learning_rate: Scheduled | None = None
    """Step size of this stage."""
    entropy_coef: Scheduled | None = None
    """Weight of the entropy bonus in this ppo stage."""

    @model_validator(mode="after")
    def _weights_and_mode_fit(self) -> Self:
        weights = (
            (self.bc_weight.start, self.bc_weight.end)
            if isinstance(self.bc_weight, Ramp)
            else (self.bc_weight,)
        )
        if any(not 0.0 <= weight <= 1.0 for weight in weights):
            raise ValueError(f"bc_weight must lie in [0, 1], got {weights}")
        if self.learning_rate is not None:
            check_ends("learning_rate", self.learning_rate, 10.0)
        if self.mode == "bc":
            if max(weights) == 0.0:
                raise ValueError("a bc stage with bc_weight 0 learns nothing; give it up to 1.0")
            for name in ("critic_warmup", "entropy_coef"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} belongs to ppo stages, this one is mode=bc")
            if isinstance(self.learning_rate, Ramp):
                raise ValueError("learning_rate of a bc stage must be a number, got a ramp")
        return self


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
        if cycles != sorted(set(cycles)):
            raise ValueError(f"cycles must ascend without repeats, got {cycles}")
        return self
