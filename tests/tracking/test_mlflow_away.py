"""A run that is killed and goes on while its store is away: each point is there once."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journeyman.tracking import lane
from journeyman.tracking.identity import RUN_FILE_NAME
from journeyman.tracking.mlflow_store import MlflowStore
from journeyman.tracking.protocol import RunInfo, RunStatus
from support.killed_tracker import Killed, expected, log, points, stages


def away(*_: Any) -> None:
    raise ConnectionError("the store is away")


def test_a_long_outage_costs_a_checkpoint_nothing(
    process: Callable[..., Killed],
    client: Any,
    run_info: Callable[..., RunInfo],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the store does not take is in the spool, and no checkpoint writes it again."""
    monkeypatch.setattr(MlflowStore, "log_points", away)
    first, info = process(), run_info()
    first.tracker.start(info)
    log(first.tracker, *range(500))
    first.tracker._queue._metrics.flush()
    deadline = time.monotonic() + 20
    while first.tracker._queue.waiting():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    position = first.position()
    assert position["undelivered"] == []
    time.sleep(0.005)
    log(first.tracker, 500)
    first.die()
    monkeypatch.undo()
    second = process(position=position)
    second.tracker.start(info)
    log(second.tracker, 500, 501)
    second.tracker.finish(RunStatus.FINISHED)
    assert points(client, second.tracker.run_id, "eval/return") == expected(*range(502))
    assert not (info.run_dir / "tracking_spool.jsonl").exists()


@pytest.mark.parametrize("delivered", [True, False])
@pytest.mark.parametrize("killed_again", [None, "in the outage", "after it"])
def test_resumed_while_the_store_is_away(
    process: Callable[..., Killed],
    client: Any,
    run_info: Callable[..., RunInfo],
    monkeypatch: pytest.MonkeyPatch,
    delivered: bool,
    killed_again: str | None,
) -> None:
    """Which points the store has is not known before it is back; each is there once all the same.

    Args:
        delivered: the killed process got its points past the checkpoint delivered, or lost them.
        killed_again: when the resumed one is killed, if it is; a third goes on from a checkpoint.
    """
    first, info = process(), run_info(params={"seed": 3})
    first.tracker.start(info)
    log(first.tracker, 1)
    with first.tracker.stage("00-bc", {}) as stage:
        stage.figures({"val_loss": 0.5})
    first.tracker.artifact(Path(__file__))
    first.delivered()
    under_way = first.tracker.stage("01-ppo", {"epochs": 3})
    under_way.__enter__().figures({"return_mean": 2.0})
    position = first.position()
    log(first.tracker, 2, 3)
    if delivered:
        first.tracker.artifact(Path(__file__))
        first.delivered()
    first.die()
    monkeypatch.setattr(lane, "LONGEST_RETRY_SECONDS", 0.2)
    with monkeypatch.context() as outage:
        outage.setattr(MlflowStore, "connect", away)
        second = process(position=position, finish_patience_seconds=20.0)
        second.tracker.start(info)
        log(second.tracker, 2, 3)
        second.tracker.tag({"verdict": "PASS"})
        position = second.position()
        with second.tracker.stage("01-ppo", {"epochs": 3}) as stage:
            stage.figures({"return_mean": 2.0})
        log(second.tracker, 4)
        if killed_again == "in the outage":
            second.die()
    if killed_again == "after it":
        second.tracker.artifact(Path(__file__))
        second.delivered()
        second.die()
    if killed_again is not None:
        second = process(position=position)
        second.tracker.start(info)
        with second.tracker.stage("01-ppo", {"epochs": 3}) as stage:
            stage.figures({"return_mean": 2.0})
        log(second.tracker, 4)
    second.tracker.finish(RunStatus.FINISHED)
    assert not (info.run_dir / "tracking_spool.jsonl").exists()
    run_id = json.loads((info.run_dir / RUN_FILE_NAME).read_text())["run_id"]
    assert run_id == first.tracker.run_id
    assert points(client, run_id, "eval/return") == expected(1, 2, 3, 4)
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["verdict"]) == ("FINISHED", "PASS")
    found = stages(client, first.tracker)
    assert {name: stage.info.status for name, stage in found.items()} == {
        "00-bc": "FINISHED",
        "01-ppo": "FINISHED",
    }
    for name, key, value in (("00-bc", "val_loss", 0.5), ("01-ppo", "return_mean", 2.0)):
        assert points(client, found[name].info.run_id, key) == [(0, value)]
