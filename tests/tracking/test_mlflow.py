"""Runs, curves and stages in real SQLite stores."""

import atexit
import logging
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from journeyman.errors import UserError
from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.mlflow_store import MlflowStore
from journeyman.tracking.protocol import RunStatus
from journeyman.tracking.redelivery import deliver_spool


def history(client, run_id, key):
    return [(each.step, each.value) for each in client.get_metric_history(run_id, key)]


def children(client, tracker):
    found = client.search_runs(
        [tracker.experiment_id], f"tags.`mlflow.parentRunId` = '{tracker.run_id}'"
    )
    return {run.info.run_name: run for run in found}


def test_a_run_has_its_curves_params_tags_and_artifacts(tracker, client, run_info, tmp_path):
    report = tmp_path / "report.html"
    report.write_text("<p>done</p>")
    tracker.start(
        run_info(
            params={"ppo": {"clip": 0.2, "value_clip": None}, "seed": 3, "note": ""},
            tags={"git.commit": "abc123", "seed": "3", "kind": "job"},
        )
    )
    before = time.time_ns() // 1_000_000
    tracker.log("ppo", {"loss_total": 0.5, "updates": 1, "ok": True, "data_mode": "rollout"}, 64)
    tracker.log("ppo", {"loss_total": 0.25}, 128)
    after = time.time_ns() // 1_000_000
    tracker.tag({"verdict": "PASS"})
    tracker.artifact(report, "reports")
    # artifact() returns when the file is there.
    assert [each.path for each in client.list_artifacts(tracker.run_id, "reports")] == [
        "reports/report.html"
    ]
    tracker.finish(RunStatus.FINISHED)
    tracker.finish(RunStatus.FAILED)  # a second call changes nothing

    run = client.get_run(tracker.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "anneal seed=0")
    assert run.info.end_time >= run.info.start_time
    assert history(client, tracker.run_id, "ppo/loss_total") == [(64, 0.5), (128, 0.25)]
    assert history(client, tracker.run_id, "ppo/ok") == [(64, 1.0)]
    assert "ppo/data_mode" not in run.data.metrics
    times = [m.timestamp for m in client.get_metric_history(tracker.run_id, "ppo/loss_total")]
    assert before <= times[0] <= times[1] <= after
    assert run.data.params == {
        "ppo.clip": "0.2",
        "ppo.value_clip": "null",
        "seed": "3",
        "note": "",
    }
    assert run.data.tags["git.commit"] == run.data.tags["mlflow.source.git.commit"] == "abc123"
    assert run.data.tags["verdict"] == "PASS"
    assert "mlflow.parentRunId" not in run.data.tags


def test_stage_runs_are_light_nested_and_truthful(tracker, client, run_info):
    tracker.start(run_info())
    with tracker.stage("00-bc", {"bc": {"epochs": 2}}) as stage:
        tracker.log("bc", {"loss": 1.5}, 1)
        stage.figures({"val_accuracy": 0.75})
        stage.tag({"status": "PASS", "reason": "gate held"})
    with pytest.raises(ZeroDivisionError), tracker.stage("01-ppo", {}):
        raise ZeroDivisionError("division by zero")
    with pytest.raises(KeyboardInterrupt), tracker.stage("02-ppo", {}):
        raise KeyboardInterrupt
    tracker.finish(RunStatus.KILLED)

    assert client.get_run(tracker.run_id).info.status == "KILLED"
    assert history(client, tracker.run_id, "bc/loss") == [(1, 1.5)]
    stages = children(client, tracker)
    assert {name: run.info.status for name, run in stages.items()} == {
        "00-bc": "FINISHED",
        "01-ppo": "FAILED",
        "02-ppo": "KILLED",
    }
    bc = stages["00-bc"]
    assert bc.data.metrics == {"val_accuracy": 0.75}  # figures only, no curve
    assert bc.data.params == {"bc.epochs": "2"}
    assert (bc.data.tags["kind"], bc.data.tags["status"]) == ("stage", "PASS")
    assert stages["01-ppo"].data.tags["error"] == "ZeroDivisionError: division by zero"


def test_five_thousand_metrics_arrive_once_and_in_order(tracker, client, run_info):
    tracker.start(run_info())
    for step in range(250):
        tracker.log("ppo", {f"m{index}": step * 20.0 + index for index in range(20)}, step)
    tracker.finish(RunStatus.FINISHED)
    for index in (0, 7, 19):
        expected = [(step, step * 20.0 + index) for step in range(250)]
        assert history(client, tracker.run_id, f"ppo/m{index}") == expected
    assert len(client.get_run(tracker.run_id).data.metrics) == 20


