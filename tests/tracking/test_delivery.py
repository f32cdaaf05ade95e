"""The queue and its thread, against stores that fail in every way."""

import json
import threading
import time
from collections import Counter

import pytest

from journeyman.errors import UserError
from journeyman.tracking.delivery import Delivery
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
from journeyman.tracking.spool import (
    FILE_NAME,
    REFUSED_NAME,
    Spool,
    SpoolHead,
    read_spool,
    spool_head,
    spooled_lines,
)


class MemoryStore:
    """Takes operations into lists; `fails` says which calls raise instead."""

    def __init__(self, fails=lambda call: False):
        self.fails = fails
        self.refused = set()
        self.calls = 0
        self.batches = []
        self.done = []

    def _take(self, what):
        self.calls += 1
        if self.fails(self.calls):
            raise ConnectionError("away")
        self.done.append(what)

    def refuses(self, error):
        return isinstance(error, ValueError)

    def log_points(self, run, points):
        for each in points:
            if each.step in self.refused:
                raise ValueError(f"step {each.step} is not wanted")
        self._take(("points", run.opened_id))
        self.batches.append([pair for each in points for pair in each.metrics])

    def open_run(self, operation):
        self._take(("open", operation.name))
        operation.run.run_id = f"id of {operation.name}"

    def set_tags(self, operation):
        self._take(("tags", operation.tags))

    def store_artifact(self, operation):
        self._take(("artifact", operation.path))

    def end_run(self, operation):
        self._take(("end", operation.status))


def start(store, **changes):
    values = {"name": "the store", "flush_seconds": 60.0, "flush_metrics": 1000}
    return Delivery(store, **{**values, **changes})


