"""A run folder's log of metrics, thinned out to what a picture can show."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from journeyman.tracking.jsonl import log_parts

_HEAD = b'{"group":"'


@dataclass
class SampledGroup:
    """Lines of one metric group: the first and the last one, and evenly spaced ones between.

    Attributes:
        lines: ascending, each a JSON object.
        total: how many lines the log has of the group.
    """

    lines: list[dict[str, Any]] = field(default_factory=list)
    total: int = 0


def sample_metrics(run_dir: Path, most: int) -> dict[str, SampledGroup]:
    """Returns up to ``most`` lines of each group, in order of the groups' first appearance.

    The log is read once, and of most lines only the group's name is looked at: a log of a
    million lines takes a second, not minutes. No log gives no groups; a damaged line is left out.

    Args:
        run_dir: the run folder.
        most: lines of a group, at least 2.
    """
    kept: dict[str, list[bytes]] = {}
    strides: dict[str, int] = {}
    totals: dict[str, int] = {}
    last: dict[str, bytes] = {}
    for raw in _raw_lines(run_dir):
        if not raw.startswith(_HEAD):
            continue
        group = raw[len(_HEAD) : raw.index(b'"', len(_HEAD))].decode()
        index = totals[group] = totals.get(group, -1) + 1
        last[group] = raw
        if index % strides.setdefault(group, 1):
            continue
        lines = kept.setdefault(group, [])
        lines.append(raw)
        if len(lines) >= most:
            del lines[1::2]
            strides[group] *= 2
    sampled = {}
    for group, lines in kept.items():
        ends = [] if lines[-1] is last[group] else [last[group]]
        parsed = [line for raw in [*lines, *ends] if (line := _parsed(raw)) is not None]
        sampled[group] = SampledGroup(parsed, totals[group] + 1)
    return sampled


def _raw_lines(run_dir: Path) -> Iterator[bytes]:
    for part in log_parts(run_dir):
        with part.open("rb") as file:
            yield from file


def _parsed(raw: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None
