"""What is written into the store's file directly is what MLflow would have written there."""

import sqlite3
from contextlib import closing

import pytest

from journeyman.tracking import sqlite_points
from journeyman.tracking.operations import Points, RunReference
from journeyman.tracking.sqlite_points import SqlitePoints


@pytest.fixture
def database(tracker, run_info, outputs):
    """The file of a store that has been opened."""
    from journeyman.tracking.protocol import RunStatus

    tracker.start(run_info())
    tracker.finish(RunStatus.FINISHED)
    return outputs / "mlflow.db"


@pytest.fixture
def runs(client, database):
    """Two new runs."""
    experiment = client.get_experiment_by_name("tests").experiment_id
    return [client.create_run(experiment).info.run_id for _ in range(2)]


def points(step, timestamp, **metrics):
    return Points(RunReference("job"), timestamp, step, [*metrics.items()])


BATCHES = [
    [points(1, 1000, loss=0.5, kl=0.25), points(2, 1001, loss=0.75)],
    [points(2, 1001, loss=0.75), points(3, 1002, loss=-1.0)],  # the first comes a second time
    [points(1, 1003, loss=9.0), points(3, 1002, loss=-2.0)],  # an earlier step, a smaller value
    [points(3, 1002, loss=-0.5), points(3, 1002, loss=-0.5, kl=1e-300)],
]


def kept(database, run_id):
    """Returns all rows of a run, without its id."""
    columns = "key, step, timestamp, value, is_nan"
    with closing(sqlite3.connect(database)) as connection:
        return [
            connection.execute(
                f"SELECT {columns}, typeof(value), typeof(is_nan) FROM {table} "
                f"WHERE run_uuid = ? ORDER BY {columns}",
                (run_id,),
            ).fetchall()
            for table in ("metrics", "latest_metrics")
        ]


def test_the_same_rows_as_mlflow_writes(client, database, runs):
    from mlflow.entities import Metric

    directly, by_mlflow = runs
    writer = SqlitePoints(database)
    for batch in BATCHES:
        assert writer.log(directly, batch)
        metrics = [
            Metric(key, value, each.timestamp, each.step)
            for each in batch
            for key, value in each.metrics
        ]
        client.log_batch(by_mlflow, metrics=metrics)
        assert kept(database, directly) == kept(database, by_mlflow)
    rows, latest = kept(database, directly)
    assert len(rows) == 8  # of 11 values three came a second time
    assert [row[:4] for row in latest] == [("kl", 3, 1002, 1e-300), ("loss", 3, 1002, -0.5)]
    # And MLflow reads them.
    assert client.get_run(directly).data.metrics == {"kl": 1e-300, "loss": -0.5}
    history = client.get_metric_history(directly, "loss")
    assert len(history) == 6


def test_more_than_go_into_one_statement(client, database, runs):
    names = [f"m{i}" for i in range(70)]
    batch = [points(n, 1100 + n, **dict.fromkeys(names, n / 7)) for n in range(8)]
    assert SqlitePoints(database).log(runs[0], [*batch, *batch])
    rows, latest = kept(database, runs[0])
    assert len(rows) == 560
    assert {row[:4] for row in latest} == {(name, 7, 1107, 1.0) for name in names}


def test_runs_that_take_no_metrics_are_left_to_mlflow(client, database, runs):
    writer = SqlitePoints(database)
    client.delete_run(runs[0])
    assert not writer.log(runs[0], BATCHES[0])
    assert not writer.log("0" * 32, BATCHES[0])
    assert kept(database, runs[0]) == [[], []]


def test_other_tables_are_left_to_mlflow(database, runs, monkeypatch):
    other = {**sqlite_points._TABLES["metrics"], "model_id": False}
    monkeypatch.setitem(sqlite_points._TABLES, "metrics", other)
    assert not SqlitePoints(database).log(runs[0], BATCHES[0])
    assert kept(database, runs[0]) == [[], []]


def test_an_error_leaves_nothing_half_written_and_no_file_where_there_was_none(
    database, runs, tmp_path, monkeypatch
):
    monkeypatch.setattr(sqlite_points, "_UPDATE", "INSERT INTO nowhere VALUES (?, ?, ?, ?, ?)")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        SqlitePoints(database).log(runs[0], BATCHES[0])
    assert kept(database, runs[0]) == [[], []]
    with pytest.raises(sqlite3.OperationalError):
        SqlitePoints(tmp_path / "gone.db").log(runs[0], BATCHES[0])
    assert not (tmp_path / "gone.db").exists()
