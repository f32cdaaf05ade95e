"""What may be logged: metric names and values, checked at the call that logs them."""

import json
import math
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from journeyman.tracking.protocol import MetricValue

MAX_KEY_LENGTH = 250
"""Longest metric, param or tag name MLflow stores."""
MAX_PARAM_LENGTH = 6000
"""Longest param value MLflow stores."""
MAX_TAG_LENGTH = 8000
"""Longest tag value MLflow stores."""
LEFT_OUT_TAG = "params.left_out"
"""Tag naming the params that MLflow cannot store; the config artifact has them whole."""

_ALLOWED = re.compile(r"[A-Za-z0-9_\-. :/]+")


def key_problem(key: str) -> str | None:
    """Returns what is wrong with a metric or param name, or None.

    MLflow's rule: letters, digits, ``_ - . space : /``, at most 250 characters, and no path
    that another name would resolve to.
    """
    if len(key) > MAX_KEY_LENGTH:
        return f"has {len(key)} characters, at most {MAX_KEY_LENGTH} are allowed"
    if not _ALLOWED.fullmatch(key):
        return "may only contain letters, digits and _ - . space : /"
    if key.startswith(("/", "..")) or posixpath.normpath(key) != key or key == ".":
        return "reads as a path of another name"
    return None


def finite(key: str, value: Any, step: int) -> float:
    """Returns a value as a float.

    Raises:
        ValueError: it is no number or not finite; the message names key and step.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"metric {key!r} at step {step} is no number: {value!r}") from error
    if not math.isfinite(number):
        raise ValueError(f"metric {key!r} at step {step} is not finite: {number}")
    return number


class MetricCheck:
    """Turns a group's metrics into ``(group/name, float)`` pairs, each name checked once."""

    def __init__(self) -> None:
        self._keys: dict[str, dict[str, str]] = {}

    def __call__(
        self, group: str, metrics: Mapping[str, MetricValue], step: int
    ) -> list[tuple[str, float]]:
        """Returns the pairs; words are left out, since no curve can be drawn of them.

        Raises:
            ValueError: a name is illegal or a value not finite; nothing is returned then.
        """
        keys = self._keys.setdefault(group, {})
        pairs: list[tuple[str, float]] = []
        for name, value in metrics.items():
            key = keys.get(name)
            if key is None:
                key = keys[name] = self._checked(f"{group}/{name}" if group else name)
            if isinstance(value, str):
                continue
            # The common case first: this loop runs on the training thread.
            if type(value) is float and math.isfinite(value):
                pairs.append((key, value))
            else:
                pairs.append((key, finite(key, value, step)))
        return pairs

    @staticmethod
    def _checked(key: str) -> str:
        problem = key_problem(key)
        if problem is not None:
            raise ValueError(f"metric name {key!r} {problem}")
        return key


def flatten(settings: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields the leaves of nested settings as dotted key and text, spelled as in YAML.

    >>> dict(flatten({"ppo": {"clip": 0.2, "value_clip": None}, "name": "a"}))
    {'ppo.clip': '0.2', 'ppo.value_clip': 'null', 'name': 'a'}
    """
    for name, value in settings.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{key}.")
        elif isinstance(value, str):
            yield key, value
        else:
            yield key, json.dumps(value, default=str)


def storable_params(params: Mapping[str, object]) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the params MLflow can store, and the tag that names those it cannot (or none)."""
    stored: dict[str, str] = {}
    left_out: list[str] = []
    for key, value in flatten(params):
        if len(value) > MAX_PARAM_LENGTH or key_problem(key) is not None:
            left_out.append(key)
        else:
            stored[key] = value
    return stored, cut_tags({LEFT_OUT_TAG: ", ".join(left_out)}) if left_out else {}


def cut_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Returns tags whose values end with ``... (cut)`` where MLflow has no room for all.

    Raises:
        ValueError: a key is illegal.
    """
    cut: dict[str, str] = {}
    for key, value in tags.items():
        problem = key_problem(key)
        if problem is not None:
            raise ValueError(f"tag name {key!r} {problem}")
        text = str(value)
        room = MAX_TAG_LENGTH - len(" ... (cut)")
        cut[key] = text if len(text) <= MAX_TAG_LENGTH else f"{text[:room]} ... (cut)"
    return cut