def test_params_that_do_not_fit_are_left_out_and_named(tracker, client, run_info):
    params = {"long": "x" * 6001, "fits": "y" * 6000, "bad=key": 1}
    params.update({f"many.{index}": index for index in range(250)})  # over 100 a call
    tracker.start(run_info(params=params, tags={"overrides": "z" * 9000}))
    tracker.finish(RunStatus.FINISHED)
    run = client.get_run(tracker.run_id)
    assert set(params) - set(run.data.params) == {"long", "bad=key"}
    assert run.data.tags["params.left_out"] == "long, bad=key"
    assert run.data.params["fits"] == "y" * 6000
    assert len(run.data.tags["overrides"]) == 8000
    assert run.data.tags["overrides"].endswith("zz ... (cut)")


def test_what_is_not_finite_or_not_a_name_is_refused_where_it_is_logged(tracker, client, run_info):
    tracker.start(run_info())
    with pytest.raises(ValueError, match=r"'ppo/loss_value' at step 7 is not finite: nan"):
        tracker.log("ppo", {"fine": 1.0, "loss_value": float("nan")}, 7)
    with pytest.raises(ValueError, match=r"'ppo/loss_value' at step 8 is not finite: -inf"):
        tracker.log("ppo", {"loss_value": float("-inf")}, 8)
    with pytest.raises(ValueError, match=r"'ppo/none' at step 9 is no number"):
        tracker.log("ppo", {"none": None}, 9)
    with pytest.raises(ValueError, match=r"metric name 'ppo/rate\(%\)' may only contain"):
        tracker.log("ppo", {"rate(%)": 1.0}, 10)
    tracker.finish(RunStatus.FAILED)
    assert client.get_run(tracker.run_id).data.metrics == {}  # nothing of a refused call


def test_an_inherited_run_id_has_no_say_and_the_parent_is_ours(
    tracker, client, run_info, monkeypatch
):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("JOURNEYMAN_PARENT_RUN_ID", "f" * 32)
    tracker.start(run_info())
    tracker.finish(RunStatus.FINISHED)
    assert tracker.run_id != "0" * 32
    assert client.get_run(tracker.run_id).data.tags["mlflow.parentRunId"] == "f" * 32


def test_sqlite_is_in_wal_mode_and_connections_of_others_are_left_alone(
    tracker, outputs, run_info, tmp_path
):
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    def pragmas(path):
        engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
        with engine.connect() as connection:
            return [
                connection.execute(text(f"PRAGMA {name}")).scalar()
                for name in ("journal_mode", "synchronous", "busy_timeout")
            ]

    tracker.start(run_info())
    # synchronous: 1 is NORMAL, 2 is FULL, SQLite's own default; Python's driver waits 5 s
    assert pragmas(outputs / "mlflow.db") == ["wal", 1, 20_000]
    assert pragmas(tmp_path / "other.db") == ["delete", 2, 5_000]
    tracker.finish(RunStatus.FINISHED)


START = """
import sys
from pathlib import Path
from journeyman.settings.tracking import MlflowSettings
from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.redelivery import deliver_spool
from journeyman.tracking.protocol import RunInfo, RunStatus

outputs, name = Path(sys.argv[1]), sys.argv[2]
tracker = MlflowTracker(
    MlflowSettings(kind="mlflow", uri=None, experiment="race", run_name=None,
                   flush_seconds=60.0, flush_metrics=1000, system_metrics=False,
                   system_metrics_seconds=10.0),
    outputs=outputs,
)
tracker.start(RunInfo(experiment="race", name=name, run_dir=outputs / name))
tracker.log("ppo", {"loss": 1.0}, 1)
if name != "unfinished":
    tracker.finish(RunStatus.FINISHED)
"""


@pytest.mark.slow
def test_four_processes_start_at_once_on_a_store_that_does_not_exist(tmp_path):
    """One of them forgets to finish: its metrics are kept, and it does not stay RUNNING."""
    names = ["a", "b", "c", "unfinished"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START, str(tmp_path / "fresh"), name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in names
    ]
    outcomes = [(process.communicate(timeout=250)[0], process.returncode) for process in processes]
    # Neither an error nor MLflow's own chatter.
    assert outcomes == [("", 0)] * 4
    with sqlite3.connect(tmp_path / "fresh" / "mlflow.db") as database:
        runs = dict(database.execute("select name, status from runs").fetchall())
        metrics = database.execute("select key, value, step from metrics").fetchall()
        experiments = database.execute("select name, artifact_location from experiments")
        locations = dict(experiments.fetchall())
    database.close()
    assert runs == {"a": "FINISHED", "b": "FINISHED", "c": "FINISHED", "unfinished": "KILLED"}
    assert metrics == [("ppo/loss", 1.0, 1)] * 4
    assert locations["race"] == (tmp_path / "fresh" / "artifacts").as_uri()


