"""MLflow's client as a run sets it up, whatever the user's environment says."""

import sqlite3
from contextlib import closing

import pytest

from journeyman.tracking.client import import_mlflow
from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.protocol import RunStatus
from journeyman.tracking.sqlite_points import SqlitePoints


@pytest.mark.usefixtures("soon")
def test_mlflows_own_queue_is_not_used(settings, run_info, tmp_path, monkeypatch):
    """What is in it counts as delivered, and is lost when the store fails or the process ends."""
    import_mlflow()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")
    monkeypatch.setattr(SqlitePoints, "log", lambda *_: False)
    failing, log_batch = [True, True], SqlAlchemyStore.log_batch

    def fails_at_first(self, run_id, metrics, params, tags):
        if metrics and failing:
            failing.pop()
            raise ConnectionError("the store is away")
        return log_batch(self, run_id, metrics, params, tags)

    monkeypatch.setattr(SqlAlchemyStore, "log_batch", fails_at_first)
    tracker = MlflowTracker(settings(), outputs=tmp_path, finish_patience_seconds=60.0)
    tracker.start(run_info())
    tracker.log("ppo", {"loss": 1.0}, 1)
    tracker.finish(RunStatus.FINISHED)
    assert not failing
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        assert store.execute("SELECT value FROM metrics").fetchall() == [(1.0,)]
