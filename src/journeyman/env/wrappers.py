"""Wrappers round one Gymnasium environment, found by name."""

import difflib
import inspect
from collections.abc import Callable
from typing import Any

import gymnasium

from journeyman.errors import UserError
from journeyman.settings.external_env import WrapperSettings

Wrap = Callable[..., "gymnasium.Env[Any, Any]"]
"""Called with the environment and the wrapper's keyword arguments."""

_OWN: dict[str, Wrap] = {}

_UNFIT = {
    "Autoreset": "lanes begin anew by themselves",
    "HumanRendering": "nobody watches",
    "NormalizeObservation": (
        "its statistics are in no checkpoint; use normalize_features of the strategy"
    ),
    "NormalizeReward": "its statistics are in no checkpoint; use normalize_rewards of the strategy",
    "OrderEnforcing": "every environment has it",
    "PassiveEnvChecker": "every step is checked",
    "RecordEpisodeStatistics": "episodes are counted without it",
    "RecordVideo": "films come from strategy=evaluate strategy.render=gif",
    "RenderCollection": "it keeps every picture",
    "TimeLimit": "use env.max_episode_steps",
    "TransformAction": "a function cannot be configured; register a wrapper of your own",
    "TransformObservation": "a function cannot be configured; register a wrapper of your own",
    "TransformReward": "a function cannot be configured; register a wrapper of your own",
}
"""Classes of ``gymnasium.wrappers`` that are refused, and why."""


def register_wrapper(name: str, wrap: Wrap) -> None:
    """Makes a wrapper known to ``env.wrappers`` by name.

    Call it where the environment is registered: in the module that ``env.id=module:Name-v0``
    imports.

    Args:
        name: what it is called in the config; one of your own may have the name of one of
            Gymnasium's and then comes first.
        wrap: called with the environment and the keyword arguments of the config.
    """
    _OWN[name] = wrap


def wrapper_names() -> tuple[str, ...]:
    """Returns the names ``env.wrappers`` may hold."""
    theirs = {
        name
        for name in dir(gymnasium.wrappers)
        if inspect.isclass(found := getattr(gymnasium.wrappers, name))
        and issubclass(found, gymnasium.Wrapper)
    }
    return tuple(sorted(_OWN.keys() | theirs - _UNFIT.keys()))


def find_wrappers(wrappers: tuple[WrapperSettings, ...]) -> list[tuple[Wrap, dict[str, Any]]]:
    """Returns what to call, and the keyword arguments, innermost first; lists become tuples.

    Raises:
        UserError: for each name that is unknown or unfit.
    """
    found, problems, names = [], [], wrapper_names()
    for position, wrapper in enumerate(wrappers):
        if wrapper.name in names:
            wrap = _OWN.get(wrapper.name) or getattr(gymnasium.wrappers, wrapper.name)
            kwargs = {key: _tuples(value) for key, value in (wrapper.kwargs or {}).items()}
            found.append((wrap, kwargs))
        elif wrapper.name in _UNFIT:
            problems.append(f"env.wrappers.{position}: no {wrapper.name}: {_UNFIT[wrapper.name]}")
        else:
            nearest = difflib.get_close_matches(wrapper.name, names, n=1, cutoff=0.5)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            problems.append(f"env.wrappers.{position}: no such wrapper (got {wrapper.name}{hint})")
    if problems:
        raise UserError(problems)
    return found


def _tuples(value: Any) -> Any:
    """Returns JSON's lists as tuples, which Gymnasium's wrappers ask for."""
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value
