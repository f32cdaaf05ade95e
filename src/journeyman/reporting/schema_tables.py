"""Tables of a JSON schema's keys in Markdown: key, default, what is allowed, what it means."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import yaml

Schema = Mapping[str, Any]


class SchemaTables:
    """Writes the keys of blocks of settings.

    Args:
        definitions: the schema's ``$defs``, which references name.
    """

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions

    def keys(
        self,
        properties: Mapping[str, Schema],
        values: Schema,
        prefix: str,
        elsewhere: Mapping[str, tuple[str, Schema]] = MappingProxyType({}),
    ) -> Iterator[str]:
        """Writes the table of a block's keys, then the blocks inside it.

        Args:
            properties: the block's keys.
            values: their defaults; where a key has none, its schema's default counts.
            prefix: the block's dotted key and a dot.
            elsewhere: reference to a block -> its title and defaults in a section of its own;
                a block inside this one that equals it is only named.
        """
        rows, blocks = [], []
        for name, node in properties.items():
            key, default = f"{prefix}{name}", values.get(name, node.get("default", ...))
            inner = self.resolved(node)
            if name == "kind":
                continue
            title, there = elsewhere.get(node.get("$ref", ""), ("", {}))
            if there and there == default:
                example = next(one for one in inner["properties"] if one != "kind")
                words = f"Keys and defaults of `{title}`: `{key}.{example}` and so on."
                rows.append(f"| `{key}.*` | | | {prose(node['description'])} {words} |")
            elif "properties" in inner:
                texts = [part["description"] for part in (node, inner) if "description" in part]
                words = prose(" ".join(dict.fromkeys(texts)))
                blocks += [f"#### {key}", "", words, ""]
                blocks += self.keys(inner["properties"], default, f"{key}.")
            else:
                meaning = prose(node.get("description", ""))
                rows.append(f"| `{key}` | {_value(default)} | {self._allowed(node)} | {meaning} |")
                blocks += self._items(key, node)
        if rows:
            yield from ("| key | default | allowed | meaning |", "|---|---|---|---|", *rows, "")
        yield from blocks

    def _items(self, key: str, node: Schema) -> Iterator[str]:
        """Writes the keys of a list's items, where these are blocks."""
        for part in node.get("anyOf", [node]):
            item = self.resolved(part.get("items", {}))
            if "properties" in item:
                how = f"On the command line `{key}.0` is the first; `+` adds a key that it lacks."
                yield from (f"#### {key}[i]", "", f"{prose(item['description'])} {how}", "")
                yield from self.keys(item["properties"], {}, f"{key}[i].")

    def resolved(self, node: Schema) -> Schema:
        """Returns the definition that a node refers to, or the node itself."""
        reference = node.get("$ref")
        return self._definitions[reference.rpartition("/")[2]] if reference else node

    def _allowed(self, node: Schema) -> str:
        """Says what values a key takes."""
        if "anyOf" in node:
            return " or ".join(self._allowed(part) for part in node["anyOf"])
        if not node:
            return "anything"
        if "enum" in node or "const" in node:
            return ", ".join(f"`{value}`" for value in node.get("enum", [node.get("const")]))
        if "$ref" in node:
            return "[ramp](#ramps)" if node["$ref"].endswith("/Ramp") else "blocks as below"
        if node["type"] == "array":
            return f"list{_size(node, 'Items')}: {self._allowed(node['items'])}"
        if node["type"] == "object":
            return f"map of names to {self._allowed(node['additionalProperties'])}"
        if node["type"] == "string":
            pattern = f" matching `{escaped(node['pattern'])}`" if "pattern" in node else ""
            return f"text{pattern or _size(node, 'Length', ' characters')}"
        words = {"boolean": "`true`, `false`", "null": "`null`"}
        kind = str(node["type"])
        return words.get(kind, kind) + _bounds(node)


def _size(node: Schema, what: str, unit: str = "") -> str:
    low, high = node.get(f"min{what}", 0), node.get(f"max{what}")
    if high is not None:
        return f" of {low} to {high}{unit}"
    return ", not empty" if low else ""


def _bounds(node: Schema) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {_number(node[name])}" for name, sign in signs.items() if name in node]
    return f" {' and '.join(found)}" if found else ""


def _number(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _value(value: Any) -> str:
    if value is ... or value == "???":
        return "*required*"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return "<br>".join(_value(item) for item in value)
    return f"`{escaped(flow(value))}`"


def flow(value: Any) -> str:
    """Returns a value in YAML's one-line style."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...").strip("'")


def prose(text: str) -> str:
    """Returns a docstring's words as one line of Markdown."""
    return escaped(" ".join(text.replace("``", "`").split()))


def escaped(text: str) -> str:
    """Returns text that may stand in a cell, which a pipe would end."""
    return text.replace("|", r"\|")
