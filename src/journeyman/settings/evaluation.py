"""Key ``evaluation``: how policies are played to be measured."""

from typing import Literal

from pydantic import Field

from journeyman.settings.base import Section


class EvaluationSettings(Section):
    """Fixed seeds, the same for every policy and stage of a run, so that figures pair up."""

    episodes: int = Field(ge=2, le=100_000)
    """Worlds played from reset to their end, each under a seed of its own."""
    deterministic: bool
    """Take the most probable action instead of sampling."""
    social_stage: Literal["OFF", "C1", "C2", "C3"]
    """The one social stage returns are counted under, whatever the stage of training."""
    confidence: float = Field(gt=0.5, lt=1.0)
    """Level of the intervals."""
    bootstrap_resamples: int = Field(ge=100, le=1_000_000)
    """Resamples behind each bootstrap interval."""
