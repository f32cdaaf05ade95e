"""The process that writes to MLflow: what it takes over, survives, and when it is gone."""

import http.server
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import filelock
import pytest

from journeyman.errors import UserError
from journeyman.tracking import remote_store, store_process
from journeyman.tracking.address import StoreAway, resolve_address
from journeyman.tracking.calls import (
    StoreDescription,
    StoreFailed,
    failure_from_json,
    failure_to_json,
    operations_from_json,
    operations_to_json,
    run_from_json,
    run_to_json,
)
from journeyman.tracking.identity import RunIdentity
from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.mlflow_store import MlflowStore
from journeyman.tracking.operations import (
    EndRun,
    OpenRun,
    Points,
    RunReference,
    SetTags,
    to_line,
)
from journeyman.tracking.protocol import RunStatus
from journeyman.tracking.remote_store import RemoteStore, StoreProcess, StoreProcessGone
from support.serving import history, is_there
from support.sweeps import wait_for

# What crosses


def test_operations_cross_with_what_is_known_of_their_runs():
    job, stage = RunReference("job", "1" * 32), RunReference("stage")
    stage.tried = stage.doubted = True
    operations = [
        OpenRun(stage, "00-bc", {"kind": "stage"}, {"epochs": "2"}, 5, parent=job, since=3),
        Points(stage, 7, 64, [("ppo/loss", 0.5)]),
        SetTags(job, {"verdict": "PASS"}),
        EndRun(stage, "FINISHED", 9),
    ]
    text = json.dumps(operations_to_json(operations))
    crossed = operations_from_json(json.loads(text))
    assert [to_line(each) for each in crossed] == [to_line(each) for each in operations]
    opening, points, tags, end = crossed
    assert opening.run is points.run is end.run
    assert opening.parent is tags.run
    assert (opening.run.tried, opening.run.doubted) == (True, True)
    assert (tags.run.tried, tags.run.doubted) == (False, False)


def test_what_a_store_found_of_a_run_comes_back():
    run, back = RunReference("job", tried=True), RunReference("job")
    run_from_json(run, {**run_to_json(run), "run_id": "a", "found": {"eval/x": [[3, 2], [4, 1]]}})
    run_from_json(back, json.loads(json.dumps(run_to_json(run))))
    assert (back.run_id, back.tried) == ("a", True)
    assert back.found == {"eval/x": {3: 2, 4: 1}}
    back.later = back.found
    again = [Points(back, 0, 3, [("eval/x", 1.0)]).missing().metrics for _ in range(3)]
    assert again == [[], [], [("eval/x", 1.0)]]


def test_errors_cross_as_what_they_mean_to_the_caller():
    def crossed(error, lasting):
        return failure_from_json(json.loads(json.dumps(failure_to_json(error, lasting=lasting))))

    store = RemoteStore(resolve_address(None, Path("/outputs")), "tests", folder=Path("/run"))
    away = crossed(StoreAway("no answer"), lasting=False)
    users = crossed(UserError(["one", "two"]), lasting=True)
    failed = crossed(ConnectionError("reset"), lasting=False)
    refused = crossed(ZeroDivisionError(), lasting=True)
    assert type(away) is StoreAway
    assert (type(users), users.problems) == (UserError, ("one", "two"))
    assert [store.refuses(each) for each in (away, users, failed, refused)] == [
        *(False, True, False, True)
    ]
    assert (type(failed), str(failed)) == (StoreFailed, "reset")
    assert str(refused) == "ZeroDivisionError"  # it said nothing
    assert "Traceback" not in str(failed)
    assert "ConnectionError: reset" in failed.__notes__[0]


def test_a_description_crosses(tmp_path):
    description = StoreDescription(
        key=3,
        address=resolve_address(None, tmp_path),
        experiment="tests",
        identity=RunIdentity("sqlite:////a.db", "1", "2"),
        folder=tmp_path / "run",
    )
    assert StoreDescription.from_json(json.loads(json.dumps(description.to_json()))) == description


def test_whoever_asks_is_answered(tracker, run_info, monkeypatch):
    """Also where what became of a call cannot be told."""
    monkeypatch.setattr(MlflowStore, "connect", lambda *_: 1 / 0)
    monkeypatch.setattr(MlflowStore, "refuses", lambda *_: [][0])
    with pytest.raises(StoreFailed, match="list index out of range") as failed:
        tracker.start(run_info())
    assert failed.value.lasting
    assert "ZeroDivisionError" in failed.value.__notes__[0]


# The folder belongs to one


def test_a_folder_that_another_process_writes_for_is_waited_for(
    tracker, client, run_info, monkeypatch
):
    monkeypatch.setattr(store_process, "LOCK_SECONDS", 0.3)
    info = run_info()
    info.run_dir.mkdir()
    lock = filelock.FileLock(info.run_dir / store_process.LOCK_FILE)
    with lock, pytest.raises(StoreAway, match="another process still writes to"):
        tracker.start(info)
    tracker.start(info)
    tracker.log("ppo", {"loss": 1.0}, 1)
    with pytest.raises(filelock.Timeout):
        lock.acquire(timeout=0)
    tracker.finish(RunStatus.FINISHED)
    wait_for(
        lambda: client.get_run(tracker.run_id).info.status == "FINISHED", "the end", seconds=20.0
    )
    lock.acquire(timeout=5.0)
    lock.release()


# A process of its own


