"""A store in memory that fails as it is told to, and what tests of its delivery need."""

import time

from journeyman.tracking.delivery import Delivery
from journeyman.tracking.operations import Points, RunReference
from journeyman.tracking.spool import SpoolHead

HEAD = SpoolHead(tracking_uri="sqlite:////a.db", experiment="tests", outputs="/outputs")


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


def points(run, step, count=1):
    return Points(run, 1000 + step, step, [(f"m{index}", float(step)) for index in range(count)])


def wait_for(condition):
    deadline = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


JOB = RunReference("job", "id of job")
