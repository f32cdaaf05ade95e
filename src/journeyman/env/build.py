"""From settings to an environment."""

from journeyman.env.protocol import LaneEnv, LaneSpec
from journeyman.settings.env import EnvSettings


def lane_spec(settings: EnvSettings) -> LaneSpec:
    """Returns what a lane sees and can do; builds and compiles nothing.

    Raises:
        UserError: if the settings describe no possible environment.
    """
    from journeyman.env.town.specification import town_lane_spec

    return town_lane_spec(settings)


def event_names(settings: EnvSettings) -> tuple[str, ...]:
    """Returns the names of what the environment counts; builds and compiles nothing."""
    from journeyman.env.town.names import EVENT_NAMES

    return EVENT_NAMES


def make_env(settings: EnvSettings, *, num_worlds: int, social_stage: str = "OFF") -> LaneEnv:
    """Builds an environment of ``num_worlds`` worlds.

    Args:
        settings: which environment, and its settings.
        num_worlds: worlds side by side, at least 1.
        social_stage: which social rewards count: ``OFF``, ``C1``, ``C2`` or ``C3``.

    Raises:
        UserError: if the settings describe no possible environment.
    """
    from journeyman.env.town.vector_env import TownVectorEnv

    return TownVectorEnv(settings, num_worlds=num_worlds, social_stage=social_stage)
