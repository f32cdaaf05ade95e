"""Config group ``env``, environments that come from elsewhere: Gymnasium and PettingZoo."""

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, WithJsonSchema, model_validator

from journeyman.settings.base import Section

Arguments = Annotated[
    dict[str, JsonValue],
    WithJsonSchema({"type": "object", "additionalProperties": {}}),
]
"""Keyword arguments: names to anything that JSON can hold."""


class WrapperSettings(Section):
    """A wrapper round each environment; in a list without arguments its name alone will do."""

    name: str = Field(min_length=1, max_length=200)
    """A class of ``gymnasium.wrappers`` that suits one environment, or a name registered with
    ``journeyman.env.wrappers.register_wrapper``."""
    kwargs: Arguments | None = None
    """Its keyword arguments; null: none."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class GymnasiumSettings(Section):
    """Any environment registered with Gymnasium; a world is one environment, a lane likewise."""

    kind: Literal["gymnasium"]
    id: str = Field(min_length=1, max_length=300)
    """Registered id. ``module:Name-v0`` imports the module first, which registers the id."""
    kwargs: Arguments | None
    """Keyword arguments of the environment, as one map: ``'env.kwargs={gravity: 5.0}'``; null:
    none."""
    wrappers: tuple[WrapperSettings, ...]
    """Put round each environment, the first one innermost."""
    vectorization: Literal["auto", "sync", "async", "vector_entry_point"]
    """How the environments are run: one after the other, spread over a process a core, or by the
    environment's own vectorised code; ``auto``: the last where it serves, else ``sync``."""
    max_episode_steps: int | None = Field(ge=1, le=1_000_000_000)
    """Steps after which an episode is truncated; null: as registered."""
    demonstrator: str | None = Field(min_length=1)
    """Name of a registered demonstrator, path of a checkpoint, or of a manifest that is imitated in
    its place; null: there is none."""


class PettingZooSettings(Section):
    """Any parallel environment of PettingZoo; a world is one of it, a lane one of its agents."""

    kind: Literal["pettingzoo"]
    module: str = Field(min_length=1, max_length=300)
    """Module with a function ``parallel_env``, e.g. ``pettingzoo.butterfly.pistonball_v6``."""
    kwargs: Arguments | None
    """Keyword arguments of ``parallel_env``, as one map; null: none."""
    max_episode_steps: int | None = Field(ge=1, le=1_000_000_000)
    """Steps after which all agents are truncated; null: as the environment says."""
    rebuild: bool
    """Build each world anew for each episode: slower, and right for whatever an environment
    carries over from one episode to the next, which would make runs impossible to resume."""
    demonstrator: str | None = Field(min_length=1)
    """Name of a registered demonstrator, path of a checkpoint, or of a manifest that is imitated in
    its place; null: there is none."""
