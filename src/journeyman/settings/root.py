"""The whole configuration of a run: the only schema there is."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from journeyman.settings.anneal import AnnealSettings
from journeyman.settings.base import Section
from journeyman.settings.dataset import DatasetSettings
from journeyman.settings.env import EnvSettings
from journeyman.settings.evaluation import EvaluationSettings
from journeyman.settings.metrics_log import JsonlSettings
from journeyman.settings.policy import PolicySettings
from journeyman.settings.promotion import PromotionSettings
from journeyman.settings.runtime import CheckpointSettings, RuntimeSettings
from journeyman.settings.social_reward import SocialRewardSettings
from journeyman.settings.strategy import (
    AnnealStrategySettings,
    BCSettings,
    PPOSettings,
    StrategySettings,
)
from journeyman.settings.tracking import TrackingSettings


class Settings(Section):
    """One run, as composed from the config groups."""

    seed: int = Field(ge=0, lt=2**63)
    """Root of all chance in the run."""
    strategy: StrategySettings
    dataset: DatasetSettings
    anneal: AnnealSettings
    social_reward: SocialRewardSettings
    env: EnvSettings
    policy: PolicySettings
    evaluation: EvaluationSettings
    promotion: PromotionSettings
    tracking: TrackingSettings
    metrics_log: JsonlSettings
    checkpoint: CheckpointSettings
    runtime: RuntimeSettings
    plan: bool
    """Print and draw the schedule of ``strategy=anneal``; nothing is trained or written."""
    profile: bool | Literal["trace"]
    """Print and keep where the run's wall time went; ``trace``: also record a few updates of ppo
    with torch's profiler, for chrome://tracing or Perfetto."""
    fail_fast: bool
    """In a sweep: the first job that fails ends it; jobs that run stop at a safe point."""
    outputs: str = Field(min_length=1)
    """Folder of run folders and of the embedded MLflow store, relative to the working folder."""

    @field_validator("outputs")
    @classmethod
    def _no_tilde(cls, outputs: str) -> str:
        if outputs.startswith("~"):
            raise ValueError(f"~ is not expanded, give the whole path (got {outputs!r})")
        return outputs

    @model_validator(mode="after")
    def _only_a_schedule_has_a_plan(self) -> Self:
        if self.plan and self.strategy.kind != "anneal":
            raise ValueError(f"plan: only strategy=anneal has one, got {self.strategy.kind}")
        return self

    @model_validator(mode="after")
    def _only_updates_are_traced(self) -> Self:
        if self.profile == "trace" and self.ppo() is None:
            raise ValueError(
                f"profile: trace records updates of ppo, of which strategy={self.strategy.kind} "
                "has none; profile=true works for every strategy"
            )
        return self

    @property
    def outputs_path(self) -> Path:
        """The outputs folder, absolute."""
        return Path(self.outputs).resolve()

    def bc(self) -> BCSettings | None:
        """Returns the settings of behaviour cloning, where the strategy has them."""
        if isinstance(self.strategy, AnnealStrategySettings):
            return self.strategy.bc
        return self.strategy if isinstance(self.strategy, BCSettings) else None

    def held_out_fraction(self) -> float | None:
        """Returns the share of the demonstrations that no stage of the run learns from.

        None: no stage learns from any.
        """
        bc = self.bc()
        stages = self.anneal.stages if self.strategy.kind == "anneal" else ()
        demonstrates = self.strategy.kind == "bc" or any(each.demonstrates for each in stages)
        return bc.val_fraction if demonstrates and bc is not None else None

    def ppo(self) -> PPOSettings | None:
        """Returns the settings of PPO, where the strategy has them."""
        if isinstance(self.strategy, AnnealStrategySettings):
            return self.strategy.ppo
        return self.strategy if isinstance(self.strategy, PPOSettings) else None
