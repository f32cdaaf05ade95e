"""Metrics written into the embedded store by SQLite itself.

MLflow's own way makes several objects of each value, in Python, at a tenth of a millisecond or
so: of a small task, which logs seventy values ten times a second, that is a tenth of a core that
another job of a sweep may want. Here the same rows are written at a twentieth of the cost. Where
the tables are not those known here, as another version of MLflow may have them, MLflow is left to
do it.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from journeyman.tracking.operations import Points
from journeyman.tracking.sqlite import BUSY_MILLISECONDS

_TABLES = {
    "metrics": {
        "key": True,
        "value": True,
        "timestamp": True,
        "run_uuid": True,
        "step": True,
        "is_nan": True,
    },
    "latest_metrics": {
        "key": True,
        "value": False,
        "timestamp": False,
        "step": False,
        "is_nan": False,
        "run_uuid": True,
    },
}
"""Columns of the tables, and whether they belong to the primary key."""

_INSERT = """
INSERT OR IGNORE INTO metrics (run_uuid, key, step, timestamp, value, is_nan)
VALUES {rows}
"""
_UPDATE = """
INSERT INTO latest_metrics (run_uuid, key, step, timestamp, value, is_nan)
VALUES {rows}
ON CONFLICT (key, run_uuid) DO UPDATE SET
    step = excluded.step, timestamp = excluded.timestamp, value = excluded.value, is_nan = 0
WHERE (excluded.step, excluded.timestamp, excluded.value) > (step, timestamp, value)
"""
_ROW = "(?, ?, ?, ?, ?, 0)"
_ROWS = 190
"""Of a statement; the oldest SQLite that is about takes 999 values in one."""

Row = tuple[str, str, int, int, float]


class SqlitePoints:
    """Writes points of runs into a store's file, which MLflow has made.

    Args:
        database: the file.
    """

    def __init__(self, database: Path) -> None:
        self._uri = f"file:{quote(str(database))}?mode=rw"
        self._known: bool | None = None

    def log(self, run_id: str, points: Sequence[Points]) -> bool:
        """Writes points as MLflow's ``log_batch`` does: each row once, however often it comes.

        Returns:
            False where it is left to MLflow, with nothing written: the tables are others, or
            the run is not there or was deleted, for which MLflow has the words.

        Raises:
            sqlite3.Error: the file cannot be written now.
        """
        with closing(
            sqlite3.connect(self._uri, uri=True, timeout=BUSY_MILLISECONDS / 1000.0)
        ) as connection:
            connection.isolation_level = None
            connection.execute("PRAGMA synchronous=NORMAL")
            if self._known is None:
                self._known = _is_known(connection)
            if not self._known:
                return False
            rows = [
                (run_id, key, each.step, each.timestamp, value)
                for each in points
                for key, value in each.metrics
            ]
            latest: dict[str, Row] = {}
            for row in rows:
                if row[1] not in latest or row[2:] > latest[row[1]][2:]:
                    latest[row[1]] = row
            connection.execute("BEGIN IMMEDIATE")
            with connection:  # commits, or rolls back what an error cut short
                if not _is_active(connection, run_id):
                    return False
                _write(connection, _INSERT, rows)
                _write(connection, _UPDATE, list(latest.values()))
            return True


def _write(connection: sqlite3.Connection, statement: str, rows: Sequence[Row]) -> None:
    """Writes many rows with each statement: ``executemany`` lets go of the interpreter at each."""
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        values = list(chain.from_iterable(some))
        connection.execute(statement.format(rows=", ".join([_ROW] * len(some))), values)


def _is_known(connection: sqlite3.Connection) -> bool:
    return all(
        {
            name: bool(key)
            for _, name, _, _, _, key in connection.execute(f"PRAGMA table_info({table})")
        }
        == columns
        for table, columns in _TABLES.items()
    )


def _is_active(connection: sqlite3.Connection, run_id: str) -> bool:
    found = connection.execute("SELECT lifecycle_stage FROM runs WHERE run_uuid = ?", (run_id,))
    return bool(found.fetchone() == ("active",))
