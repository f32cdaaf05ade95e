"""What a lane of the town sees and can do, without building a world."""

from journeyman.env.protocol import LaneSpec
from journeyman.env.town.names import (
    ACTION_NAMES,
    RELEASE,
    WAIT,
    feature_names,
)
from journeyman.env.town.scenarios import resolve_layout
from journeyman.env.town.variants import VARIANTS
from journeyman.settings.env import TownSettings


def town_lane_spec(settings: TownSettings) -> LaneSpec:
    """Returns the specification of the town's lanes.

    Raises:
        UserError: if the settings describe no possible world.
    """
    resolve_layout(settings)
    variant = VARIANTS[settings.observation.variant]
    return LaneSpec(
        env_id=f"town/{settings.scenario}",
        feature_names=feature_names(personality=settings.observation.personality),
        action_names=ACTION_NAMES,
        map_channels=variant.channels,
        map_shape=variant.shape,
        has_action_mask=True,
        forced_actions=(WAIT, RELEASE),
    )