def close(delivery, patience=5.0):
    delivery.close(patience_seconds=patience)
    left = delivery.waiting()
    assert delivery.leave() == len(left)
    return left


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr("journeyman.tracking.lane.FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr("journeyman.tracking.lane.CLOSING_RETRY_SECONDS", 0.05)


def points(run, step, count=1):
    return Points(run, 1000 + step, step, [(f"m{index}", float(step)) for index in range(count)])


def wait_for(condition):
    deadline = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


JOB = RunReference("job", "id of job")


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


def test_calls_hold_at_most_a_thousand_values_and_never_mix_runs():
    store = MemoryStore()
    delivery = start(store)
    other = RunReference("other", "id of other")
    for step in range(60):
        delivery.put(points(JOB, step, count=20))
    delivery.put(points(other, 0))
    delivery.put(points(JOB, 60))
    close(delivery)
    # 60 x 20 = 1200 values: 50 calls of 20 make 1000, 10 remain. (The 1000th value may send the
    # first thousand early, which changes nothing here.)
    assert [len(batch) for batch in store.batches] == [1000, 200, 1, 1]
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


HEAD = SpoolHead(tracking_uri="sqlite:////a.db", experiment="tests", outputs="/outputs")


def test_a_refused_operation_stops_nothing(tmp_path, caplog):
    """Three calls go out together; the one that is not wanted is named, the others arrive."""
    store = MemoryStore()
    store.refused = {1}
    delivery = start(store, spool=Spool(tmp_path, HEAD))
    for step in range(3):
        delivery.put(points(JOB, step))
    delivery.put(EndRun(JOB, "FINISHED", 0))
    assert close(delivery) == []
    assert store.batches == [[("m0", 0.0)], [("m0", 2.0)]]
    assert store.done[-1] == ("end", "FINISHED")
    assert "refuses step 1 of m0 (step 1 is not wanted)" in caplog.text
    (line,) = (tmp_path / REFUSED_NAME).read_text().splitlines()
    assert json.loads(line)["reason"] == "step 1 is not wanted"
    assert json.loads(line)["metrics"] == [["m0", 1.0]]


def test_a_run_that_is_refused_takes_its_own_with_it_and_no_others(tmp_path, caplog):
    class Choosy(MemoryStore):
        def open_run(self, operation):
            raise ValueError("its experiment was deleted")

    store = Choosy()
    delivery = start(store, spool=Spool(tmp_path, HEAD))
    stage = RunReference("stage")
    delivery.put(OpenRun(stage, "00-bc", {}, {}, 0))
    for step in range(3):
        delivery.put(points(stage, step))
    delivery.put(EndRun(stage, "FINISHED", 0))
    delivery.put(StoreArtifact(stage, "report.html", ""))
    delivery.put(points(JOB, 7))
    assert close(delivery) == []
    assert store.done == [("points", "id of job")]
    assert len((tmp_path / REFUSED_NAME).read_text().splitlines()) == 6
    assert caplog.text.count("refuses step") == 1, "one line for one kind of one run"


def test_metrics_do_not_wait_for_artifacts(tmp_path):
    """The place of artifacts is away, for good; what the spool has afterwards is these alone."""

    class NoPlace(MemoryStore):
        def store_artifact(self, operation):
            raise ConnectionError("no such bucket")

    store = NoPlace()
    delivery = start(store, flush_metrics=1, spool=Spool(tmp_path, HEAD))
    delivery.put(StoreArtifact(JOB, "report.html", ""), urgent=True)
    for step in range(20):
        delivery.put(points(JOB, step))
    delivery.put(EndRun(JOB, "FINISHED", 0))
    wait_for(lambda: ("end", "FINISHED") in store.done)
    delivery.close(patience_seconds=0.3)
    assert delivery.leave() == 1
    assert sum(len(batch) for batch in store.batches) == 20
    assert [type(left) for left in read_spool(tmp_path, {})] == [StoreArtifact]


def test_an_artifact_waits_for_its_run(tmp_path):
    """It has a thread of its own, and the run is opened by the other."""
    store = MemoryStore(fails=lambda call: call <= 3)
    delivery = start(store)
    job = RunReference("new job")
    artifact = StoreArtifact(job, "config.yaml", "")
    delivery.put(artifact, urgent=True)
    delivery.put(OpenRun(job, "new", {}, {}, 0), urgent=True)
    assert close(delivery) == []
    assert store.done == [("open", "new"), ("artifact", "config.yaml")]


def test_in_an_outage_nobody_waits_for_artifacts():
    entered, released = threading.Event(), threading.Event()

    class Hanging(MemoryStore):
        def store_artifact(self, operation):
            entered.set()
            released.wait(10.0)
            raise ConnectionError("timeout")

    delivery = start(Hanging())
    queued = [StoreArtifact(JOB, f"{number}.txt", "") for number in range(5)]
    for operation in queued:
        delivery.put(operation, urgent=True)
    assert entered.wait(5.0)
    assert not any(operation.settled.is_set() for operation in queued)
    released.set()
    # One failure lets all go that wait, and those that come later need not wait at all.
    assert all(operation.settled.wait(2.0) for operation in queued)
    late = StoreArtifact(JOB, "late.txt", "")
    delivery.put(late, urgent=True)
    assert late.settled.is_set()
    delivery.abandon()


def test_what_a_killed_process_could_not_deliver_is_in_its_spool(tmp_path):
    """Written while the store fails, without anybody's asking; delivered later, all of it once."""
    away = [True]
    store = MemoryStore(fails=lambda call: away[0])
    delivery = start(store, flush_seconds=0.01, spool=Spool(tmp_path, HEAD))
    for step in range(50):
        delivery.put(points(JOB, step, count=3))
        time.sleep(0.001)
    wait_for(lambda: not delivery.waiting())
    delivery.abandon()  # as SIGKILL does, nothing is written from here on
    assert spool_head(tmp_path) == HEAD
    left = read_spool(tmp_path, {})
    assert [each.step for each in left] == list(range(50))
    away[0] = False
    again = start(store, spool=Spool(tmp_path, HEAD, outstanding=len(left)), waiting=left)
    assert close(again) == []
    delivered = [pair for batch in store.batches for pair in batch]
    assert delivered == [(f"m{m}", float(step)) for step in range(50) for m in range(3)]
    assert not (tmp_path / FILE_NAME).exists()


def test_the_spool_only_grows_and_goes_when_all_is_taken(tmp_path):
    away = [True]
    store = MemoryStore(fails=lambda call: away[0])
    delivery = start(store, flush_metrics=1, spool=Spool(tmp_path, HEAD))
    path = tmp_path / FILE_NAME
    sizes = []
    for step in range(5):
        delivery.put(points(JOB, step))
        wait_for(lambda: not delivery.waiting())
        sizes.append(path.stat().st_size)
        lines = path.read_text().splitlines()
        assert len(lines) == step + 2, "each operation is written once"
    assert sizes == sorted(set(sizes))
    away[0] = False
    wait_for(lambda: not path.exists())
    assert [batch[0][1] for batch in store.batches] == [0.0]
    assert close(delivery) == []


def test_a_disk_that_is_full_costs_the_spool_and_not_the_run(tmp_path, caplog):
    (tmp_path / "run").write_text("a file where the folder should be")
    away = [True]
    store = MemoryStore(fails=lambda call: away[0])
    delivery = start(store, flush_metrics=1, spool=Spool(tmp_path / "run", HEAD))
    delivery.put(points(JOB, 1))
    wait_for(lambda: "cannot be written" in caplog.text)
    away[0] = False
    assert close(delivery) == []
    assert store.batches == [[("m0", 1.0)]]


@pytest.mark.parametrize("killed", [False, True])
def test_points_that_the_store_has_of_an_earlier_process_are_passed_over(tmp_path, killed):
    """Steps 1 and 2 were delivered by the killed process; 2 twice in all, once of it by then.

    Opened late, after an outage in which they were logged again; or killed in that outage.
    """
    away = [True]

    class Knowing(MemoryStore):
        def open_run(self, operation):
            super().open_run(operation)
            operation.run.found = {"m0": Counter({1: 1, 2: 1})}

    store = Knowing(fails=lambda call: away[0])
    delivery = start(store, flush_metrics=1, spool=Spool(tmp_path, HEAD))
    job = RunReference("resumed")
    delivery.put(OpenRun(job, "job", {}, {}, 0, since=5))
    for step in (1, 2, 2, 3):
        delivery.put(points(job, step))
    wait_for(lambda: not delivery.waiting())
    if killed:
        delivery.abandon()
        left = read_spool(tmp_path, {})
        delivery = start(store, spool=Spool(tmp_path, HEAD, outstanding=len(left)), waiting=left)
    away[0] = False
    wait_for(lambda: not (tmp_path / FILE_NAME).exists())
    if not killed:
        delivery.put(points(job, 4))
    assert close(delivery) == []
    sent = [pair[1] for batch in store.batches for pair in batch]
    assert sent == ([2.0, 3.0] if killed else [2.0, 3.0, 4.0])


def test_after_opening_the_spool_holds_what_is_missing_and_no_more(tmp_path):
    """Killed between the opening and the rest: its ticking off is not done a second time."""
    calls = iter([False, True])

    class Knowing(MemoryStore):
        def open_run(self, operation):
            super().open_run(operation)
            operation.run.found = {"m0": Counter({1: 1, 2: 1})}

    store = Knowing(fails=lambda call: next(calls, True))
    job = RunReference("resumed")
    left = [OpenRun(job, "job", {}, {}, 0, since=5), *(points(job, step) for step in (1, 2, 2, 3))]
    spool = Spool(tmp_path, HEAD)
    spool.append(spooled_lines(left))
    delivery = start(store, spool=spool, waiting=left)
    wait_for(lambda: store.calls >= 2)
    delivery.abandon()
    again = read_spool(tmp_path, {})
    assert [each.metrics for each in again] == [[], [], [("m0", 2.0)], [("m0", 3.0)]]


def test_a_half_line_at_the_end_is_passed_over_and_cut(tmp_path):
    """As a killed process or a full disk leaves it."""
    spool = Spool(tmp_path, HEAD)
    spool.append(spooled_lines([points(JOB, 1)]))
    path = tmp_path / FILE_NAME
    path.write_text(path.read_text() + '{"operation": "Poi')
    assert [each.step for each in read_spool(tmp_path, {})] == [1]
    Spool(tmp_path, HEAD, outstanding=1).append(spooled_lines([points(JOB, 2)]))
    assert [each.step for each in read_spool(tmp_path, {})] == [1, 2]
    path.write_text(path.read_text() + "{}\n")
    with pytest.raises(UserError, match=r"tracking_spool\.jsonl:4 is no line of a spool"):
        read_spool(tmp_path, {})


def test_logging_costs_nothing_more_in_an_outage(tmp_path):
    """With 20,000 calls waiting, and each of them on disk soon after it was made."""
    store = MemoryStore(fails=lambda call: True)
    delivery = start(store, flush_metrics=1, spool=Spool(tmp_path, HEAD))
    times = []
    for step in range(20_000):
        began = time.perf_counter()
        delivery.put(points(JOB, step))
        times.append(time.perf_counter() - began)
    times.sort()
    assert times[len(times) // 2] < 100e-6
    wait_for(lambda: len(delivery.waiting()) < 1000)
    assert len(delivery.waiting()) < 1000
    delivery.abandon()
