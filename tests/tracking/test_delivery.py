"""The queue and its thread, against stores that fail in every way."""

import threading
import time

import pytest

from journeyman.tracking.operations import (
    EndRun,
    OpenRun,
    Points,
    RunReference,
    SetTags,
    StoreArtifact,
    from_line,
    to_line,
)
from support.memory_store import JOB, MemoryStore, close, points, start, wait_for

pytestmark = pytest.mark.usefixtures("soon")


def test_nothing_is_sent_before_it_is_due_and_all_at_the_end():
    store = MemoryStore()
    delivery = start(store)
    for step in range(5):
        delivery.put(points(JOB, step))
    time.sleep(0.1)
    assert store.calls == 0
    assert close(delivery) == []
    assert store.batches == [[("m0", float(step)) for step in range(5)]]


def test_a_full_buffer_is_sent_at_once():
    store = MemoryStore()
    delivery = start(store, flush_metrics=100)
    for step in range(5):
        delivery.put(points(JOB, step, count=20))  # the fifth call makes it 100 values
    wait_for(lambda: store.batches)
    assert len(store.batches[0]) == 100
    close(delivery)


def test_an_old_buffer_is_sent():
    store = MemoryStore()
    delivery = start(store, flush_seconds=0.05)
    delivery.put(points(JOB, 1))
    wait_for(lambda: store.batches)
    close(delivery)


def test_batches_hold_at_most_5000_values_and_never_mix_runs():
    store = MemoryStore()
    delivery = start(store, flush_metrics=10_000)
    other = RunReference("other", "id of other")
    for step in range(260):
        delivery.put(points(JOB, step, count=20))
    delivery.put(points(other, 0))
    delivery.put(points(JOB, 260))
    close(delivery)
    # 260 x 20 = 5200 values: 250 operations of 20 make 5000, 10 remain.
    assert [len(batch) for batch in store.batches] == [5000, 200, 1, 1]
    assert store.done[2:] == [("points", "id of other"), ("points", "id of job")]


def test_an_outage_delays_and_neither_loses_nor_repeats():
    store = MemoryStore(fails=lambda call: call % 3 != 0)  # two of three calls fail
    delivery = start(store, flush_metrics=1)
    stage = RunReference("stage")
    delivery.put(OpenRun(stage, "00-bc", {}, {}, 0))
    for step in range(20):
        delivery.put(points(stage if step % 2 else JOB, step))
    delivery.put(EndRun(stage, "FINISHED", 0))
    assert close(delivery) == []
    assert [batch[0][1] for batch in store.batches] == [float(step) for step in range(20)]
    assert store.done[0] == ("open", "00-bc")
    assert store.done[2] == ("points", "id of 00-bc")
    assert store.done[-1] == ("end", "FINISHED")


def test_the_end_is_bounded_and_hands_back_what_is_left():
    delivery = start(MemoryStore(fails=lambda call: True))
    queued = [points(JOB, step) for step in range(3)]
    for operation in queued:
        delivery.put(operation)
    began = time.monotonic()
    assert close(delivery, 0.3) == queued
    assert 0.3 <= time.monotonic() - began < 2.0


def test_the_end_is_bounded_when_a_call_hangs():
    released = threading.Event()

    class Hanging(MemoryStore):
        def log_points(self, run, points):
            released.wait(10.0)

    delivery = start(Hanging())
    operation = points(JOB, 1)
    delivery.put(operation)
    assert close(delivery, 0.2) == [operation]
    released.set()


def test_a_slow_store_is_given_its_time():
    class Slow(MemoryStore):
        def set_tags(self, operation):
            time.sleep(0.1)
            super().set_tags(operation)

    store = Slow()
    delivery = start(store)
    for number in range(8):
        delivery.put(SetTags(JOB, {"n": str(number)}))
    # 0.8 s of work with a patience of 0.3 s: progress is what counts.
    assert close(delivery, 0.3) == []
    assert len(store.done) == 8


def test_an_artifact_is_settled_by_success_and_by_failure():
    for fails in (False, True):
        delivery = start(MemoryStore(fails=lambda call, fails=fails: fails))
        operation = StoreArtifact(JOB, "report.html", "")
        delivery.put(operation, urgent=True)
        assert operation.settled.wait(5.0)
        assert bool(close(delivery, 0.1)) is fails


def test_an_outage_is_told_once_and_its_end_too(caplog):
    store = MemoryStore(fails=lambda call: call <= 3)
    with caplog.at_level("INFO"):
        delivery = start(store)
        delivery.put(points(JOB, 1))
        close(delivery)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "the store does not take metrics (away)" in caplog.text


def operations():
    stage = RunReference("stage")
    return [
        Points(JOB, 5, 1, [("ppo/loss", 0.1)]),
        OpenRun(stage, "00-bc", {"kind": "stage"}, {"epochs": "2"}, 6),
        Points(stage, 7, 0, [("loss", 0.2)]),
        StoreArtifact(JOB, "/a/report.html", "reports"),
        EndRun(stage, "FINISHED", 8),
    ]


def test_a_spooled_operation_comes_back_as_it_was():
    runs = {}
    lines = [to_line(operation) for operation in operations()]
    again = [from_line(line, runs) for line in lines]
    assert [to_line(operation) for operation in again] == lines
    assert again[1].run is again[2].run is again[4].run
    assert again[0].metrics == [("ppo/loss", 0.1)]
