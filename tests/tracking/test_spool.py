"""What a store refuses or cannot take: set aside, kept on disk, delivered once."""

import json
import threading
import time
from collections import Counter, deque

import pytest

from journeyman.errors import UserError
from journeyman.tracking import lane
from journeyman.tracking.operations import EndRun, OpenRun, RunReference, SetTags, StoreArtifact
from journeyman.tracking.spool import (
    FILE_NAME,
    REFUSED_NAME,
    Spool,
    read_spool,
    spool_head,
    spooled_lines,
)
from support.memory_store import HEAD, JOB, MemoryStore, close, points, start, wait_for

pytestmark = pytest.mark.usefixtures("soon")


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


class Watched(deque):
    """Counts how often one of its elements is looked at."""

    looks = 0

    def __iter__(self):
        for each in super().__iter__():
            self.looks += 1
            yield each

    def __getitem__(self, index):
        self.looks += 1
        return super().__getitem__(index)


def test_logging_in_an_outage_looks_at_nothing_that_waits(tmp_path, monkeypatch):
    """However much it is, what is logged now is on disk without a look at it."""
    monkeypatch.setattr(lane, "FIRST_RETRY_SECONDS", 60.0)
    left = [SetTags(JOB, {"verdict": "PASS"}), *(points(JOB, step) for step in range(5000))]
    spool = Spool(tmp_path, HEAD)
    spool.append(spooled_lines(left))
    delivery = start(MemoryStore(fails=lambda call: True), spool=spool, waiting=left)
    queue = delivery._metrics.queue
    delivery.put(points(JOB, 5000), urgent=True)
    wait_for(lambda: not queue.fresh)  # it has failed by now
    queue.spooled = watched = Watched(queue.spooled)
    for step in range(5001, 5051):
        delivery.put(points(JOB, step))
        wait_for(lambda: not queue.fresh)
    assert watched.looks == 0
    assert [each.step for each in read_spool(tmp_path, {})[1:]] == [*range(5051)]
    delivery.abandon()
