"""Demonstrators by the name ``env.demonstrator`` gives them: Python policies and checkpoints.

A package of one's own makes its demonstrators known by calling ``register_demonstrator`` where
its environment is imported from, or by an entry point in the group ``journeyman.demonstrators``
that names the factory.
"""

import difflib
import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from journeyman.checkpoint import Checkpoint, load_checkpoint
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.policies.protocol import Policy

DemonstratorFactory = Callable[[LaneSpec], Policy]
"""Builds a player for lanes of a spec; raises ``UserError`` where it cannot play them."""

ENTRY_POINT_GROUP = "journeyman.demonstrators"

BUILT_IN = ("demonstrator", "random")
"""Names that a config gives to players of its own; none of them can be registered."""

DATASET_SUFFIXES = (".json", ".jsonl", ".yaml", ".yml")
"""How the path of a manifest ends."""

_SHIPPED = {
    "cartpole": "journeyman.policies.classic_control:CartPoleBalancer",
    "mountain_car": "journeyman.policies.classic_control:MountainCarPusher",
    "acrobot": "journeyman.policies.classic_control:AcrobotSwinger",
    "pendulum": "journeyman.policies.classic_control:PendulumSwinger",
}
_registered: dict[str, DemonstratorFactory] = {}


def register_demonstrator(name: str, factory: DemonstratorFactory) -> None:
    """Makes a policy known under a name that ``env.demonstrator`` can then have.

    Registering a factory of the same module and name again replaces it.

    Args:
        name: letters, digits, ``_`` and ``-``; must not look like a path.
        factory: called with the environment's lane spec; returns the policy.

    Raises:
        ValueError: if the name is empty, looks like a path, or belongs to another factory.
    """
    if not name or not name.replace("_", "").replace("-", "").isalnum() or name in BUILT_IN:
        raise ValueError(
            f"demonstrator name {name!r}: use letters, digits, _ and -, "
            f"and none of {', '.join(BUILT_IN)}"
        )
    known = _registered.get(name)
    if name in _SHIPPED or (known is not None and _origin(known) != _origin(factory)):
        owner = _SHIPPED.get(name) or ".".join(_origin(_registered[name]))
        raise ValueError(f"demonstrator name {name!r} belongs to {owner} already")
    _registered[name] = factory


def demonstrator_names(spec: LaneSpec | None = None) -> tuple[str, ...]:
    """Returns all names there are, in order; imports no package of others.

    Args:
        spec: leave out the shipped ones that cannot play lanes of this spec.
    """
    installed = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
    shipped = {name for name in _SHIPPED if spec is None or _plays(name, spec)}
    return tuple(sorted(shipped | _registered.keys() | installed))


def _plays(name: str, spec: LaneSpec) -> bool:
    try:
        _factory(name)(spec)
    except UserError:
        return False
    return True


def how_to_set(spec: LaneSpec) -> str:
    """Returns in words what ``env.demonstrator`` can be for lanes of a spec."""
    names = demonstrator_names(spec)
    known = f"to {' or '.join(names)}, " if names else ""
    return (
        f"set env.demonstrator {known}to the name of one that you register, or to the path of a "
        "checkpoint"
    )


def is_path(name: str) -> bool:
    """Says whether a name can only be the path of a file.

    >>> is_path("outputs/run/checkpoints/final.safetensors")
    True
    >>> is_path("cartpole")
    False
    """
    return name not in BUILT_IN and not name.replace("_", "").replace("-", "").isalnum()


def is_dataset_path(name: str | None) -> bool:
    """Says whether a demonstrator's name is the path of recorded play, which cannot act.

    >>> is_dataset_path("demonstrations/manifest.json"), is_dataset_path("cartpole")
    (True, False)
    """
    return name is not None and Path(name).suffix in DATASET_SUFFIXES


def demonstrator_from(name: str | None, spec: LaneSpec) -> Policy:
    """Returns the demonstrator that ``env.demonstrator`` names.

    Args:
        name: a registered name, the path of a checkpoint, or None: there is none.
        spec: what it will see and do.

    Raises:
        UserError: if there is none, the name is unknown, or it cannot play these lanes.
    """
    if name is None:
        raise UserError(f"env.demonstrator: {spec.env_id} has no demonstrator; {how_to_set(spec)}")
    if is_dataset_path(name):
        raise UserError(
            f"env.demonstrator={name} is a dataset: it can be imitated, and does not play "
            f"{spec.env_id}"
        )
    if is_path(name):
        checkpoint = fitting_checkpoint(name, spec, key="env.demonstrator")
        return NumpyActorCritic.from_checkpoint(checkpoint, Path(name).stem)
    return _factory(name)(spec)


def fitting_checkpoint(path: str, spec: LaneSpec, *, key: str = "policy") -> Checkpoint:
    """Loads a checkpoint whose policy can act in lanes of a spec.

    Args:
        path: of a safetensors file written by journeyman.
        spec: what the policy will see and do.
        key: what names it, for messages.

    Raises:
        UserError: if it is missing, damaged, holds no policy, or was made for other lanes.
    """
    try:
        checkpoint = load_checkpoint(Path(path))
    except UserError as error:
        raise UserError([f"{key} {problem}" for problem in error.problems]) from error
    if "spec" not in checkpoint.state:
        raise UserError(f"{key} {path}: the checkpoint holds no policy")
    problems = LaneSpec.from_json(checkpoint.state["spec"]).mismatches(spec)
    if problems:
        raise UserError([f"{key} {path} does not fit {spec.env_id}: {p}" for p in problems])
    return checkpoint


def _factory(name: str) -> DemonstratorFactory:
    if name in _registered:
        return _registered[name]
    if name in _SHIPPED:
        module, _, attribute = _SHIPPED[name].partition(":")
        factory: DemonstratorFactory = getattr(importlib.import_module(module), attribute)
        return factory
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            loaded: DemonstratorFactory = point.load()
            return loaded
    names = demonstrator_names()
    close = difflib.get_close_matches(name, names, n=1)
    raise UserError(
        f"env.demonstrator: there is no {name!r} (there are {', '.join(names)}, "
        "or the path of a checkpoint)" + (f"; did you mean {close[0]}?" if close else "")
    )


def _origin(factory: DemonstratorFactory) -> tuple[str, str]:
    name = getattr(factory, "__qualname__", type(factory).__qualname__)
    return (getattr(factory, "__module__", ""), name)