@pytest.mark.usefixtures("real")
def test_a_writer_that_is_killed_costs_nothing(tracker, client, run_info, writer, caplog, soon):
    tracker.start(run_info())
    tracker.log("ppo", {"loss": 1.0}, 1)
    tracker.artifact(Path(__file__))
    first = writer()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not is_there(first), "its end", seconds=20.0)
    for step in (2, 3):
        tracker.log("ppo", {"loss": float(step)}, step)
        tracker.artifact(Path(__file__))
    with tracker.stage("00-ppo", {}) as stage:
        stage.figures({"loss": 3.0})
    tracker.finish(RunStatus.FINISHED)
    assert writer() != first
    assert history(client, tracker, "ppo/loss") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert client.get_run(tracker.run_id).info.status == "FINISHED"


def test_a_writer_that_is_killed_at_work_is_asked_again(
    tracker, client, run_info, real, writer, caplog, soon
):
    """It is stopped before it can answer, and killed then."""
    tracker.start(run_info())
    os.kill(writer(), signal.SIGSTOP)
    tracker.log("ppo", {"loss": 1.0}, 1)
    wait_for(lambda: real._waiting, "a call", seconds=20.0)
    with tracker.stage("00-ppo", {}):
        os.kill(writer(), signal.SIGKILL)
    tracker.finish(RunStatus.FINISHED)
    assert "the process that writes to MLflow ended before it answered (killed by signal 9)" in (
        caplog.text
    )
    assert history(client, tracker, "ppo/loss") == [(1, 1.0)]
    stages = client.search_runs(
        [tracker.experiment_id], f"tags.`mlflow.parentRunId` = '{tracker.run_id}'"
    )
    assert [stage.info.status for stage in stages] == ["FINISHED"]


@pytest.mark.usefixtures("real")
def test_signals_are_left_to_the_caller(tracker, client, run_info, writer):
    tracker.start(run_info())
    process = writer()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(process, number)
    tracker.log("ppo", {"loss": 1.0}, 1)
    tracker.finish(RunStatus.KILLED)
    assert writer() == process
    assert os.getsid(process) == process  # a terminal's Ctrl-C goes elsewhere
    assert client.get_run(tracker.run_id).info.status == "KILLED"


@pytest.mark.usefixtures("real")
def test_what_it_logs_is_in_the_callers_log(tracker, run_info, caplog, tmp_path):
    tracker.start(run_info())
    with caplog.at_level(logging.WARNING):
        tracker.model(tmp_path / "gone", "policy", 1, {})
        tracker.finish(RunStatus.FINISHED)
    (record,) = [each for each in caplog.records if "was removed before" in each.message]
    assert record.name == "journeyman.tracking.models"


class Refusing(http.server.BaseHTTPRequestHandler):
    """A server that refuses everything, and notes by what token it was asked."""

    tokens: ClassVar[list[str]] = []

    def do_GET(self):
        if self.path == "/health":
            self.send_response(200)
            self.end_headers()
            return
        self.tokens.append(self.headers["Authorization"])
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "not you"}')

    def log_message(self, *_):
        pass


@pytest.mark.usefixtures("real")
def test_variables_reach_it_that_were_set_later(settings, run_info, tmp_path, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with server:
        uri = f"http://127.0.0.1:{server.server_port}"
        for token in ("one", "two"):
            monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)
            with pytest.raises(UserError, match=r"cannot be used: .*not you"):
                MlflowTracker(settings(uri=uri), outputs=tmp_path).start(run_info())
        server.shutdown()
    assert Refusing.tokens == ["Bearer one", "Bearer two"]


CALLER = """
import os, sys, time
from pathlib import Path
from journeyman.tracking.remote_store import shared_process
shared_process().start()
if sys.argv[1] == "forks" and os.fork() == 0:
    time.sleep(60)
print(*Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split(), flush=True)
if sys.argv[1] == "ends":
    sys.exit()
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["ends", "is killed", "forks"])
def test_it_is_gone_when_its_caller_is(how):
    """However that ended, and though a fork of the caller lives on."""
    with subprocess.Popen(
        [sys.executable, "-c", CALLER, how], stdout=subprocess.PIPE, text=True
    ) as caller:
        writer, *fork = map(int, caller.stdout.readline().split())
        if how != "ends":
            assert is_there(writer)
            caller.kill()
        wait_for(lambda: not is_there(writer), "its end", seconds=5.0)
        for each in fork:
            assert is_there(each)
            os.kill(each, signal.SIGKILL)
    assert len(fork) == (how == "forks")


def test_a_writer_that_cannot_start_is_said(tracker, run_info, monkeypatch):
    def start_nothing():
        server = remote_store.start_server()
        server.calls.close()
        return server

    process = StoreProcess(start_nothing)
    monkeypatch.setattr(remote_store, "_shared", process)
    with pytest.raises(StoreProcessGone, match=r"ended before it answered \(exit code 0\)"):
        tracker.start(run_info())


@pytest.mark.usefixtures("real")
def test_an_mlflow_that_cannot_be_imported_is_said(tracker, run_info, tmp_path, monkeypatch, capfd):
    (tmp_path / "mlflow.py").write_text("raise ImportError('half of it is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError, match=r"mlflow\.db .* cannot be used: half of it is missing"):
        tracker.start(run_info())
    assert capfd.readouterr().err == ""


TRAINING = """
import sys
from pathlib import Path
from journeyman.composition import compose_settings
from journeyman.orchestrator import Orchestrator
outputs = Path(sys.argv[1])
Orchestrator(
    compose_settings(["debug=fast", f"outputs={outputs}"]), run_dir=outputs / "run"
).run()
print(*sorted({"mlflow", "sqlalchemy", "alembic"} & sys.modules.keys()))
"""


@pytest.mark.slow
def test_training_imports_no_mlflow(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=250,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == []
    assert (tmp_path / "mlflow.db").is_file()
