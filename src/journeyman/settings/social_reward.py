"""Config group ``social_reward``: which social rewards count, from which cycle on."""

from typing import Literal, Self

from pydantic import Field, model_validator

from journeyman.settings.base import Section

SocialStage = Literal["OFF", "C1", "C2", "C3"]


class StageFromCycle(Section):
    """One step of the schedule."""

    cycle: int = Field(ge=0)
    """First cycle this stage holds in."""
    stage: SocialStage
    """The stage from there on."""


class SocialRewardSettings(Section):
    """A schedule of social stages; an override wins over it."""

    schedule: tuple[StageFromCycle, ...] = Field(min_length=1)
    """Stages by first cycle, ascending, the first at cycle 0."""
    override: SocialStage | None
    """Hold this stage throughout, whatever the schedule says."""

    @model_validator(mode="after")
    def _ascending_from_zero(self) -> Self:
        cycles = [step.cycle for step in self.schedule]
        if cycles[0] != 0:
            raise ValueError(f"the first entry must be for cycle 0, not {cycles[0]}")
        if cycles != sorted(set(cycles)):
            raise ValueError(f"cycles must ascend without repeats, got {cycles}")
        return self

    def stage_at(self, cycle: int) -> SocialStage:
        """Returns the stage in force in a cycle."""
        if self.override is not None:
            return self.override
        return [step.stage for step in self.schedule if step.cycle <= cycle][-1]
