"""Several trackers as one."""

import pytest

from journeyman.settings.metrics_log import JsonlSettings
from journeyman.settings.tracking import NoTrackingSettings
from journeyman.tracking.composite import CompositeTracker, build_tracker
from journeyman.tracking.jsonl import read_metrics
from journeyman.tracking.null import NoTracker
from journeyman.tracking.protocol import RunStatus

LOG = JsonlSettings(log_frequency=1, max_log_entries=100, max_files=2)


class Noting(NoTracker):
    def __init__(self, name, notes, fails=()):
        super().__init__()
        self.name, self.notes, self.fails = name, notes, fails

    def start(self, run):
        self._note("start")

    def finish(self, status):
        self._note(f"finish {status}")

    def _note(self, what):
        self.notes.append(f"{self.name} {what}")
        if what.split()[0] in self.fails:
            raise OSError(f"{self.name} cannot {what}")


def test_each_is_finished_even_if_one_raises(run_info):
    notes = []
    trackers = CompositeTracker([Noting("a", notes, {"finish"}), Noting("b", notes)])
    trackers.start(run_info())
    with pytest.raises(OSError, match="a cannot finish"):
        trackers.finish(RunStatus.FINISHED)
    assert notes == ["a start", "b start", "a finish FINISHED", "b finish FINISHED"]


def test_if_one_does_not_start_those_before_it_end_failed(run_info):
    notes = []
    trackers = CompositeTracker(
        [Noting("a", notes), Noting("b", notes, {"start"}), Noting("c", notes)]
    )
    with pytest.raises(OSError, match="b cannot start"):
        trackers.start(run_info())
    assert notes == ["a start", "b start", "a finish FAILED"]


def test_mlflow_and_the_log_hold_the_same_metrics(settings, run_info, outputs, client):
    info = run_info()
    tracker = build_tracker(settings(), LOG, outputs, info.run_dir)
    tracker.start(info)
    with tracker.stage("00-bc", {"epochs": 1}) as stage:
        tracker.log("bc", {"loss": 0.5, "dataset": "scripted"}, 1)
        stage.figures({"val_loss": 0.75})
        stage.tag({"status": "PASS"})
    tracker.tag({"verdict": "PASS"})
    tracker.artifact(info.run_dir / "metrics.jsonl")
    tracker.finish(RunStatus.FINISHED)
    (line,) = read_metrics(info.run_dir)
    assert (line["loss"], line["dataset"]) == (0.5, "scripted")
    run = client.get_run(tracker.trackers[0].run_id)
    assert run.data.metrics == {"bc/loss": 0.5}
    assert run.data.tags["verdict"] == "PASS"
    children = client.search_runs(
        [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    )
    assert [child.data.metrics for child in children] == [{"val_loss": 0.75}]


def test_without_mlflow_names_and_values_are_checked_all_the_same(run_info, tmp_path):
    info = run_info()
    tracker = build_tracker(NoTrackingSettings(kind="none"), LOG, tmp_path, info.run_dir)
    tracker.start(info)
    with pytest.raises(ValueError, match="metric name 'eval/rate%' may only contain"):
        tracker.log("eval", {"rate%": 1.0}, 1)
    tracker.log("eval", {"rate": 1.0}, 1)
    tracker.finish(RunStatus.FINISHED)
    assert [line["step"] for line in read_metrics(info.run_dir)] == [1]
    assert not (tmp_path / "mlflow.db").exists()
