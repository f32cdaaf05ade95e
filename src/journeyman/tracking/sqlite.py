"""SQLite as several processes need it: write-ahead log, and made whole, by one, before its use."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from journeyman.errors import UserError

LOCK_SECONDS = 120.0
BUSY_MILLISECONDS = 20_000
"""How long a connection waits for others' locks, from its first statement on; MLflow's own wait
of that length begins with its first session, and a disk that stalls can hold a lock before."""

_UNFINISHED = ".new"
_COMPANIONS = ("", "-journal", "-wal", "-shm")
"""What SQLite calls the files beside a database, after its own name."""

_mutex = threading.Lock()
_databases: set[str] = set()


def _on_connect(connection: Any, record: Any) -> None:
    """Sets up a new connection of SQLAlchemy, if it is one to a database of ours."""
    if not isinstance(connection, sqlite3.Connection):
        return
    for _, name, file in connection.execute("PRAGMA database_list").fetchall():
        if name == "main" and file and str(Path(file).resolve()) in _databases:
            connection.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
            connection.execute("PRAGMA journal_mode=WAL")
            # Survives a killed process; only a power cut can cost the last transactions, and
            # metrics.jsonl has these.
            connection.execute("PRAGMA synchronous=NORMAL")


def tune(database: Path) -> None:
    """Puts connections to this file, from now on, into WAL mode with ``synchronous=NORMAL``.

    Other users of SQLAlchemy in the process see a listener that passes their connections by.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    with _mutex:
        if not _databases:
            event.listen(Engine, "connect", _on_connect)
        _databases.add(str(database.resolve()))


@contextmanager
def first_opening(database: Path) -> Iterator[None]:
    """Lets one process at a time open the file: of several creating it at once all but one fail.

    Raises:
        UserError: another process has held the lock for two minutes.
    """
    import filelock

    database.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(f"{database}.lock", timeout=LOCK_SECONDS)
    try:
        with lock:
            yield
    except filelock.Timeout as error:
        raise UserError(
            f"another process has held {database}.lock for {LOCK_SECONDS:.0f} s; "
            "end it, or choose another database with tracking.uri"
        ) from error


def make_database(database: Path) -> None:
    """Makes MLflow's tables in a file that is new; does nothing where there is one.

    MLflow makes them by migrations that are no transaction: what a kill leaves of them, nothing
    opens any more. So they are made in a file beside it, which gets its name when it is whole.
    Called under ``first_opening``.

    Raises:
        OSError: the file cannot be written.
        sqlalchemy.exc.SQLAlchemyError: the same, in SQLAlchemy's words.
    """
    if database.exists() and database.stat().st_size:
        return
    unfinished = database.with_name(database.name + _UNFINISHED)
    _remove(unfinished)  # what a killed process left
    try:
        _migrate(unfinished)
        _write_through(unfinished)
        _remove(database)  # a log that outlived its database would be taken for the new one's
        unfinished.rename(database)
    except BaseException:
        _remove(unfinished)
        raise
    _write_through(database.parent)


def _migrate(database: Path) -> None:
    from mlflow.store.db import utils
    from sqlalchemy import event

    engine = utils.create_sqlalchemy_engine(f"sqlite:///{database}")
    event.listen(engine, "connect", _without_care)
    try:
        utils._initialize_tables(engine)
    finally:
        engine.dispose()
    # The file keeps it: of several that come upon a file without it, all but one find it locked.
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def _without_care(connection: Any, record: Any) -> None:
    """Sets up a connection to a file that nobody else reads, and half of which is of no use."""
    connection.execute("PRAGMA journal_mode=MEMORY")
    connection.execute("PRAGMA synchronous=OFF")


def _remove(database: Path) -> None:
    for companion in _COMPANIONS:
        database.with_name(database.name + companion).unlink(missing_ok=True)


def _write_through(path: Path) -> None:
    """Has what is in a file, or in a folder's list, on disk before anything goes on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
