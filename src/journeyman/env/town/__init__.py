"""The built-in town: needs, scarce objects, queues, work and company.

Importing it costs nothing: gymnasium, PettingZoo and the compiler come with the first town. Where
Gymnasium is already imported, it is told of ``journeyman/Town-v0``; see ``registration``.
"""

import sys
from typing import TYPE_CHECKING, Any

ENV_ID = "journeyman/Town-v0"

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


def register() -> None:
    """Makes the town known to Gymnasium, once; building one loads the rest."""
    import gymnasium

    if ENV_ID not in gymnasium.registry:
        entry = "journeyman.env.town.registration:make_vector_env"
        gymnasium.register(id=ENV_ID, vector_entry_point=entry)


if "gymnasium" in sys.modules:
    register()
