"""What makes two runs samples of one configuration: everything in their config but the seed."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

CONFIGURATION_TAG = "config.without_seed"
"""Tag of a job with the digest of its config, as ``configuration_digest`` has it."""
SILENT = ("seed", "fail_fast", "outputs", "tracking", "plan", "profile")
"""Keys that say which sample of a configuration a run is, or where and how it is done."""


def configuration_digest(config: Mapping[str, Any]) -> str:
    """Returns a digest that runs share which differ in their seed alone, whoever started them.

    Args:
        config: JSON-able and whole, its paths absolute.
    """
    said = {key: value for key, value in config.items() if key not in SILENT}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def with_overrides(given: Iterable[str], later: Iterable[str]) -> list[str]:
    """Returns overrides with others that come after them; of one key the last counts.

    >>> with_overrides(["strategy=ppo", "seed=0"], ["seed=1", "~env.kwargs"])
    ['strategy=ppo', 'seed=1']
    """
    by_key = {_key(override): override for override in [*given, *later]}
    return [override for override in by_key.values() if not override.startswith("~")]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
