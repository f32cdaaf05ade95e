"""A run that goes on in MLflow: whatever was delivered or not, each point is there once."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journeyman.tracking.identity import RUN_FILE_NAME
from journeyman.tracking.mlflow_store import MlflowStore
from journeyman.tracking.protocol import RunInfo, RunStatus
from support.killed_tracker import Killed, expected, log, points, stages


@pytest.mark.parametrize("before", ["delivered", "lost"])
@pytest.mark.parametrize("since", ["delivered", "lost"])
def test_each_point_is_there_once(
    process: Callable[..., Killed],
    client: Any,
    run_info: Callable[..., RunInfo],
    before: str,
    since: str,
) -> None:
    """Points of before the checkpoint and of after it, delivered by the kill or lost with it."""
    first, info = process(), run_info()
    first.tracker.start(info)
    log(first.tracker, 1, 2)
    if before == "delivered":
        first.tracker.artifact(Path(__file__))
        first.delivered()
    position = first.position()
    log(first.tracker, 3, 4)
    if since == "delivered":
        first.tracker.artifact(Path(__file__))
        first.delivered()
    first.die()
    second = process(position=position)
    second.tracker.start(info)
    log(second.tracker, 3, 4, 5)
    second.tracker.finish(RunStatus.FINISHED)
    run_id = second.tracker.run_id
    assert run_id == first.tracker.run_id
    assert points(client, run_id, "eval/return") == expected(1, 2, 3, 4, 5)
    assert [step for step, _ in points(client, run_id, "time/seconds")] == [1, 2, 3, 4, 5]
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["resumed"]) == ("FINISHED", "1")


def test_killed_again_and_again(
    process: Callable[..., Killed], client: Any, run_info: Callable[..., RunInfo]
) -> None:
    info, position = run_info(), {}
    first = process()
    first.tracker.start(info)
    log(first.tracker, 1)
    first.tracker.artifact(Path(__file__))
    first.die()
    # From the beginning, then from a checkpoint, then from the beginning, which is no worse.
    for _ in range(3):
        again = process(position=position)
        again.tracker.start(info)
        if not position:
            log(again.tracker, 1)
        position = {} if position else again.position()
        log(again.tracker, 2)
        again.tracker.artifact(Path(__file__))
        again.delivered()
        again.die()
        assert points(client, again.tracker.run_id, "eval/return") == expected(1, 2)


def test_stages_go_on_in_their_runs(
    process: Callable[..., Killed], client: Any, run_info: Callable[..., RunInfo]
) -> None:
    """One ended before the checkpoint and not delivered, one under way, one not begun."""
    first, info = process(), run_info()
    first.tracker.start(info)
    with first.tracker.stage("00-bc", {"epochs": 2}) as stage:
        stage.figures({"return_mean": 1.0})
    position = first.position()
    under_way = first.tracker.stage("01-ppo", {"epochs": 3})
    under_way.__enter__().figures({"return_mean": 2.0})
    first.tracker.artifact(Path(__file__))
    first.delivered()
    first.die()
    assert stages(client, first.tracker)["01-ppo"].info.status == "RUNNING"
    second = process(position=position)
    second.tracker.start(info)
    for name, value in (("01-ppo", 2.0), ("02-ppo", 3.0)):
        with second.tracker.stage(name, {"epochs": 3}) as stage:
            stage.figures({"return_mean": value})
    second.tracker.finish(RunStatus.FINISHED)
    found = stages(client, second.tracker)
    assert {name: run.info.status for name, run in found.items()} == dict.fromkeys(
        ("00-bc", "01-ppo", "02-ppo"), "FINISHED"
    )
    for name, value in (("00-bc", 1.0), ("01-ppo", 2.0), ("02-ppo", 3.0)):
        assert points(client, found[name].info.run_id, "return_mean") == [(0, value)]
        assert "error" not in found[name].data.tags


def test_a_stage_that_is_not_come_back_to_is_killed_not_running(
    process: Callable[..., Killed], client: Any, run_info: Callable[..., RunInfo]
) -> None:
    first, info = process(), run_info()
    first.tracker.start(info)
    first.tracker.stage("00-bc", {}).__enter__()
    first.tracker.artifact(Path(__file__))
    first.delivered()
    first.die()
    second = process(position={})
    second.tracker.start(info)
    second.tracker.finish(RunStatus.KILLED)
    assert stages(client, second.tracker)["00-bc"].info.status == "KILLED"


def test_what_a_stopped_run_said_of_its_end_is_taken_back(
    process: Callable[..., Killed], client: Any, run_info: Callable[..., RunInfo]
) -> None:
    first, info = process(), run_info()
    first.tracker.start(info)
    first.tracker.tag({"error": "RunStopped: stopped by signal 15"})
    first.tracker.finish(RunStatus.KILLED)
    second = process(position={})
    second.tracker.start(info)
    second.tracker.finish(RunStatus.FINISHED)
    run = client.get_run(second.tracker.run_id)
    assert run.info.status == "FINISHED"
    assert "error" not in run.data.tags


@pytest.mark.parametrize("folder", ["plain", "o'clock"])
def test_a_run_killed_before_its_folder_knew_its_id_is_found(
    process: Callable[..., Killed],
    client: Any,
    run_info: Callable[..., RunInfo],
    tmp_path: Path,
    folder: str,
) -> None:
    run_dir = tmp_path / folder
    info = run_info(run_dir=run_dir, tags={"run_dir": str(run_dir)}, params={"seed": 3})
    first = process()
    first.tracker.start(info)
    first.die()
    (run_dir / RUN_FILE_NAME).unlink()
    second = process(position={})
    second.tracker.start(info)
    second.tracker.finish(RunStatus.FINISHED)
    assert second.tracker.run_id == first.tracker.run_id
    assert json.loads((run_dir / RUN_FILE_NAME).read_text())["run_id"] == first.tracker.run_id


def test_params_that_were_not_taken_are_added(
    process: Callable[..., Killed],
    client: Any,
    run_info: Callable[..., RunInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed between the run's creation and its params; a param that is there stays as it is."""
    first = process()
    first.tracker.start(run_info(params={"seed": 3, "outputs": "outputs"}))
    first.die()
    second = process(position={})
    second.tracker.start(run_info(params={"seed": 3, "outputs": "/absolute", "new": 1}))
    second.tracker.finish(RunStatus.FINISHED)
    params = client.get_run(second.tracker.run_id).data.params
    assert params == {"seed": "3", "outputs": "outputs", "new": "1"}


def test_a_killed_run_ends_in_time_and_keeps_the_rest(
    process: Callable[..., Killed],
    client: Any,
    run_info: Callable[..., RunInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store so slow that it never gives up taking: the spool has what it did not take."""
    first, info = process(finish_patience_seconds=60.0), run_info()
    first.tracker.start(info)
    working = MlflowStore.log_points

    def slowly(*arguments: Any) -> None:
        time.sleep(4.0)
        working(*arguments)

    monkeypatch.setattr(MlflowStore, "log_points", slowly)
    log(first.tracker, 1)
    began = time.monotonic()
    first.tracker.finish(RunStatus.KILLED)
    assert time.monotonic() - began < 3.0
    monkeypatch.undo()
    second = process(position={})
    second.tracker.start(info)
    log(second.tracker, 1, 2)
    second.tracker.finish(RunStatus.FINISHED)
    assert points(client, second.tracker.run_id, "eval/return") == expected(1, 2)
