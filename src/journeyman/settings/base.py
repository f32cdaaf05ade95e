"""What every settings model has in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen block of settings: unknown keys are errors, numbers carry bounds and units.

    Every field states its meaning and unit in ``description``; the config reference in
    ``docs/`` is generated from there.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
