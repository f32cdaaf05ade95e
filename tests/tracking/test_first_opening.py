"""The embedded store is made whole or not at all, however its making ends."""

import errno
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from journeyman.errors import UserError
from journeyman.tracking import sqlite
from journeyman.tracking.address import resolve_address
from journeyman.tracking.client import import_mlflow, open_client, store_errors

KILLED_AS_IT_MIGRATES = """
import os, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
from journeyman.tracking import sqlite
from journeyman.tracking.address import resolve_address
from journeyman.tracking.client import open_client

@event.listens_for(Engine, "after_cursor_execute")
def leave(connection, cursor, statement, *rest):
    if "CREATE TABLE _alembic_tmp_experiments" in statement:
        os._exit(7)

address = resolve_address(None, Path(sys.argv[1]))
sqlite.tune(address.database)
open_client(address, "tests")
"""


def test_a_kill_as_the_first_run_makes_the_store_costs_nothing(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", KILLED_AS_IT_MIGRATES, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == 7
    assert not (tmp_path / "mlflow.db").exists()
    client, experiment = open_client(resolve_address(None, tmp_path), "tests")
    run = client.create_run(experiment).info.run_id
    assert client.get_run(run).info.status == "RUNNING"
    assert not [*tmp_path.glob("*.new*")]


def test_it_has_a_write_ahead_log_from_the_start(tmp_path):
    """Several that open it at once would find it locked by the first who gives it one."""
    import_mlflow()
    sqlite.make_database(tmp_path / "mlflow.db")
    assert [each.name for each in tmp_path.iterdir()] == ["mlflow.db"]
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_disk_that_is_full_leaves_nothing_half_made(tmp_path, monkeypatch):
    import_mlflow()
    from mlflow.store.db import utils

    def filled_up(engine):
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE experiments (name TEXT)")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    address = resolve_address(None, tmp_path)
    monkeypatch.setattr(utils, "_initialize_tables", filled_up)
    with pytest.raises(UserError, match="No space left on device"), store_errors(address):
        open_client(address, "tests")
    assert [each.name for each in tmp_path.iterdir()] == ["mlflow.db.lock"]
    monkeypatch.undo()
    assert open_client(address, "tests")[1] != ""


def test_what_outlived_a_removed_database_is_not_taken_for_the_new_ones(tmp_path):
    for companion in ("-wal", "-journal", ".new", ".new-journal"):
        (tmp_path / f"mlflow.db{companion}").write_bytes(b"of another database" * 1000)
    client, experiment = open_client(resolve_address(None, tmp_path), "tests")
    assert client.get_experiment(experiment).name == "tests"
    assert not (tmp_path / "mlflow.db-journal").exists()


def test_of_several_that_open_it_first_one_makes_it(tmp_path, monkeypatch):
    made, found, address = [], [], resolve_address(None, tmp_path)
    migrate = sqlite._migrate
    monkeypatch.setattr(sqlite, "_migrate", lambda path: (made.append(path), migrate(path)))
    import_mlflow()
    threads = [
        threading.Thread(target=lambda: found.append(open_client(address, "tests")[1]))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert len(made) == 1
    assert len(found) == 3
    assert len(set(found)) == 1
