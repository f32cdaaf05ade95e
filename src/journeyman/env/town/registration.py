"""The town under Gymnasium, which reads no entry points of installed packages. Any of

    import gymnasium, journeyman.env.town              # in this order
    gymnasium.make_vec("journeyman/Town-v0", num_envs=64)

    import journeyman.env.town.registration            # in any order
    gymnasium.make_vec("journeyman/Town-v0", num_envs=64)

    gymnasium.make_vec("journeyman.env.town.registration:journeyman/Town-v0", num_envs=64)

will do. Importing the package never imports gymnasium: a town's specification is had without.
"""

from typing import Any

from journeyman.env.town import ENV_ID, register
from journeyman.env.town.scenarios import resolve_layout
from journeyman.env.town.shipped import shipped_settings
from journeyman.env.town.vector_env import TownVectorEnv
from journeyman.errors import UserError

__all__ = ["ENV_ID", "make_vector_env"]


def make_vector_env(
    num_envs: int,
    *,
    social_stage: str = "OFF",
    render_mode: str | None = None,
    copy: bool = True,
    **overrides: Any,
) -> TownVectorEnv:
    """Builds the shipped town with overrides: what ``gymnasium.make_vec`` calls.

    Args:
        num_envs: L, lanes: agents of all worlds, a multiple of the agents of a world.
        social_stage: which social rewards count: ``OFF``, ``C1``, ``C2`` or ``C3``.
        render_mode: ``rgb_array``, ``ansi`` or None.
        copy: hand over new arrays in each step, as Gymnasium's own vector environments do;
            without it arrays hold until the second next step, which is faster.
        **overrides: as in ``shipped_settings``.

    Raises:
        UserError: if an override is unknown or out of bounds, the world impossible, or the
            lanes do not fill whole worlds.
    """
    settings = shipped_settings(**overrides)
    agents = resolve_layout(settings).agents
    if num_envs < 1 or num_envs % agents:
        raise UserError(
            f"num_envs: a world of {settings.scenario} has {agents} agents, and each is one "
            f"environment; num_envs must be a multiple of {agents} (got {num_envs})"
        )
    return TownVectorEnv(
        settings,
        num_worlds=num_envs // agents,
        social_stage=social_stage,
        render_mode=render_mode,
        copy=copy,
    )


register()
