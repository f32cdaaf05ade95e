"""A folder that was tracked is tracked on where it was, whatever the surroundings say now."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journeyman.errors import UserError
from journeyman.settings.tracking import MlflowSettings
from journeyman.tracking.identity import RUN_FILE_NAME, RunIdentity
from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.protocol import RunInfo, RunStatus
from journeyman.tracking.spool import Spool, SpoolHead
from journeyman.tracking.sweep import SweepRun
from support.killed_tracker import Killed, expected, log, points


def test_a_resumed_run_stays_in_its_store(
    process: Callable[..., Killed],
    client: Any,
    run_info: Callable[..., RunInfo],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    outputs: Path,
    tmp_path: Path,
) -> None:
    """Begun with the variable and resumed with another: as one of a shell that is gone."""
    first, info = process(), run_info()
    first.tracker.start(info)
    log(first.tracker, 1)
    position = first.position()
    first.die()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    second = process(position=position)
    second.tracker.start(info)
    log(second.tracker, 2)
    second.tracker.finish(RunStatus.FINISHED)
    run_id = json.loads((info.run_dir / RUN_FILE_NAME).read_text())["run_id"]
    assert run_id == first.tracker.run_id == second.tracker.run_id
    assert points(client, run_id, "eval/return") == expected(1, 2)
    assert client.get_run(run_id).info.status == "FINISHED"
    assert not (tmp_path / "other.db").exists()
    assert f"goes on in sqlite:///{outputs}/mlflow.db, where it is tracked, not in" in caplog.text


def test_a_run_that_only_its_spool_knows_stays_in_its_store(
    settings: Callable[..., MlflowSettings],
    client: Any,
    run_info: Callable[..., RunInfo],
    monkeypatch: pytest.MonkeyPatch,
    outputs: Path,
    tmp_path: Path,
) -> None:
    """A job of a sweep that began while the store was away."""
    uri, info = f"sqlite:///{outputs}/mlflow.db", run_info()
    client.search_experiments()  # it is there
    head = SpoolHead(tracking_uri=uri, experiment="tests", outputs=str(outputs))
    info.run_dir.mkdir()
    Spool(info.run_dir, head).append([])
    tracker = MlflowTracker(settings(), outputs=tmp_path / "others", position={})
    tracker.start(info)
    tracker.finish(RunStatus.FINISHED)
    identity = RunIdentity.read(info.run_dir)
    assert identity is not None
    assert identity.tracking_uri == uri


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("sqlite:////nowhere/mlflow.db", "which is not there"),
        ("http://me:***@host:5000", "which cannot be used: .* the password is kept nowhere"),
    ],
)
def test_a_store_that_cannot_be_used_from_here_is_named_with_the_other(
    settings: Callable[..., MlflowSettings],
    run_info: Callable[..., RunInfo],
    tmp_path: Path,
    uri: str,
    reason: str,
) -> None:
    info = run_info()
    RunIdentity(uri, "1", "2" * 32).write(info.run_dir)
    known = (info.run_dir / RUN_FILE_NAME).read_text()
    said = rf"tracked in {uri.replace('*', '.')}, {reason}.*new run in sqlite:///{tmp_path}/mlflow"
    with pytest.raises(UserError, match=said) as error:
        MlflowTracker(settings(), outputs=tmp_path, position={}).start(info)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "mlflow.db").exists()
    assert (info.run_dir / RUN_FILE_NAME).read_text() == known


def test_a_resumed_sweep_stays_in_its_store_and_tells_its_jobs(
    settings: Callable[..., MlflowSettings],
    client: Any,
    monkeypatch: pytest.MonkeyPatch,
    outputs: Path,
    tmp_path: Path,
) -> None:
    def opened() -> SweepRun:
        return SweepRun.open(
            settings(), outputs=outputs, sweep_dir=tmp_path / "sweep", name="sweep", tags={}
        )

    first = opened()
    assert first.uri_for_jobs is None
    first._store.close()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    second = opened()
    second.finish("done", {})
    assert second.run_id == first.run_id
    assert client.get_run(first.run_id).info.status == "FINISHED"
    assert second.uri_for_jobs == f"sqlite:///{outputs}/mlflow.db"
    assert not (tmp_path / "other.db").exists()
