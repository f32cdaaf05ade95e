"""A tracker whose process is killed when a test says so, and what a store has of its run."""

import atexit
import json
import time
from pathlib import Path
from typing import Any

from journeyman.settings.tracking import MlflowSettings
from journeyman.tracking.mlflow import MlflowTracker


class Killed:
    """A tracker whose process is killed when the test says so."""

    def __init__(self, settings: MlflowSettings, outputs: Path, **more: Any) -> None:
        self.tracker = MlflowTracker(settings, outputs=outputs, **more)

    def die(self) -> None:
        """Nothing more is delivered, nothing is finished."""
        self.tracker._queue.abandon()
        atexit.unregister(self.tracker.finish)
        assert self.tracker._store is not None
        self.tracker._store.close()

    def position(self) -> Any:
        """As a checkpoint would keep it."""
        return json.loads(json.dumps(self.tracker.position))

    def delivered(self) -> None:
        """Waits until the store has everything."""
        deadline = time.monotonic() + 20
        while self.tracker._queue.pending():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def points(client: Any, run_id: str, key: str) -> list[tuple[int, float]]:
    return sorted((p.step, p.value) for p in client.get_metric_history(run_id, key))


def stages(client: Any, tracker: MlflowTracker) -> dict[str, Any]:
    runs = client.search_runs(
        [tracker.experiment_id], f"tags.`mlflow.parentRunId` = '{tracker.run_id}'"
    )
    names = [run.info.run_name for run in runs]
    assert len(set(names)) == len(names)
    return dict(zip(names, runs, strict=True))


def log(tracker: MlflowTracker, *steps: int) -> None:
    for step in steps:
        # The same step twice, as evaluations after a rollback are; and a word, a duration.
        tracker.log("eval", {"return": float(step)}, step)
        tracker.log("eval", {"return": step + 0.5}, step)
        tracker.log("time", {"seconds": time.monotonic()}, step)


def expected(*steps: int) -> list[tuple[int, float]]:
    return sorted((step, value) for step in steps for value in (float(step), step + 0.5))
