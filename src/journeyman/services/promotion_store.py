"""The state of promotion in a folder: ``promotion.json``, and every event it ever saw.

``promotion.json`` is replaced atomically and decides; ``promotion_history.jsonl`` is appended to
afterwards, with each entry of the snapshot's history whose number it does not have. A process
killed between the two, or within an append, leaves entries missing or a line torn; the next
writer adds them. So no event is lost and none is written twice.
"""

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from journeyman.checkpoint import write_json
from journeyman.errors import UserError
from journeyman.results import PromotionSnapshot


class PromotionStore:
    """Reads and writes the promotion state of a folder; processes wait for each other.

    Whoever changes the state holds ``exclusive()`` from ``load`` to ``save``. A ``save`` that
    would overwrite what another process saved since this store's last ``load`` is refused.
    """

    def __init__(self, folder: Path, *, lock_timeout: float = 600.0) -> None:
        """Names the folder.

        Args:
            folder: where the files lie, or will lie from the first ``save`` on.
            lock_timeout: seconds to wait for another process.
        """
        self.path = folder / "promotion.json"
        self.history_path = folder / "promotion_history.jsonl"
        self._lock_timeout = lock_timeout
        self._lock = FileLock(folder / ".promotion.lock", timeout=lock_timeout)
        self._last_seen: bytes | None = None

    @contextmanager
    def exclusive(self) -> Generator[None]:
        """Keeps other processes out; may be nested.

        Raises:
            UserError: if another process holds the lock for longer than the timeout.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise UserError(
                f"{self._lock.lock_file}: another process has been working on this promotion "
                f"state for more than {self._lock_timeout:.0f} s"
            ) from error
        try:
            yield
        finally:
            self._lock.release()

    def load(
        self, *, required_passes: int, current_release: str | None = None
    ) -> PromotionSnapshot:
        """Returns the state, or a fresh one where the folder has none.

        Args:
            required_passes: as configured now; where it has changed, readiness is judged anew
                by the streak there is.
            current_release: weights digest of the reigning champion, for a fresh state.

        Raises:
            UserError: if ``promotion.json`` is not a promotion state; it is left as it is.
        """
        with self.exclusive():
            self._last_seen = self._read()
            if self._last_seen is None:
                return PromotionSnapshot(
                    required_passes=required_passes,
                    current_release=current_release,
                    initial_release=current_release,
                )
            try:
                snapshot = PromotionSnapshot.model_validate_json(self._last_seen)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"]) or "the document"
                raise UserError(
                    f"{self.path}: not a promotion state ({where}: {first['msg']}); restore it "
                    "from a backup, or move it away to start from nothing"
                ) from error
        if not all(_is_event(entry) for entry in snapshot.history):
            raise UserError(
                f"{self.path}: not a promotion state (an entry of its history is no event); "
                "restore it from a backup, or move it away to start from nothing"
            )
        return _requiring(snapshot, required_passes)

    def save(self, snapshot: PromotionSnapshot) -> None:
        """Replaces the state and appends its new history entries.

        Raises:
            UserError: if the state was changed by others since this store last read it, or
                ``promotion_history.jsonl`` is damaged or tells another story.
        """
        with self.exclusive():
            if self._read() != self._last_seen:
                raise UserError(
                    f"{self.path}: changed by another process since it was read; nothing was "
                    "written, evaluate again"
                )
            missing = self._missing(snapshot)
            write_json(self.path, snapshot.model_dump(mode="json"))
            self._last_seen = self._read()
            self._append(missing)

    def history(self) -> tuple[dict[str, Any], ...]:
        """Returns every event ever recorded, oldest first.

        Raises:
            UserError: if ``promotion_history.jsonl`` has a line that is no entry.
        """
        if not self.history_path.exists():
            return ()
        entries = []
        whole, _, _ = self.history_path.read_bytes().rpartition(b"\n")
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            if not _is_event(entry):
                raise UserError(
                    f"{self.history_path}, line {number}: not a promotion event; restore the "
                    "file from a backup, or move it away"
                )
            entries.append(entry)
        return tuple(entries)

    def _read(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None

    def _missing(self, snapshot: PromotionSnapshot) -> list[dict[str, Any]]:
        """Returns the events of a snapshot that the history file does not have yet."""
        recorded = {entry["number"]: entry for entry in self.history()}
        latest = snapshot.history[-1]["number"] if snapshot.history else 0
        if max(recorded, default=0) > latest or any(
            recorded.get(entry["number"], entry) != entry for entry in snapshot.history
        ):
            raise UserError(
                f"{self.history_path}: records other events than {self.path.name}; restore both "
                "from one backup, or move both away"
            )
        return [entry for entry in snapshot.history if entry["number"] not in recorded]

    def _append(self, entries: list[dict[str, Any]]) -> None:
        """Adds lines behind the last whole one; a torn line's event is among ``entries``."""
        if not entries:
            return
        with self.history_path.open("ab") as stream:
            whole, newline, _ = self.history_path.read_bytes().rpartition(b"\n")
            stream.truncate(len(whole + newline))
            for entry in entries:
                stream.write(json.dumps(entry, allow_nan=False).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())


def _is_event(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("number"), int)
        and isinstance(entry.get("event"), str)
    )


def _requiring(snapshot: PromotionSnapshot, required_passes: int) -> PromotionSnapshot:
    """Returns the snapshot under another number of required passes."""
    if snapshot.required_passes == required_passes:
        return snapshot
    ready = snapshot.pass_streak >= required_passes
    # The streak was what it is at the last evaluation, though it was not enough (or too much).
    since = snapshot.candidate_ready_at or snapshot.last_evaluated
    state = snapshot.state
    if state != "promoted":
        state = "ready" if ready else "monitoring"
    return snapshot.model_copy(
        update={
            "required_passes": required_passes,
            "state": state,
            "candidate_ready": ready,
            "candidate_ready_at": since if ready else None,
        }
    )
