"""The config reference, generated from the settings' schema and ``conf/``.

    python -m journeyman.reporting.config_reference > docs/config.md

Meanings and bounds come from the schema, defaults from composing each option, the words about
an option from the comment on top of its file.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from journeyman.reporting.schema_tables import Schema, SchemaTables, escaped, flow, prose
from journeyman.settings.root import Settings

CONF_DIR = Path(__file__).resolve().parents[3] / "conf"
COMMAND = "python -m journeyman.reporting.config_reference > docs/config.md"

_LONGEST_CHANGE = 60
_INTRODUCTION = f"""\
<!-- Generated: {COMMAND} -->
# Config reference

A run is composed from one option of each config group, and the keys beside them. On the command
line `group=option` chooses an option and `key=value` sets any key below:

    journeyman strategy=ppo env.scenario=queue_conflict seed=1

`journeyman --cfg job` prints what a command line composes to, without running it. Unknown keys and
values that are not allowed end the program with exit code 2 before anything is written. A key
named `kind` comes with its option and is not set by hand. Among the defaults `${{...}}` takes the
value of another key, and *required* means that there is none.

## Keys outside the groups
"""
_RAMPS = """\
## Ramps

Where a ramp is allowed, the value goes from `start` to `end` over the updates of a stage (or of
the run, where it has no stages): `'strategy.ppo.clip={start: 0.2, end: 0.05}'`.
"""


@dataclass(frozen=True)
class Option:
    """One file of a config group.

    Attributes:
        name: what is written after ``group=``.
        command: the command in its comment, where it has one.
        comment: the first line of its comment that is no command.
        values: the composed group under this option, interpolations as written.
    """

    name: str
    command: str | None
    comment: str
    values: Schema


def config_reference(conf_dir: Path = CONF_DIR) -> str:
    """Returns ``docs/config.md``.

    Args:
        conf_dir: folder of ``config.yaml`` and the config groups.
    """
    schema = Settings.model_json_schema()
    properties, tables = schema["properties"], SchemaTables(schema["$defs"])
    defaults = yaml.safe_load((conf_dir / "config.yaml").read_text())["defaults"]
    chosen = {k: v for entry in defaults if isinstance(entry, dict) for k, v in entry.items()}
    folders = sorted(path.name for path in conf_dir.iterdir() if path.is_dir())
    with initialize_config_dir(str(conf_dir.resolve()), version_base="1.3"):
        composed = _composed([])
        groups = {name: _options(conf_dir, name, name in properties) for name in folders}
    sections = [name for name in properties if name in groups]
    wholes = [name for name in folders if name not in properties]
    own = {name: node for name, node in properties.items() if name not in groups}
    lines = [_INTRODUCTION, *tables.keys(own, composed, "")]
    for name in sections:
        lines += _group(tables, name, properties[name], groups[name], chosen.get(name))
    for name in wholes:
        lines += _whole_configs(name, groups[name])
    lines += [_RAMPS, *tables.keys(schema["$defs"]["Ramp"]["properties"], {}, "")]
    return "\n".join(lines).rstrip("\n") + "\n"


def _composed(overrides: list[str]) -> dict[str, Any]:
    container = OmegaConf.to_container(compose("config", overrides=overrides), resolve=False)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def _options(conf_dir: Path, group: str, has_keys: bool) -> list[Option]:
    """Reads a group's options, and composes them if it has keys of its own."""
    options = []
    for path in sorted((conf_dir / group).glob("*.yaml")):
        head = itertools.takewhile(lambda line: line[:1] == "#", path.read_text().splitlines())
        comments = [line[1:].strip() for line in head if "@package" not in line]
        command = None
        if comments and comments[0].startswith("journeyman "):
            command = comments.pop(0)
        values = _composed([f"{group}={path.stem}"])[group] if has_keys else {}
        options.append(Option(path.stem, command, comments[0] if comments else "", values))
    return options


def _whole_configs(group: str, options: Sequence[Option]) -> Iterator[str]:
    """Writes a group whose options set keys of other groups."""
    yield from (f"## {group}", "", "An option sets keys of other groups.", "")
    yield from ("| command | what it is |", "|---|---|")
    for option in options:
        command = option.command or f"journeyman {group}={option.name}"
        yield f"| `{command}` | {prose(option.comment)} |"
    yield ""


def _group(
    tables: SchemaTables, name: str, node: Schema, options: Sequence[Option], chosen: str | None
) -> Iterator[str]:
    """Writes a config group: its options, then its keys, a branch of the schema a table."""
    branches = node.get("discriminator", {}).get("mapping", {})
    shown: dict[str | None, Option] = {}
    for option in sorted(options, key=lambda one: one.name != chosen):
        shown.setdefault(option.values.get("kind"), option)
    yield from (f"## {name}", "")
    yield from (f"| `{name}=` | what it is | what it sets differently |", "|---|---|---|")
    for option in options:
        first = shown[option.values.get("kind")]
        default = " (default)" if option.name == chosen else ""
        changes = _changes(first.values, option.values)
        yield f"| `{option.name}`{default} | {prose(option.comment)} | {changes} |"
    yield ""
    for kind, reference in branches.items() or [(None, node["$ref"])]:
        first = shown[kind] if kind else next(iter(shown.values()))
        block = tables.resolved({"$ref": reference})
        yield from (f"### {name}={kind}", "") if kind else ()
        yield from (prose(block["description"]), "")
        others = {
            other: (f"{name}={k}", shown[k].values) for k, other in branches.items() if k != kind
        }
        yield from tables.keys(block["properties"], first.values, f"{name}.", others)


def _changes(first: Schema, option: Schema, prefix: str = "") -> str:
    """Says what one option sets to another value than the one whose values are shown."""
    found = []
    for name, value in option.items():
        before = first.get(name, ...)
        text = escaped(flow(value))
        if isinstance(value, dict) and isinstance(before, dict):
            found.append(_changes(before, value, f"{prefix}{name}."))
        elif value != before:
            said = f": {text}" if len(text) <= _LONGEST_CHANGE else ""
            found.append(f"`{prefix}{name}{said}`")
    return ", ".join(filter(None, found))


if __name__ == "__main__":
    print(config_reference(), end="")
