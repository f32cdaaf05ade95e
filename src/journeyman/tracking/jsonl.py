"""The run folder's log of metrics: ``metrics.jsonl`` and its rotated parts.

Every line goes to the operating system whole, in one write, when it is logged: a run killed at
any moment keeps its lines, and a rotation never parts one.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from journeyman.errors import UserError
from journeyman.settings.metrics_log import JsonlSettings
from journeyman.tracking.null import NullStageRun
from journeyman.tracking.protocol import (
    DatasetInfo,
    MetricValue,
    RunInfo,
    RunStatus,
    StageRun,
)
from journeyman.tracking.telemetry import TELEMETRY_VERSION, validate_line
from journeyman.tracking.values import finite

FILE_NAME = "metrics.jsonl"
_RESERVED = frozenset({"group", "step", "time", "log_stream_offset"})
_ENCODE = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class JsonlTracker:
    """Writes each emission as one line ``{"group", "step", "log_stream_offset", "time", ...}``.

    A new tracker on a folder that has a log appends to it. Without ``position`` the offset runs
    on from the last line; with the ``position`` of a checkpoint, lines written after that
    checkpoint are removed first, since the resumed run writes them again.

    Args:
        settings: frequency and rotation.
        run_dir: the run folder, which need not exist yet.
        position: what ``position`` was when the checkpoint was taken; ``{}``: the log begins anew.
    """

    def __init__(
        self, settings: JsonlSettings, run_dir: Path, *, position: Mapping[str, int] | None = None
    ) -> None:
        self._settings = settings
        self._path = run_dir / FILE_NAME
        self._given = dict(position) if position is not None else None
        self._calls: dict[str, int] = {}
        self._offset = 0
        self._lines = 0
        self._file: int | None = None

    @property
    def position(self) -> dict[str, int]:
        """Next ``log_stream_offset``, and ``calls/<group>``: for a checkpoint, JSON-able."""
        return {
            "log_stream_offset": self._offset,
            **{f"calls/{group}": calls for group, calls in sorted(self._calls.items())},
        }

    def start(self, run: RunInfo) -> None:
        """Opens the file for appending."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _cut_half_line(self._path)
        if self._given is not None:
            self._offset = self._given.get("log_stream_offset", 0)
            _drop_lines_from(self._path, self._offset)
            self._calls = {
                name.removeprefix("calls/"): calls
                for name, calls in self._given.items()
                if name.startswith("calls/")
            }
        lines = list(_lines(self._path))
        self._lines = len(lines)
        if self._given is None:
            last = lines[-1] if lines else _last_line(_parts(self._path))
            self._offset = last["log_stream_offset"] + 1 if last is not None else 0
        self._open()

    def log(self, group: str, metrics: Mapping[str, MetricValue], step: int) -> None:
        """Writes a line.

        Raises:
            ValueError: a value is not finite, a name is reserved, or a line of group ``ppo``
                does not follow telemetry 1.2.
        """
        values = {name: _native(group, name, value, step) for name, value in metrics.items()}
        calls = self._calls.get(group, 0)
        self._calls[group] = calls + 1
        if calls % self._settings.log_frequency:
            return
        line: dict[str, Any] = {
            "group": group,
            "step": int(step),
            "log_stream_offset": self._offset,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            **values,
        }
        if group == "ppo":
            line.setdefault("telemetry_version", TELEMETRY_VERSION)
        validate_line(line)
        self._write(_ENCODE(line))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Keeps no tags: the run folder has its config and results."""

    def dataset(self, data: DatasetInfo) -> None:
        """Keeps nothing: the config says which data there are."""

    def model(self, folder: Path, name: str, step: int, tags: Mapping[str, str]) -> None:
        """Keeps no copy: the model lies in the run folder already."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keeps no copy: artifacts lie in the run folder already."""

    @contextmanager
    def stage(self, name: str, settings: Mapping[str, object]) -> Iterator[StageRun]:
        """Syncs the file to the disk at the stage's end; its figures are in ``results.json``."""
        try:
            yield NullStageRun()
        finally:
            self._sync()

    def finish(self, status: RunStatus) -> None:
        """Syncs and closes the file; a second call does nothing."""
        if self._file is not None:
            self._sync()
            os.close(self._file)
            self._file = None

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def _sync(self) -> None:
        if self._file is not None:
            os.fsync(self._file)

    def _write(self, text: str) -> None:
        if self._file is None:
            raise RuntimeError("metrics logged before start() or after finish()")
        if self._lines >= self._settings.max_log_entries:
            self._rotate()
        data = f"{text}\n".encode()
        while data:  # one write as a rule; a full disk or a signal may part it
            data = data[os.write(self._file, data) :]
        self._lines += 1
        self._offset += 1

    def _rotate(self) -> None:
        self.finish(RunStatus.FINISHED)
        for number in _rotated_numbers(self._path)[::-1]:
            part = _rotated(self._path, number)
            if number + 1 >= self._settings.max_files:
                part.unlink()
            else:
                part.replace(_rotated(self._path, number + 1))
        if self._settings.max_files > 1:
            self._path.replace(_rotated(self._path, 1))
        else:
            self._path.unlink()
        self._lines = 0
        self._open()


