"""Config group ``promotion``: when a candidate becomes the champion."""

from typing import Annotated, Literal

from pydantic import Field

from journeyman.settings.base import Section


class PromotionOffSettings(Section):
    """No promotion evaluation."""

    kind: Literal["off"]


class PromotionGateSettings(Section):
    """Paired A/B evaluations against the champion, without one the demonstrator, or else chance."""

    kind: Literal["gate"]
    required_passes: int = Field(ge=1, le=10)
    """Distinct evaluations of the same weights that must pass in a row."""
    evaluations: int = Field(ge=1, le=10)
    """Paired evaluations a run makes at its end (it stops at the first that fails)."""
    episodes: int = Field(ge=2, le=100_000)
    """World seeds an evaluation plays with both policies; never used before."""
    non_inferiority_margin: float = Field(ge=0.0)
    """How far below zero the interval's lower bound may lie, in return units."""
    max_rate_increase: dict[str, Annotated[float, Field(ge=0.0)]] | None
    """Gate metric (an event rate) -> allowed increase over the champion, per 1000 agent-ticks;
    null: what the environment itself calls harmful; a map replaces that, an empty one by
    nothing."""
    champion: str | None
    """Checkpoint of the reigning champion; null: the demonstrator is the bar, or chance where
    there is none."""


PromotionSettings = Annotated[
    PromotionOffSettings | PromotionGateSettings, Field(discriminator="kind")
]
