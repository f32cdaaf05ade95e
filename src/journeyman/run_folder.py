"""A run folder as one process's own: where it is, who works in it, how its run ended."""

import errno
import json
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from journeyman.checkpoint import Checkpoint, load_checkpoint, write_json
from journeyman.errors import TrainingError, UserError

STATUS_FILE = "status.json"
RUNNING = "RUNNING"
FINISHED = "FINISHED"
_LOCK_FILE = ".lock"
_REFUSALS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
)


def new_run_dir(outputs: Path) -> Path:
    """Returns a run folder's path that no other run has: date, time and a random token."""
    now = datetime.now()
    return outputs / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S}-{secrets.token_hex(2)}"


def note_status(run_dir: Path, status: str) -> None:
    """Writes how a run stands: ``RUNNING``, or how it ended, in MLflow's words."""
    write_json(run_dir / STATUS_FILE, {"status": status})


def status_of(run_dir: Path) -> str | None:
    """Returns what ``note_status`` wrote last; None: nothing ran there.

    Raises:
        UserError: the file is damaged.
    """
    path = run_dir / STATUS_FILE
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text())["status"])
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: damaged ({error!r}); remove it to go on") from error


def start_of(run_dir: Path) -> Checkpoint | None:
    """Returns the checkpoint a run was begun from; None: from an untrained policy."""
    path = run_dir / "checkpoints" / "start.safetensors"
    return load_checkpoint(path) if path.is_file() else None


def resume_point(run_dir: Path) -> tuple[Checkpoint | None, Mapping[str, Any]]:
    """Returns a run's last checkpoint, and where its tracker stood then.

    Returns:
        ``(None, {})`` for a run that was ended before it wrote one.

    Raises:
        UserError: the run ended as it should, its results and its tracking included; or the
            checkpoint is damaged.
    """
    if status_of(run_dir) in (None, FINISHED) and (run_dir / "results.json").is_file():
        raise UserError(f"{run_dir}: the run is finished; journeyman rerun runs it again")
    path = run_dir / "checkpoints" / "latest.safetensors"
    if not path.is_file():
        return None, {}
    try:
        latest = load_checkpoint(path)
    except UserError as error:
        raise UserError(f"{error}; remove it to run from the beginning") from error
    return latest, latest.state.get("tracker", {})


@contextmanager
def held(run_dir: Path) -> Generator[None]:
    """Makes the folder, and keeps other processes out of it until the end of this one's work.

    The operating system lets go of the lock when a process is gone, however it went.

    Raises:
        UserError: another process holds it.
    """
    from filelock import FileLock, Timeout

    run_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run_dir / _LOCK_FILE, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(f"{run_dir}: another process is at work on this run") from error
    try:
        yield
    finally:
        lock.release()


def is_held(run_dir: Path) -> bool:
    """Says whether a process of this machine is at work in a folder, as ``held`` keeps it."""
    from filelock import FileLock, Timeout

    if not (run_dir / _LOCK_FILE).is_file():
        return False
    try:
        with FileLock(run_dir / _LOCK_FILE, timeout=0):
            return False
    except (Timeout, OSError):  # what cannot be locked is left alone
        return True


@contextmanager
def disk_errors(run_dir: Path) -> Generator[None]:
    """Turns what the disk refuses (it is full, read-only, not ours) into one sentence.

    Raises:
        TrainingError: naming the file; what was saved before is whole.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        where = error.filename or run_dir
        latest = run_dir / "checkpoints" / "latest.safetensors"
        left = "no checkpoint was written yet"
        if latest.is_file():
            left = f"the last checkpoint is whole: journeyman resume {run_dir}"
        raise TrainingError(f"{where}: cannot be written ({error.strerror}); {left}") from error
