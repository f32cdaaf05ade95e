"""What of imitation can be known not to fit an environment before any work."""

from journeyman.env.protocol import LaneSpec
from journeyman.settings.strategy import BCSettings


def imitation_problems(settings: BCSettings, spec: LaneSpec) -> list[str]:
    """Says, a sentence each, which settings mean nothing for the environment's actions."""
    if spec.action_kind != "box":
        return []
    problems = []
    if settings.label_smoothing > 0.0:
        problems.append(
            f"label_smoothing: {settings.label_smoothing:g} spreads probability over choices, "
            f"and {spec.env_id} has continuous actions; set it to 0"
        )
    if settings.class_weighting != "none":
        problems.append(
            f"class_weighting: {settings.class_weighting} weighs choices by their rarity, "
            f"and {spec.env_id} has continuous actions; set it to none"
        )
    return problems