def log_parts(run_dir: Path) -> list[Path]:
    """Returns the files of a run folder's log, oldest first; none where it has no log."""
    return _parts(run_dir / FILE_NAME)


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """Returns all lines of a run folder's log, rotated parts first, in the order written.

    Raises:
        UserError: there is no log, or a line is no JSON object (a half line at the very end,
            which a crash of the machine can leave, is passed over).
    """
    path = run_dir / FILE_NAME
    parts = _parts(path)
    if not parts:
        raise UserError(f"{run_dir} has no {FILE_NAME}; name the folder of a run")
    return [line for part in parts for line in _lines(part)]


def _native(group: str, name: str, value: Any, step: int) -> MetricValue:
    """Returns a value as JSON has it: NumPy scalars and 0-d tensors become Python's own."""
    if name in _RESERVED:
        raise ValueError(f"metric name {name!r} of group {group!r} is reserved")
    # The common case first: this runs on the training thread, for every value.
    if type(value) is float and math.isfinite(value):
        return value
    if hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, str):
        finite(f"{group}/{name}", value, step)
    if not isinstance(value, str | int | float):
        raise ValueError(f"metric '{group}/{name}' at step {step} is no number: {value!r}")
    return value


def _rotated(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _rotated_numbers(path: Path) -> list[int]:
    """Returns the numbers of the rotated parts, ascending; a kill amid a rotation leaves gaps."""
    suffixes = (
        part.name.removeprefix(f"{path.name}.") for part in path.parent.glob(f"{path.name}.*")
    )
    return sorted(int(suffix) for suffix in suffixes if suffix.isdigit())


def _parts(path: Path) -> list[Path]:
    """Returns the existing parts, oldest first, the current file last."""
    rotated = [_rotated(path, number) for number in _rotated_numbers(path)[::-1]]
    return rotated + ([path] if path.exists() else [])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.endswith(b"\n"):
                return
            try:
                line = json.loads(raw)
            except ValueError as error:
                raise UserError(f"{path}:{number} is not a JSON object: {error}") from error
            if not isinstance(line, dict):
                raise UserError(f"{path}:{number} is not a JSON object")
            yield line


def _last_line(parts: list[Path]) -> dict[str, Any] | None:
    for part in reversed(parts):
        lines = list(_lines(part))
        if lines:
            return lines[-1]
    return None


def _cut_half_line(path: Path) -> None:
    if path.exists():
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            with path.open("r+b") as file:
                file.truncate(data.rfind(b"\n") + 1)


def _drop_lines_from(path: Path, offset: int) -> None:
    """Removes the lines with this ``log_stream_offset`` and later ones; parts keep their order."""
    kept: list[Path] = []
    for part in _parts(path):
        lines = list(_lines(part))
        before = [line for line in lines if line["log_stream_offset"] < offset]
        if not before:
            part.unlink()
            continue
        if len(before) < len(lines):
            temporary = part.with_name(f"{part.name}.tmp")
            temporary.write_bytes(
                b"".join(part.read_bytes().splitlines(keepends=True)[: len(before)])
            )
            temporary.replace(part)
        kept.append(part)
    # Newest last: the part that is the newest now takes the current file's name, and so on.
    for age, part in enumerate(reversed(kept)):
        target = path if age == 0 else _rotated(path, age)
        if part != target:
            part.replace(target)
