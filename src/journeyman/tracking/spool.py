"""What a store has not taken, kept in the run folder, from where it is delivered later.

The file only grows, a line an operation, until the store has taken all that is in it; then it is
removed. So it may hold what the store has taken already: every operation can be carried out
twice, and changes nothing the second time.
"""

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journeyman.errors import UserError
from journeyman.tracking.operations import (
    Operation,
    RunReference,
    describe,
    from_line,
    to_line,
)

FILE_NAME = "tracking_spool.jsonl"
REFUSED_NAME = "tracking_refused.jsonl"
"""What the store will never take, with its reasons."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SpoolHead:
    """The first line of a spool: which store it is for.

    Attributes:
        tracking_uri: the store, without a password.
        experiment: name of the experiment that runs are opened in.
        outputs: outputs folder of the run.
    """

    tracking_uri: str
    experiment: str
    outputs: str


class Spool:
    """A folder's spool file, written to by several threads.

    Args:
        folder: run folder, or folder of a sweep.
        head: of the file, if it must be begun.
        outstanding: operations that it holds already and that are not taken.
    """

    def __init__(self, folder: Path, head: SpoolHead, *, outstanding: int = 0) -> None:
        self.path = folder / FILE_NAME
        self.refused = 0
        self._head = head
        self._outstanding = outstanding
        self._lock = threading.Lock()
        self._broken = False
        _cut_half_line(self.path)

    def append(self, lines: Sequence[str], *, sync: bool = False) -> None:
        """Adds lines of ``spooled_lines``; what the disk refuses is warned of, once."""
        with self._lock:
            self._outstanding += len(lines)
            if self._broken:
                return
            try:
                self._write(lines, sync)
            except OSError as error:
                self._give_up(error)

    def taken(self, count: int) -> None:
        """Counts operations off that the store has now, or refused; the last removes the file."""
        with self._lock:
            self._outstanding -= count
            if count and not self._outstanding:
                with contextlib.suppress(OSError):  # one that is broken may be no file at all
                    self.path.unlink()

    def rewrite(self, lines: Sequence[str]) -> bool:
        """Puts these lines in the place of all others; False where there is no file."""
        with self._lock:
            if not self.path.exists():
                return False
            self._outstanding = len(lines)
            if not lines:
                self.path.unlink()
                return True
            temporary = self.path.with_name(f"{self.path.name}.tmp")
            try:
                temporary.write_text(self._first_line() + "".join(lines), encoding="utf-8")
                temporary.replace(self.path)
            except OSError as error:
                # The old lines are true as they are, but not with newer ones below them.
                self._give_up(error)
            return True

    def refuse(self, operation: Operation, reason: str) -> None:
        """Notes what the store will never take, beside the spool."""
        with self._lock:
            self.refused += 1
            line = {"reason": reason, "what": describe(operation), **to_line(operation)}
            try:
                with self.path.with_name(REFUSED_NAME).open("a", encoding="utf-8") as file:
                    file.write(f"{json.dumps(line)}\n")
            except OSError as error:
                _logger.warning("%s was refused and cannot be noted: %s", line["what"], error)

    def _write(self, lines: Sequence[str], sync: bool) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(file).st_size
            data = ("" if size else self._first_line()).encode() + "".join(lines).encode()
            try:
                while data:
                    data = data[os.write(file, data) :]
                if sync:
                    os.fsync(file)
            except OSError:
                os.ftruncate(file, size)
                raise
        finally:
            os.close(file)

    def _give_up(self, error: OSError) -> None:
        self._broken = True
        _logger.warning(
            "%s cannot be written (%s); what the store does not take until the run's end is lost "
            "there, but not in metrics.jsonl",
            self.path,
            error.strerror,
        )

    def _first_line(self) -> str:
        return f"{json.dumps(vars(self._head))}\n"


def spooled_lines(operations: Iterable[Operation]) -> list[str]:
    """Returns operations as lines of a spool."""
    return [f"{json.dumps(to_line(each), allow_nan=False)}\n" for each in operations]


def spool_head(folder: Path) -> SpoolHead | None:
    """Returns which store a folder's spool is meant for, or None where there is none.

    Raises:
        UserError: it is no spool.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as file:
        text = file.readline()
    if not text.endswith("\n"):  # killed as it was begun
        return None
    try:
        return SpoolHead(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}:1 is no head of a spool: {error}") from error


def read_spool(folder: Path, runs: dict[str, RunReference]) -> list[Operation]:
    """Returns the operations of a folder's spool, in order.

    Args:
        folder: with or without a spool.
        runs: by label; those met are added.

    Raises:
        UserError: a line is no operation (a half line at the very end, which a killed process
            can leave, is passed over).
    """
    path = folder / FILE_NAME
    if not path.exists():
        return []
    operations = []
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, start=1):
            if number == 1 or not text.endswith("\n"):
                continue
            try:
                line: dict[str, Any] = json.loads(text)
                operations.append(from_line(line, runs))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path}:{number} is no line of a spool: {error}") from error
    return operations


def spools_below(folder: Path) -> list[Path]:
    """Returns the folders in a folder, or that folder itself, that have a spool.

    The deepest come first: a sweep's own account comes after its jobs'.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name a run folder or an outputs folder")
    found = [path.parent for path in folder.rglob(FILE_NAME)]
    return sorted(found, key=lambda each: (-len(each.parts), each))


def _cut_half_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            last = file.read(end - start).rfind(b"\n")
            if last >= 0:
                file.truncate(start + last + 1)
                return
            end = start
        file.truncate(0)
