"""The process that writes to MLflow hangs, or is killed early: no run waits for it for ever."""

import io
import os
import signal
import time
from functools import partial

import pytest

from journeyman.tracking import remote_store, store_process, store_server
from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.operations import Points
from journeyman.tracking.protocol import RunStatus
from journeyman.tracking.redelivery import deliver_spool
from journeyman.tracking.remote_store import StoreProcess
from journeyman.tracking.spool import read_spool
from support.serving import history, is_there, start_on_a_thread
from support.sweeps import wait_for

BIG = [{f"m{value}": float(step + value) for value in range(40)} for step in range(300)]
"""What is much more than a pipe holds, in one call."""


def log_big(tracker):
    for step, metrics in enumerate(BIG):
        tracker.log("ppo", metrics, step)


def spooled_steps(folder):
    return [each.step for each in read_spool(folder, {}) if isinstance(each, Points)]


@pytest.mark.usefixtures("soon")
def test_a_writer_that_does_not_read_keeps_no_run_from_its_end(
    settings, outputs, run_info, real, writer, caplog
):
    tracker = MlflowTracker(
        settings(flush_seconds=600.0, flush_metrics=10_000),
        outputs=outputs,
        finish_patience_seconds=1.0,
    )
    info = run_info()
    tracker.start(info)
    process = writer()
    os.kill(process, signal.SIGSTOP)
    log_big(tracker)
    tracker._queue._metrics.flush()
    wait_for(real._sending.locked, "that it is sent", seconds=20.0)
    thread = tracker._queue._metrics.thread
    began = time.monotonic()
    tracker.finish(RunStatus.FINISHED)
    real.stop()
    assert time.monotonic() - began < 6.0
    assert not is_there(process)
    thread.join(5.0)
    assert "were not delivered" in caplog.text
    assert "the run goes on" not in caplog.text
    assert spooled_steps(info.run_dir) == [*range(300)]
    assert deliver_spool(info.run_dir, uri=None) == (301, 0)


def test_a_store_is_closed_though_its_writer_has_a_full_pipe(tracker, run_info, real, writer):
    """It holds a call that was sent, and no byte more."""
    tracker.start(run_info())
    process = writer()
    os.kill(process, signal.SIGSTOP)
    while real._server.send(b"{}" * 100 + b"\n", seconds=0.1):
        pass
    began = time.monotonic()
    tracker._store.close()
    wait_for(lambda: not is_there(process), "its end", seconds=5.0)
    assert time.monotonic() - began < 4.0
    tracker.finish(RunStatus.FINISHED)


def test_a_writer_that_falls_silent_is_replaced(
    tracker, client, run_info, real, writer, caplog, soon, monkeypatch
):
    tracker.start(run_info())
    first = writer()
    os.kill(first, signal.SIGSTOP)
    log_big(tracker)
    with monkeypatch.context() as hasty:
        hasty.setattr(store_server, "TICK_SECONDS", 0.05)
        hasty.setattr(store_server, "SILENT_TICKS", 20)
        wait_for(lambda: not is_there(first), "its end", seconds=20.0)
    tracker.finish(RunStatus.FINISHED)
    assert "ended before it answered (killed by signal 9)" in caplog.text
    assert history(client, tracker, "ppo/m7") == [(step, step + 7.0) for step in range(300)]


def test_one_at_work_says_that_it_is_alive(monkeypatch):
    monkeypatch.setattr(store_process, "BEAT_SECONDS", 0.01)
    there = start_on_a_thread()
    lines = there.lines()
    assert [next(lines) for _ in range(3)] == [b'{"alive": true}'] * 3
    there.calls.close()
    assert set(lines) <= {b'{"alive": true}'}  # and they end
    there.answers.close()


def test_only_a_silent_one_is_killed_and_what_it_said_is_heard(monkeypatch):
    monkeypatch.setattr(store_server, "TICK_SECONDS", 0.01)
    read, written = os.pipe()
    killed = []

    def kill():
        killed.append(True)
        os.close(written)

    os.write(written, b'{"call": 1}\n{"call": 2}\n{"ca')
    there = store_server.Server(
        calls=io.BytesIO(), answers=io.FileIO(read), wait=lambda: "gone", kill=kill
    )
    lines = there.lines()
    assert [next(lines), next(lines), killed] == [b'{"call": 1}', b'{"call": 2}', []]
    assert [*lines] == []
    assert killed == [True]
    there.answers.close()


DYING = """
import os
from journeyman.tracking import store_process
carry_out = store_process._OpenStore.carry_out
def die(self, method, operations):
    if method == "open_patiently":
        if {created}:
            carry_out(self, method, operations)
        os.kill(os.getpid(), 9)
store_process._OpenStore.carry_out = die
store_process.main()
"""


@pytest.mark.parametrize("created", [False, True])
def test_a_writer_that_is_killed_while_a_run_is_opened_is_replaced(
    tracker, client, run_info, monkeypatch, created
):
    """Before it has created the run, or after it and before it has said so."""
    dying = partial(store_server.start_server, ("-c", DYING.format(created=created)))
    starts = iter([dying, store_server.start_server])
    process = StoreProcess(lambda: next(starts)())
    monkeypatch.setattr(remote_store, "_shared", process)
    tracker.start(run_info(params={"seed": 3}, tags={"of": f"created {created}"}))
    tracker.finish(RunStatus.FINISHED)
    process.stop()
    (run,) = client.search_runs([tracker.experiment_id], f"tags.of = 'created {created}'")
    assert (run.info.status, run.data.params) == ("FINISHED", {"seed": "3"})
