"""A database whose tables are another MLflow's is known before MLflow is imported."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from journeyman.doctor.stores import EXPERIMENT, store
from journeyman.errors import UserError
from journeyman.tracking import schema
from journeyman.tracking.address import StoreAway, check_reachable, resolve_address
from journeyman.tracking.client import open_client, store_errors


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A store with an experiment, as the installed MLflow makes it."""
    folder = tmp_path_factory.mktemp("made")
    open_client(resolve_address(None, folder), "tests")
    return folder / "mlflow.db"


@pytest.fixture
def outputs(made, tmp_path) -> Path:
    """A folder with a copy of it."""
    with (
        closing(sqlite3.connect(made)) as original,
        closing(sqlite3.connect(tmp_path / "mlflow.db")) as copy,
    ):
        original.backup(copy)
    return tmp_path


def change(outputs: Path, *statements: str) -> None:
    with closing(sqlite3.connect(outputs / "mlflow.db")) as database, database:
        for statement in statements:
            database.execute(statement)


def test_the_revision_that_is_needed_is_mlflows():
    from mlflow.store.db.utils import _get_latest_schema_revision

    known, needed = schema.revisions()
    assert needed == _get_latest_schema_revision()
    assert "451aebb31d03" in known  # MLflow's first
    code = (
        "import sys; from journeyman.tracking import schema; "
        "print(schema.revisions()[1], 'mlflow' in sys.modules)"
    )
    told = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert told == f"{needed} False\n"


def test_a_store_of_the_installed_mlflow_is_taken(settings, outputs):
    check_reachable(settings(), outputs)


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        (
            ["UPDATE alembic_version SET version_num = '451aebb31d03'"],
            r"of an older MLflow than the one installed .*then: mlflow db upgrade '?sqlite:////",
        ),
        (
            ["UPDATE alembic_version SET version_num = 'fffffffffff0'"],
            "of a newer MLflow than the one installed .*pip install --upgrade mlflow",
        ),
        (
            [
                "UPDATE alembic_version SET version_num = '451aebb31d03'",
                "PRAGMA foreign_keys=OFF",
                "DELETE FROM experiments",
            ],
            "was left half made when it was created, and has no runs: remove it",
        ),
    ],
)
def test_another_schema_is_refused_with_what_mends_it(settings, outputs, statements, problem):
    change(outputs, *statements)
    with pytest.raises(UserError, match=problem) as refused:
        check_reachable(settings(), outputs)
    assert not isinstance(refused.value, StoreAway)
    (found,) = store(outputs, None)
    assert found.health == "fail"
    assert found.seen == str(refused.value)


def test_where_the_needed_one_is_not_known_mlflow_says_it_once(settings, outputs, monkeypatch):
    change(outputs, "UPDATE alembic_version SET version_num = '451aebb31d03'")
    monkeypatch.setattr("journeyman.tracking.schema.revisions", lambda: None)
    check_reachable(settings(), outputs)
    address = resolve_address(None, outputs)
    with (
        pytest.raises(UserError, match="out-of-date database schema") as refused,
        store_errors(address),
    ):
        open_client(address, "tests")
    assert not isinstance(refused.value, StoreAway)


def test_a_deleted_experiment_is_refused_at_once_and_told_by_the_doctor(settings, outputs):
    change(outputs, "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'tests'")
    check_reachable(settings(experiment="other"), outputs)
    with pytest.raises(UserError, match=r"tracking\.experiment=tests was deleted in sqlite:"):
        check_reachable(settings(), outputs)
    whole, deleted = store(outputs, None)
    assert (whole.health, deleted.health) == ("ok", "warn")
    assert deleted.seen == "deleted, though still there: experiment tests"
    change(outputs, f"UPDATE experiments SET name = '{EXPERIMENT}' WHERE name = 'tests'")
    (refused,) = store(outputs, None)
    assert refused.health == "fail"
    assert f"tracking.experiment={EXPERIMENT} was deleted" in refused.seen


def test_the_doctors_experiment_is_that_of_the_config(settings):
    import yaml

    conf = Path(__file__).parents[2] / "conf" / "tracking" / "mlflow.yaml"
    assert yaml.safe_load(conf.read_text())["experiment"] == EXPERIMENT


def test_a_database_of_something_else_is_left_to_mlflow(settings, tmp_path):
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('fffffffffff0')")
    check_reachable(settings(), tmp_path)
