"""Policies by the name a config gives them."""

from pathlib import Path

from journeyman.checkpoint import load_checkpoint
from journeyman.env.build import lane_spec
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.policies.protocol import Policy
from journeyman.policies.random import RandomPolicy
from journeyman.policies.registry import (
    BUILT_IN,
    demonstrator_from,
    fitting_checkpoint,
    is_dataset_path,
)
from journeyman.settings.env import EnvSettings, TownSettings


def build_player(name: str, spec: LaneSpec) -> Policy:
    """Returns the player a config names, other than the environment's own demonstrator.

    Args:
        name: ``random``, or the path of a checkpoint.
        spec: what it will see and do.

    Raises:
        UserError: if the checkpoint is missing, damaged or made for another observation.
    """
    if name == "random":
        return RandomPolicy(spec)
    check_player(name, spec)
    return NumpyActorCritic.from_checkpoint(load_checkpoint(Path(name)), Path(name).stem)


def check_player(name: str, spec: LaneSpec) -> None:
    """Raises ``UserError`` if a named player cannot act on what an environment shows."""
    if name in BUILT_IN:
        return
    if not Path(name).is_file():
        raise UserError(
            f"policy {name}: no such checkpoint; allowed: {', '.join(BUILT_IN)}, "
            "or the path of a checkpoint"
        )
    check_checkpoint(name, spec)


def check_checkpoint(name: str, spec: LaneSpec) -> None:
    """Raises ``UserError`` if a path holds no policy that can act on what an env shows."""
    fitting_checkpoint(name, spec)


def has_demonstrator(settings: EnvSettings) -> bool:
    """Says whether an environment has a demonstrator that plays: the town's own, or one set.

    A dataset in its place is imitated, and plays nothing.
    """
    if isinstance(settings, TownSettings):
        return True
    return settings.demonstrator is not None and not is_dataset_path(settings.demonstrator)


def check_demonstrator(settings: EnvSettings) -> None:
    """Raises ``UserError`` if there is no demonstrator, or it cannot play the environment."""
    if not isinstance(settings, TownSettings):
        demonstrator_from(settings.demonstrator, lane_spec(settings))
