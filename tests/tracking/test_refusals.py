"""What a store refuses, loses the answer to, or takes by half, in a real SQLite store."""

import errno
import json
import logging
from pathlib import Path

import pytest
import requests
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    REQUEST_LIMIT_EXCEEDED,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
)
from mlflow.tracking import MlflowClient

from journeyman.errors import UserError
from journeyman.tracking import mlflow_store
from journeyman.tracking.address import StoreAway
from journeyman.tracking.client import is_lasting
from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.mlflow_store import LABEL_TAG, MlflowStore
from journeyman.tracking.protocol import RunStatus
from journeyman.tracking.quiet import quieten


def runs_in(folder, client):
    """All runs of a run folder, deleted ones too: run id -> (status, lifecycle)."""
    from mlflow.entities import ViewType

    experiment = client.get_experiment_by_name("tests")
    found = client.search_runs(
        [experiment.experiment_id], f"tags.run_dir = '{folder}'", run_view_type=ViewType.ALL
    )
    return {run.info.run_id: (run.info.status, run.info.lifecycle_stage) for run in found}


@pytest.fixture
def info(run_info, tmp_path):
    return run_info(tags={"run_dir": str(tmp_path / "run")}, params={"seed": 3})


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(mlflow_store, "OPENING_SECONDS", 0.6)


def test_a_creation_whose_answer_is_lost_leaves_one_run(tracker, client, info, monkeypatch):
    creating, calls = MlflowClient.create_run, []

    def lossy(self, *arguments, **more):
        created = creating(self, *arguments, **more)
        calls.append(created.info.run_id)
        if len(calls) == 1:
            raise ConnectionError("the answer is lost")
        return created

    monkeypatch.setattr(MlflowClient, "create_run", lossy)
    tracker.start(info)
    tracker.finish(RunStatus.FINISHED)
    assert runs_in(info.run_dir, client) == {tracker.run_id: ("FINISHED", "active")}
    assert calls == [tracker.run_id]
    assert client.get_run(tracker.run_id).data.params == {"seed": "3"}


def test_a_creation_that_is_carried_out_late_is_deleted(tracker, client, info, monkeypatch):
    """The call was under way when it was given up; another run was made before it arrived."""
    creating, late = MlflowClient.create_run, []

    def slow(self, *arguments, **more):
        if not late:
            late.append((arguments, more))
            raise ConnectionError("no answer in time")
        return creating(self, *arguments, **more)

    monkeypatch.setattr(MlflowClient, "create_run", slow)
    tracker.start(info)
    arguments, more = late[0]
    ghost = creating(client, *arguments, **more).info.run_id
    assert client.get_run(ghost).data.tags[LABEL_TAG]
    tracker.finish(RunStatus.FINISHED)
    assert runs_in(info.run_dir, client) == {
        tracker.run_id: ("FINISHED", "active"),
        ghost: ("RUNNING", "deleted"),
    }


def test_a_start_that_fails_halfway_ends_failed(tracker, client, info, monkeypatch):
    def away(*_):
        raise MlflowException("the params are not taken", TEMPORARILY_UNAVAILABLE)

    monkeypatch.setattr(MlflowStore, "_add_params", away)
    with pytest.raises(UserError, match="cannot be used: the params are not taken"):
        tracker.start(info)
    ((run_id, ended),) = runs_in(info.run_dir, client).items()
    assert ended == ("FAILED", "active")
    assert json.loads((info.run_dir / "tracking.json").read_text())["run_id"] == run_id


