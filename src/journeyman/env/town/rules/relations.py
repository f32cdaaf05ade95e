"""What agents hold of each other: bounded changes, and forgetting."""

from journeyman.env.town.compiled import compiled
from journeyman.env.town.constants import Constants
from journeyman.env.town.state import World


@compiled
def clamp(value: float, low: float, high: float) -> float:
    """Returns the value within bounds."""
    return min(max(value, low), high)


@compiled
def relate(world: World, a: int, b: int, trust: float, familiarity: float, rivalry: float) -> None:
    """Changes what ``a`` holds of ``b``, within [-1, 1] (trust, familiarity) and [0, 1]."""
    pair = world.pairs[a, b]
    pair["trust"] = clamp(pair["trust"] + trust, -1.0, 1.0)
    pair["familiarity"] = clamp(pair["familiarity"] + familiarity, -1.0, 1.0)
    pair["rivalry"] = clamp(pair["rivalry"] + rivalry, 0.0, 1.0)


@compiled
def relate_both(
    world: World, a: int, b: int, trust: float, familiarity: float, rivalry: float
) -> None:
    """Changes what two agents hold of each other alike."""
    relate(world, a, b, trust, familiarity, rivalry)
    relate(world, b, a, trust, familiarity, rivalry)


@compiled
def goodwill(world: World, a: int, b: int) -> float:
    """Returns trust + familiarity - rivalry of ``a`` towards ``b``."""
    pair = world.pairs[a, b]
    return pair["trust"] + pair["familiarity"] - pair["rivalry"]  # type: ignore[no-any-return]


@compiled
def forget_rivalry(world: World, constants: Constants) -> None:
    """Lets every rivalry fade by one tick's worth."""
    decay = constants.numbers["relationships_rivalry_decay"]
    for a in range(world.pairs.shape[0]):
        for b in range(world.pairs.shape[1]):
            rivalry = world.pairs[a, b]["rivalry"]
            if rivalry > 0.0:
                world.pairs[a, b]["rivalry"] = max(0.0, rivalry - decay)
