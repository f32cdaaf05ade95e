"""The town as it is shipped, with overrides, for whoever builds one without Hydra."""

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from journeyman.config_folder import CONF_DIR
from journeyman.errors import UserError
from journeyman.settings.env import TownSettings


def shipped_settings(**overrides: Any) -> TownSettings:
    """Returns the settings in ``conf/env/town.yaml`` with overrides.

    Args:
        **overrides: by the key in the file; a mapping changes the keys it names alone, and a
            dotted key is a mapping in short: ``scenario="crowd", needs={"respawn": 0.4}``,
            ``**{"observation.variant": "full"}``.

    Raises:
        UserError: with a sentence for each override that is unknown or out of bounds.
    """
    shipped = yaml.safe_load((CONF_DIR / "env" / "town.yaml").read_text(encoding="utf-8"))
    for key, value in overrides.items():
        *sections, last = key.split(".")
        change = {last: value}
        for section in reversed(sections):
            change = {section: change}
        shipped = _merged(shipped, change)
    try:
        return TownSettings.model_validate(shipped)
    except ValidationError as error:
        raise UserError([_sentence(problem, shipped) for problem in error.errors()]) from error


def _merged(base: Any, change: Any) -> Any:
    if not isinstance(base, Mapping) or not isinstance(change, Mapping):
        return change
    return {**base, **{key: _merged(base.get(key), value) for key, value in change.items()}}


def _sentence(problem: Any, asked: Any) -> str:
    *sections, last = problem["loc"]
    key = ".".join(["env", *(str(part) for part in problem["loc"])])
    if problem["type"] == "extra_forbidden":
        for section in sections:
            asked = asked[section]
        allowed = [name for name in asked if name != last] if sections else []
        return f"{key}: there is no such setting" + (
            f" (allowed {', '.join(allowed)})" if allowed else ""
        )
    return f"{key}: {problem['msg']} (got {problem['input']!r})"