def test_artifacts_that_cannot_be_stored_hold_up_nothing(tracker, client, run_info, caplog):
    """The experiment's place for them is a file."""
    blocked = Path(tracker._outputs) / "blocked"
    blocked.write_text("no folder")
    client.create_experiment("blocked", artifact_location=(blocked / "artifacts").as_uri())
    info = run_info(experiment="blocked")
    tracker.start(info)
    for step in range(5):
        tracker.artifact(Path(__file__))
        tracker.log("ppo", {"loss": float(step)}, step)
    tracker.finish(RunStatus.FINISHED)
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(tracker.run_id, "ppo/loss")
    assert [each.step for each in history] == [0, 1, 2, 3, 4]
    assert f"refuses artifact {Path(__file__)}" in caplog.text
    assert "refused 5 operations; they are listed in" in caplog.text
    assert not (info.run_dir / "tracking_spool.jsonl").exists()
    refused = (info.run_dir / "tracking_refused.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in refused] == [__file__] * 5


def test_a_run_that_was_deleted_holds_up_only_itself(tracker, client, info, caplog):
    tracker.start(info)
    tracker.log("ppo", {"loss": 1.0}, 1)
    tracker.artifact(Path(__file__))
    while tracker._queue.pending():
        pass
    client.delete_run(tracker.run_id)
    tracker.log("ppo", {"loss": 2.0}, 2)
    with tracker.stage("00-bc", {}) as stage:
        stage.figures({"val_loss": 0.5})
    tracker.finish(RunStatus.FINISHED)
    assert "refuses step 2 of ppo/loss" in caplog.text
    assert "must be in the 'active' state" in caplog.text
    assert not (info.run_dir / "tracking_spool.jsonl").exists()
    stages = client.search_runs(
        [tracker.experiment_id], f"tags.`mlflow.parentRunId` = '{tracker.run_id}'"
    )
    assert [stage.data.metrics for stage in stages] == [{"val_loss": 0.5}]


def test_a_deleted_experiment_is_the_users_to_mend(
    settings, run_info, outputs, client, tracker, tmp_path
):
    tracker.start(run_info())
    tracker.finish(RunStatus.FINISHED)
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(UserError, match=r"tracking\.experiment=gone was deleted"):
        MlflowTracker(settings(), outputs=outputs).start(
            run_info(experiment="gone", run_dir=tmp_path / "other")
        )


def answer(code):
    response = requests.Response()
    response.status_code = code
    return requests.HTTPError("refused", response=response)


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no run"}), True),
        (MlflowException("no such run", RESOURCE_DOES_NOT_EXIST), True),
        (MlflowException("not active", INVALID_PARAMETER_VALUE), True),
        (MlflowException("connection refused", INTERNAL_ERROR), False),
        (MlflowException("database is locked", TEMPORARILY_UNAVAILABLE), False),
        (MlflowException("slow down", REQUEST_LIMIT_EXCEEDED), False),
        (RestException({"error_code": "UNAUTHENTICATED", "message": "log in"}), False),
        # A proxy's page for a server that is starting, and a database that broke off.
        (
            MlflowException(
                "API request to endpoint /x failed with error code 404 != 200. Response body: ''",
                RESOURCE_DOES_NOT_EXIST,
            ),
            False,
        ),
        (
            MlflowException("closed (Background ...: https://sqlalche.me/e/20/rvf5)", BAD_REQUEST),
            False,
        ),
        (answer(413), True),
        (answer(404), False),
        (answer(503), False),
        (requests.ConnectionError("refused"), False),
        (requests.Timeout("slow"), False),
        (ConnectionResetError("reset"), False),
        (TimeoutError("slow"), False),
        (PermissionError(errno.EACCES, "denied"), True),
        (FileNotFoundError(errno.ENOENT, "gone"), True),
        (OSError(errno.ENOSPC, "full"), True),
        (ModuleNotFoundError("boto3"), True),
        (StoreAway("no answer"), False),
        (UserError("its experiment was deleted"), True),
    ],
    ids=repr,
)
def test_what_comes_again_however_often_it_is_tried(error, lasting):
    assert is_lasting(error) is lasting


def test_only_requests_to_mlflow_are_silenced(caplog):
    quieten()
    logger = logging.getLogger("urllib3.connectionpool")
    before = list(logger.filters)
    quieten()
    assert logger.filters == before
    with caplog.at_level(logging.WARNING):
        logger.warning("Retrying (...) after connection broken: /api/2.0/mlflow/runs/log-batch")
        logger.warning("Retrying (...) after connection broken: /dataset.npz")
    assert [record.message.rpartition("/")[2] for record in caplog.records] == ["dataset.npz"]


def test_what_is_raised_anyway_is_not_logged_with_its_traceback(caplog):
    quieten()
    logger = logging.getLogger("mlflow.store.db.utils")
    try:
        raise OSError("disk is full")
    except OSError:
        logger.exception("SQLAlchemy database error.")
    logger.warning("SQLAlchemy engine could not be created.")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