def test_an_outage_at_the_end_spools_and_the_spool_is_delivered(
    client, run_info, settings, outputs, monkeypatch, caplog
):
    tracker = MlflowTracker(settings(), outputs=outputs, finish_patience_seconds=1.0)
    info = run_info()
    tracker.start(info)
    tracker.log("ppo", {"loss": 1.0}, 1)
    tracker.artifact(Path(__file__))  # all before it is delivered
    working = MlflowStore.log_points

    def away(self, run, points):
        raise ConnectionError("the store is away")

    monkeypatch.setattr(MlflowStore, "log_points", away)
    began = time.perf_counter()
    tracker.log("ppo", {"loss": 2.0}, 2)
    with tracker.stage("00-ppo", {"updates": 1}) as stage:
        stage.figures({"loss": 2.0})
    assert time.perf_counter() - began < 0.2  # training does not wait for a store
    with caplog.at_level(logging.WARNING):
        tracker.finish(RunStatus.FINISHED)
    spool = info.run_dir / "tracking_spool.jsonl"
    assert str(spool) in caplog.text
    assert "the store is away" in caplog.text
    assert history(client, tracker.run_id, "ppo/loss") == [(1, 1.0)]

    monkeypatch.setattr(MlflowStore, "log_points", working)
    # points, stage opened, its figures, stage ended, job ended
    assert deliver_spool(info.run_dir, uri=None) == (5, 0)
    assert not spool.exists()
    assert history(client, tracker.run_id, "ppo/loss") == [(1, 1.0), (2, 2.0)]
    assert client.get_run(tracker.run_id).info.status == "FINISHED"
    assert children(client, tracker)["00-ppo"].data.metrics == {"loss": 2.0}
    assert deliver_spool(info.run_dir, uri=None) == (0, 0)
    spool.write_text(
        '{"tracking_uri": "sqlite:////else.db", "experiment": "tests", "outputs": "/"}\n'
    )
    with pytest.raises(UserError, match=r"is meant for sqlite:////else\.db"):
        deliver_spool(info.run_dir, uri=f"sqlite:///{outputs}/mlflow.db")
    with pytest.raises(UserError, match=r"is meant for sqlite:////else\.db"):
        MlflowTracker(settings(), outputs=outputs).start(info)


def test_a_resumed_run_goes_on_without_repeating_itself(
    tracker, client, run_info, settings, outputs
):
    info = run_info()
    tracker.start(info)
    for step in (1, 2, 3):
        tracker.log("ppo", {"loss": float(step)}, step)
    dying = tracker.stage("00-ppo", {})
    dying.__enter__()
    tracker.artifact(Path(__file__))
    # Killed here: no finish, the stage stays open. The checkpoint was taken after step 1.
    tracker._queue.abandon()
    tracker._store.close()
    atexit.unregister(tracker.finish)
    resumed = MlflowTracker(settings(), outputs=outputs)
    resumed.start(info)
    for step in (2, 3, 4):
        resumed.log("ppo", {"loss": float(step)}, step)
    resumed.finish(RunStatus.FINISHED)
    assert resumed.run_id == tracker.run_id
    assert history(client, tracker.run_id, "ppo/loss") == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert client.get_run(tracker.run_id).info.status == "FINISHED"
    assert children(client, tracker)["00-ppo"].info.status == "KILLED"


def test_errors_on_start_reach_the_caller(settings, run_info, tmp_path):
    broken = tmp_path / "mlflow.db"
    broken.write_bytes(b"no database at all" * 100)
    tracker = MlflowTracker(settings(uri=f"sqlite:///{broken}"), outputs=tmp_path)
    with pytest.raises(UserError, match=r"cannot be used: .*not a database"):
        tracker.start(run_info())
    with pytest.raises(RuntimeError, match="not started"):
        tracker.log("ppo", {"loss": 1.0}, 1)
    tracker.finish(RunStatus.FAILED)  # nothing was opened: nothing to end


def test_an_artifact_must_exist(tracker, run_info, tmp_path):
    tracker.start(run_info())
    with pytest.raises(FileNotFoundError, match="nothing"):
        tracker.artifact(tmp_path / "nothing.html")
    tracker.finish(RunStatus.FINISHED)


def test_log_costs_training_little(tracker, run_info):
    """20 metrics a call: under 20 us on an idle machine; asserted with room for a busy one."""
    metrics = {f"metric_{index}": index / 7.0 for index in range(20)}
    tracker.start(run_info())
    tracker.log("ppo", metrics, 0)
    times = []
    for step in range(1, 1001):
        began = time.perf_counter()
        tracker.log("ppo", metrics, step)
        times.append(time.perf_counter() - began)
    tracker.finish(RunStatus.FINISHED)
    times.sort()
    assert times[len(times) // 2] < 100e-6
