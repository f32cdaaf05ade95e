"""docs/config.md is what the schema and conf/ say today, and has every key there is."""

import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from journeyman.composition import compose_settings
from journeyman.reporting.config_reference import COMMAND, CONF_DIR, config_reference
from journeyman.settings.root import Settings

COMMITTED = Path(__file__).parents[2] / "docs" / "config.md"


@pytest.fixture(scope="module")
def reference() -> str:
    return config_reference()


def test_the_committed_file_is_what_is_generated_now(reference: str) -> None:
    assert COMMITTED.read_text() == reference, f"docs/config.md is out of date; run: {COMMAND}"


def branches(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yields the settings models that a type annotation allows, however nested."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) is not None or isinstance(annotation, types.UnionType):
        for argument in typing.get_args(annotation):
            yield from branches(argument)


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields the dotted key and description of every plain setting, in every branch."""
    for name, field in model.model_fields.items():
        inner = [one for one in branches(field.annotation) if one.__name__ != "Ramp"]
        item = "[i]" if "tuple" in str(field.annotation) else ""
        if name != "kind" and (not inner or item):
            yield f"{prefix}{name}", field.description or ""
        for one in inner:
            yield from keys(one, f"{prefix}{name}{item}.")


def test_every_key_of_the_schema_occurs_with_its_meaning(reference: str) -> None:
    rows = [line for line in reference.splitlines() if line.startswith("| `")]
    elsewhere = re.findall(r"^\| `([\w.]+\.)\*`", reference, re.M)
    count = 0
    for key, description in keys(Settings):
        count += 1
        if key.startswith(tuple(elsewhere)):
            # its row is the one of the option whose keys these are, e.g. strategy=bc
            key = re.sub(r"^(\w+)\.\w+\.", r"\1.", key)
        meaning = " ".join(description.replace("``", "`").split()).replace("|", r"\|")
        assert any(
            row.startswith(f"| `{key}` |") and row.endswith(f"| {meaning} |") for row in rows
        ), f"{key}: no row, or not with its meaning"
    assert count > 200  # the walk itself found the schema


def test_defaults_are_those_of_the_default_run(reference: str) -> None:
    shown: dict[str, list[str]] = {}
    for key, default in re.findall(r"^\| `([\w.]+)` \| `(.+?)` \|", reference, re.M):
        shown.setdefault(key, []).append(default)

    def check(values: dict[str, Any], prefix: str) -> int:
        checked = 0
        for name, value in values.items():
            key = f"{prefix}{name}"
            if isinstance(value, dict) and key not in shown:
                checked += check(value, f"{key}.")
            elif key in shown and not isinstance(value, list) and "$" not in shown[key][0]:
                assert value in [typed(text, value) for text in shown[key]], key
                checked += 1
        return checked

    settings = compose_settings([]).model_dump(mode="json")
    del settings["strategy"]  # its keys are shown under the options they belong to
    assert check(settings, "") > 150


def typed(text: str, value: Any) -> Any:
    """Returns what a cell says; words such as OFF are words there."""
    return text if isinstance(value, str) else yaml.safe_load(text)


def test_every_option_is_listed_with_the_first_line_of_its_comment(reference: str) -> None:
    for path in sorted(CONF_DIR.glob("*/*.yaml")):
        comments = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]
        words = [one for one in comments if not one.startswith(("@package", "journeyman "))]
        group, name = path.parent.name, path.stem
        section = reference.partition(f"\n## {group}\n")[2].partition("\n## ")[0]
        (row,) = re.findall(
            rf"^\| `(?:journeyman {group}=)?{name}`(?: \(default\))? \|.*", section, re.M
        )
        assert words[0].replace("|", r"\|") in row, path
