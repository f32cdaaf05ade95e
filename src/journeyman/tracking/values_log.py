"""One metric of a run that is still being written, followed as it grows."""

import json
from collections.abc import Iterator
from pathlib import Path

from journeyman.tracking.jsonl import FILE_NAME


class ValueFollower:
    """Reads the new values of a metric from a run folder's log, each once.

    A rotation of the log meanwhile costs the lines between two looks, not more.

    Args:
        run_dir: the run folder, which need not exist yet.
        metric: ``group/name``.
    """

    def __init__(self, run_dir: Path, metric: str) -> None:
        self._path = run_dir / FILE_NAME
        self._group, _, self._name = metric.partition("/")
        self._read = 0
        self._count = 0

    def new_values(self) -> Iterator[tuple[int, float]]:
        """Yields ``(how many so far, value)`` of what was logged since the last call."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(0, 2)
            if file.tell() < self._read:
                self._read = 0
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for text in whole.splitlines():
            line = json.loads(text)
            if line["group"] == self._group and self._name in line:
                self._count += 1
                yield self._count, float(line[self._name])
