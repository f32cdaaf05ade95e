"""What somebody may have meant by a key that a config does not have."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from journeyman.config_folder import CONF_DIR

UNKNOWN_KEY = "unknown key"


def with_suggestions(problems: Iterable[str], config: DictConfig) -> list[str]:
    """Adds to each problem ``key: unknown key`` what may have been meant.

    Args:
        problems: any problems, a sentence each.
        config: the composed or saved config, of whose keys one may have been meant.
    """
    known = list(_dotted_keys(OmegaConf.to_container(config, resolve=False)))
    groups = [str(group) for group in config]
    chosen = {group: OmegaConf.select(config, f"{group}.kind") for group in groups}
    return [_with_suggestion(problem, known, chosen) for problem in problems]


def _with_suggestion(problem: str, known: Sequence[str], chosen: Mapping[Any, Any]) -> str:
    """Adds to an unknown key what has it, what is allowed in its place, or what it resembles.

    Args:
        problem: any problem.
        known: all keys there are.
        chosen: config group -> kind of the option that is chosen, or None.
    """
    key, separator, rest = problem.partition(": unknown key")
    if not separator or rest:
        return problem
    group, _, inner = key.partition(".")
    if chosen.get(group) and (owners := _options_with(group, inner)):
        options = " and ".join(f"{group}={owner}" for owner in owners)
        return f"{key}: a key of {options}, the run has {group}={chosen[group]}"
    section = key.rpartition(".")[0]
    siblings = [one.removeprefix(f"{section}.") for one in known if one.startswith(f"{section}.")]
    allowed = allowed_keys([name for name in siblings if "." not in name]) if section else ""
    hints = [hint for hint in (allowed, _resembling(key, known)) if hint]
    return f"{problem} ({'; '.join(hints)})" if hints else problem


def _resembling(key: str, known: Sequence[str]) -> str:
    """Asks for the key that ends as an unknown one, or else for one that looks like it."""
    same = [one for one in known if one.endswith(f".{key}")]
    if same:
        return f"did you mean {' or '.join(same[:3])}?"
    last = key.rpartition(".")[2]
    for one in difflib.get_close_matches(key, known, n=5, cutoff=0.6):
        # long keys look alike for the sections they share
        if difflib.get_close_matches(last, [one.rpartition(".")[2]], cutoff=0.6):
            return f"did you mean {one}?"
    return ""


_FEW_KEYS = 6
"""The keys of a section with no more than these are all told to who misses one."""


def allowed_keys(names: Sequence[str]) -> str:
    """Returns a hint with all keys of a section, if they are few."""
    return f"allowed {', '.join(names)}" if 0 < len(names) <= _FEW_KEYS else ""


def _options_with(group: str, key: str) -> list[str]:
    """Returns the shipped options of a config group whose files set a dotted key."""
    owners = []
    for path in sorted((CONF_DIR / group).glob("*.yaml")):
        node = yaml.safe_load(path.read_text())
        for part in key.split("."):
            node = node.get(part, ...) if isinstance(node, Mapping) else ...
        if node is not ...:
            owners.append(path.stem)
    return owners


def _dotted_keys(node: Any, prefix: str = "") -> Iterable[str]:
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield f"{prefix}{name}"
            yield from _dotted_keys(child, f"{prefix}{name}.")
