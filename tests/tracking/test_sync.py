"""``journeyman sync`` as a command: what it delivers, what it leaves, and what it says of that."""

import json

import pytest
from filelock import FileLock

from journeyman.cli import run
from journeyman.tracking.mlflow_store import MlflowStore
from journeyman.tracking.protocol import RunStatus

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def spooled(tracker, run_info, tmp_path, monkeypatch):
    """A finished run whose points the store did not take; returns the tracker and its folder."""
    info = run_info(run_dir=tmp_path / "outputs" / "b" / "run")
    tracker.start(info)
    with monkeypatch.context() as outage:
        outage.setattr(MlflowStore, "log_points", lambda *_: 1 / 0)
        outage.setattr(MlflowStore, "refuses", lambda *_: False)
        tracker._patience = 0.3
        tracker.log("ppo", {"loss": 1.0}, 1)
        tracker.finish(RunStatus.FINISHED)
    assert (info.run_dir / "tracking_spool.jsonl").is_file()
    return tracker, info.run_dir


def lost(folder):
    """Writes a spool for a store that is no more."""
    folder.mkdir(parents=True)
    head = {"tracking_uri": NOWHERE, "experiment": "tests", "outputs": "/nowhere"}
    line = {"operation": "SetTags", "run": "a", "run_id": "b", "tags": {"kind": "job"}}
    path = folder / "tracking_spool.jsonl"
    path.write_text(f"{json.dumps(head)}\n{json.dumps(line)}\n")
    return path


def test_one_that_fails_hinders_no_other(spooled, client, tmp_path, capsys):
    """The first of three is for a store that is away; no config.yaml is needed of any."""
    tracker, run_dir = spooled
    before = lost(tmp_path / "outputs" / "a" / "run")
    damaged = lost(tmp_path / "outputs" / "c" / "run")
    damaged.write_text("no spool\n")
    assert run(["sync", str(tmp_path / "outputs")]) == 1
    said = capsys.readouterr()
    assert f"{run_dir}: 2 operations delivered" in said.out
    assert f"journeyman: {before.parent}: the MLflow server {NOWHERE} " in said.err
    assert f"{damaged}:1 is no head of a spool" in said.err
    assert "2 of 3 folders left" in said.err
    assert "Traceback" not in said.err
    assert before.exists()
    assert not (run_dir / "tracking_spool.jsonl").exists()
    assert client.get_run(tracker.run_id).info.status == "FINISHED"
    (point,) = client.get_metric_history(tracker.run_id, "ppo/loss")
    assert (point.step, point.value) == (1, 1.0)


def test_all_delivered_is_0_and_nothing_is_too(spooled, tmp_path, capsys):
    assert run(["sync", str(tmp_path / "outputs")]) == 0
    assert run(["sync", str(tmp_path / "outputs")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "nothing to deliver"
    assert run(["sync", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err


def test_a_sweep_waits_for_its_jobs(tmp_path, capsys):
    """Its own account of them would else find jobs missing that the store does not have yet."""
    job = lost(tmp_path / "sweep" / "0")
    own = lost(tmp_path / "sweep" / "own")
    own.rename(tmp_path / "sweep" / "tracking_spool.jsonl")
    assert run(["sync", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path / 'sweep'}: comes after {job.parent}, which is not delivered" in said


def test_a_run_at_work_is_left_to_itself(spooled, tmp_path, capsys):
    _, run_dir = spooled
    with FileLock(run_dir / ".lock"):
        assert run(["sync", str(run_dir)]) == 1
    assert f"{run_dir}: another process is at work on this run" in capsys.readouterr().err
    assert (run_dir / "tracking_spool.jsonl").exists()


def test_what_is_refused_is_counted_and_does_not_come_again(spooled, client, tmp_path, capsys):
    tracker, run_dir = spooled
    client.delete_run(tracker.run_id)
    assert run(["sync", str(run_dir)]) == 0
    said = capsys.readouterr().out
    assert "0 operations delivered, 2 refused (see tracking_refused.jsonl)" in said
    assert run(["sync", str(run_dir)]) == 0
