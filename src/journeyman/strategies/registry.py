"""Strategies by name; those that need torch are loaded only when chosen."""

import importlib
import importlib.util
from typing import cast

from journeyman.errors import TorchNotAvailableError
from journeyman.strategies.base import Strategy

_FACTORIES = {
    "capture": "journeyman.strategies.capture:CaptureStrategy",
    "replay": "journeyman.strategies.replay:ReplayStrategy",
    "evaluate": "journeyman.strategies.evaluate:EvaluateStrategy",
    "bc": "journeyman.strategies.training:bc_strategy",
    "ppo": "journeyman.strategies.training:ppo_strategy",
    "anneal": "journeyman.strategies.training:anneal_strategy",
}

TRAINING = ("bc", "ppo", "anneal")
"""Strategies that train a network."""


def load_strategy(kind: str) -> Strategy:
    """Returns the strategy of a name.

    Raises:
        TorchNotAvailableError: if it trains and torch is not installed.
        KeyError: if there is none of that name (the settings allow only these).
    """
    if kind in TRAINING:
        require_torch(kind)
    module, _, factory = _FACTORIES[kind].partition(":")
    return cast(Strategy, getattr(importlib.import_module(module), factory)())


def require_torch(kind: str) -> None:
    """Raises ``TorchNotAvailableError`` if torch is not installed; does not import it."""
    try:
        found = importlib.util.find_spec("torch") is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise TorchNotAvailableError(kind)
