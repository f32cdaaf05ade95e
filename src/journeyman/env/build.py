"""From settings to an environment."""

from collections.abc import Mapping
from types import MappingProxyType

from journeyman.env.protocol import LaneEnv, LaneSpec
from journeyman.settings.env import EnvSettings, TownSettings
from journeyman.settings.external_env import GymnasiumSettings, PettingZooSettings

_TOWN_HARMFUL_RATES = MappingProxyType({"faint": 0.5, "queue_conflict": 2.0})


def lane_spec(settings: EnvSettings) -> LaneSpec:
    """Returns what a lane sees and can do, at little cost.

    The town is asked on paper; of another environment one is built, looked at and closed, once
    in a process.

    Raises:
        UserError: if the settings describe no possible environment.
    """
    match settings:
        case GymnasiumSettings():
            from journeyman.env.gymnasium import gymnasium_lane_spec

            return gymnasium_lane_spec(settings)
        case PettingZooSettings():
            from journeyman.env.pettingzoo import pettingzoo_lane_spec

            return pettingzoo_lane_spec(settings)
        case _:
            from journeyman.env.town.specification import town_lane_spec

            return town_lane_spec(settings)


def event_names(settings: EnvSettings) -> tuple[str, ...]:
    """Returns the names of what the environment counts; builds and compiles nothing."""
    if isinstance(settings, GymnasiumSettings | PettingZooSettings):
        return ()
    from journeyman.env.town.names import EVENT_NAMES

    return EVENT_NAMES


def harmful_rates(settings: EnvSettings) -> Mapping[str, float]:
    """Returns what the environment itself calls harmful; builds and compiles nothing.

    Returns:
        Name of an event it counts -> increase of its rate, per 1000 agent-ticks, that a
        promotion may bring. Empty: it counts nothing of which more is worse.
    """
    return _TOWN_HARMFUL_RATES if isinstance(settings, TownSettings) else {}


def lanes_per_world(settings: EnvSettings) -> int:
    """Returns the lanes (agents) of one world.

    Raises:
        UserError: if the settings describe no possible environment.
    """
    match settings:
        case GymnasiumSettings():
            return 1
        case PettingZooSettings():
            env = make_env(settings, num_worlds=1)
            try:
                return env.num_envs
            finally:
                env.close()
        case _:
            from journeyman.env.town.scenarios import resolve_layout

            return resolve_layout(settings).agents


def episode_limit(settings: EnvSettings) -> int | None:
    """Returns the steps after which an episode is truncated; None: not known.

    Raises:
        UserError: if the settings describe no possible environment.
    """
    match settings:
        case GymnasiumSettings():
            if settings.max_episode_steps is not None:
                return settings.max_episode_steps
            from journeyman.env.making import registered_spec

            return registered_spec(settings.id).max_episode_steps
        case PettingZooSettings():
            return settings.max_episode_steps
        case _:
            from journeyman.env.town.scenarios import resolve_layout

            return resolve_layout(settings).episode_ticks


def make_env(
    settings: EnvSettings,
    *,
    num_worlds: int,
    social_stage: str = "OFF",
    town_threads: int | None = None,
) -> LaneEnv:
    """Builds an environment of ``num_worlds`` worlds.

    Args:
        settings: which environment, and its settings.
        num_worlds: worlds side by side, at least 1.
        social_stage: which social rewards count: ``OFF``, ``C1``, ``C2`` or ``C3``.
        town_threads: threads of this process's town kernels, on which its bits do not depend; None:
            as they are. Other environments have none.

    Raises:
        UserError: if the settings describe no possible environment.
    """
    match settings:
        case GymnasiumSettings():
            from journeyman.env.gymnasium import GymnasiumEnv

            env: LaneEnv = GymnasiumEnv(settings, num_worlds=num_worlds)
        case PettingZooSettings():
            from journeyman.env.pettingzoo import PettingZooEnv

            env = PettingZooEnv(settings, num_worlds=num_worlds)
        case _:
            from journeyman.env.town.compiled import use_threads
            from journeyman.env.town.vector_env import TownVectorEnv

            if town_threads is not None:
                use_threads(town_threads)
            return TownVectorEnv(settings, num_worlds=num_worlds, social_stage=social_stage)
    env.set_social_stage(social_stage)
    return env
