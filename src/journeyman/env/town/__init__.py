"""The built-in town: needs, scarce objects, queues, work and company.

Importing it costs nothing: gymnasium, PettingZoo and the compiler come with the first town. The
id ``journeyman/Town-v0`` is known to Gymnasium once ``journeyman.env.town.registration`` is
imported.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from journeyman.env.town.parallel import TownParallelEnv


def parallel_env(**options: Any) -> "TownParallelEnv":
    """Returns one world for PettingZoo: the shipped town with overrides.

    Args:
        **options: ``render_mode`` and ``social_stage`` of ``TownParallelEnv``, or overrides of
            the shipped settings as in ``shipped_settings``.

    Raises:
        UserError: if an override is unknown or out of bounds, or the world impossible.
    """
    from journeyman.env.town.parallel import TownParallelEnv
    from journeyman.env.town.shipped import shipped_settings

    own = {name: options.pop(name) for name in ("render_mode", "social_stage") if name in options}
    return TownParallelEnv(shipped_settings(**options), **own)
