"""The run folder's log of metrics."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from journeyman.errors import UserError
from journeyman.settings.metrics_log import JsonlSettings
from journeyman.tracking.jsonl import JsonlTracker, read_metrics
from journeyman.tracking.protocol import RunInfo, RunStatus

SETTINGS = JsonlSettings(log_frequency=1, max_log_entries=1000, max_files=5)


def start(folder, settings=SETTINGS, **kwargs):
    tracker = JsonlTracker(settings, folder, **kwargs)
    tracker.start(RunInfo(experiment="e", name="n", run_dir=folder))
    return tracker


def write(folder, steps, settings=SETTINGS, **kwargs):
    tracker = start(folder, settings, **kwargs)
    for step in steps:
        tracker.log("eval", {"return_mean": step / 2}, step)
    tracker.finish(RunStatus.FINISHED)
    return tracker


def pairs(folder):
    return [(line["log_stream_offset"], line["step"]) for line in read_metrics(folder)]


def test_a_line_holds_the_group_the_step_and_values_of_their_own_type(tmp_path):
    tracker = start(tmp_path)
    tracker.log(
        "bc",
        {
            "loss": 0.5,
            "samples": 3,
            "stopped": True,
            "dataset": "scripted",
            "count": np.int64(4),
            "share": np.float32(0.25),
            "flag": np.bool_(False),
        },
        2,
    )
    tracker.finish(RunStatus.FINISHED)
    tracker.finish(RunStatus.FINISHED)
    (line,) = read_metrics(tmp_path)
    assert line.pop("time").endswith("+00:00")
    assert json.dumps(line) == (
        '{"group": "bc", "step": 2, "log_stream_offset": 0, "loss": 0.5, "samples": 3, '
        '"stopped": true, "dataset": "scripted", "count": 4, "share": 0.25, "flag": false}'
    )


def test_every_nth_call_of_a_group_is_written_beginning_with_the_first(tmp_path):
    tracker = start(tmp_path, JsonlSettings(log_frequency=3, max_log_entries=10, max_files=1))
    for step in range(7):
        tracker.log("ppo_like", {"x": 1.0}, step)
        if step % 2 == 0:
            tracker.log("eval", {"x": 1.0}, step)
    tracker.finish(RunStatus.FINISHED)
    written = [(line["group"], line["step"]) for line in read_metrics(tmp_path)]
    # calls 0, 3, 6 of the first group; of eval's calls (at steps 0 2 4 6) the first and fourth
    assert written == [("ppo_like", 0), ("eval", 0), ("ppo_like", 3), ("ppo_like", 6), ("eval", 6)]


def test_files_rotate_by_lines_and_the_oldest_go(tmp_path):
    write(tmp_path, range(11), JsonlSettings(log_frequency=1, max_log_entries=3, max_files=3))
    # 11 lines in files of 3: 0-2 (gone), 3-5, 6-8, 9-10
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "metrics.jsonl",
        "metrics.jsonl.1",
        "metrics.jsonl.2",
    ]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    assert pairs(tmp_path) == [(step, step) for step in range(3, 11)]


def test_a_single_file_starts_afresh(tmp_path):
    write(tmp_path, range(5), JsonlSettings(log_frequency=1, max_log_entries=2, max_files=1))
    assert pairs(tmp_path) == [(4, 4)]


def test_a_kill_amid_a_rotation_loses_nothing(tmp_path):
    settings = JsonlSettings(log_frequency=1, max_log_entries=2, max_files=9)
    write(tmp_path, range(6), settings)
    # As if killed after .1 became .2 (and .2 .3) and before the current file became .1 ...
    (tmp_path / "metrics.jsonl.2").rename(tmp_path / "metrics.jsonl.3")
    (tmp_path / "metrics.jsonl.1").rename(tmp_path / "metrics.jsonl.2")
    assert pairs(tmp_path) == [(step, step) for step in range(6)]
    # ... or after that and before a new one was opened.
    (tmp_path / "metrics.jsonl").rename(tmp_path / "metrics.jsonl.1")
    write(tmp_path, range(6, 11), settings)
    assert pairs(tmp_path) == [(step, step) for step in range(11)]


def test_appending_runs_on_from_the_last_line(tmp_path):
    write(tmp_path, range(3))
    write(tmp_path, range(3, 5))
    assert pairs(tmp_path) == [(step, step) for step in range(5)]


@pytest.mark.parametrize("checkpoint_at", range(0, 9))
def test_a_resumed_run_leaves_the_log_of_an_undisturbed_one(tmp_path, checkpoint_at):
    settings = JsonlSettings(log_frequency=2, max_log_entries=2, max_files=9)
    write(tmp_path / "whole", range(12), settings)

    tracker = start(tmp_path / "killed", settings)
    for step in range(9):
        if step == checkpoint_at:
            position = json.loads(json.dumps(tracker.position))
        tracker.log("eval", {"return_mean": step / 2}, step)
    write(tmp_path / "killed", range(checkpoint_at, 12), settings, position=position)

    def content(folder):
        return {
            path.name: [
                {key: value for key, value in json.loads(line).items() if key != "time"}
                for line in path.read_text().splitlines()
            ]
            for path in folder.iterdir()
        }

    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_a_half_line_is_passed_over_and_cut_off(tmp_path):
    write(tmp_path, range(2))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"group": "eval", "st')
    assert pairs(tmp_path) == [(0, 0), (1, 1)]
    write(tmp_path, [2])
    assert pairs(tmp_path) == [(0, 0), (1, 1), (2, 2)]


KILLED = """
import os, signal, sys
from pathlib import Path
from journeyman.settings.metrics_log import JsonlSettings
from journeyman.tracking.jsonl import JsonlTracker
from journeyman.tracking.protocol import RunInfo
tracker = JsonlTracker(JsonlSettings(log_frequency=1, max_log_entries=3, max_files=9),
                       Path(sys.argv[1]))
tracker.start(RunInfo(experiment="e", name="n", run_dir=Path(sys.argv[1])))
for step in range(8):
    tracker.log("eval", {"return_mean": 1.0}, step)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_keeps_every_line(tmp_path):
    process = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert pairs(tmp_path) == [(step, step) for step in range(8)]


def test_a_stage_syncs_to_the_disk(tmp_path, monkeypatch):
    tracker = start(tmp_path)
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with tracker.stage("00-bc", {}) as stage:
        stage.figures({"loss": 1.0})
        assert synced == []
    assert len(synced) == 1
    tracker.finish(RunStatus.FAILED)


@pytest.mark.parametrize(
    ("metrics", "problem"),
    [
        ({"x": float("nan")}, r"metric 'eval/x' at step 4 is not finite: nan"),
        ({"x": np.float32("inf")}, r"metric 'eval/x' at step 4 is not finite: inf"),
        ({"x": None}, r"metric 'eval/x' at step 4 is no number: None"),
        ({"step": 1.0}, r"metric name 'step' of group 'eval' is reserved"),
    ],
)
def test_what_may_not_be_logged(tmp_path, metrics, problem):
    tracker = start(tmp_path)
    with pytest.raises(ValueError, match=problem):
        tracker.log("eval", metrics, 4)
    tracker.finish(RunStatus.FAILED)
    assert read_metrics(tmp_path) == []


def test_reading_names_the_folder_or_line_at_fault(tmp_path):
    with pytest.raises(UserError, match=r"has no metrics\.jsonl"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"a": 1}\n[1]\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl:2 is not a JSON object"):
        read_metrics(tmp_path)


def test_logging_outside_a_run_is_a_bug(tmp_path):
    with pytest.raises(RuntimeError, match="before start"):
        JsonlTracker(SETTINGS, tmp_path).log("eval", {"x": 1.0}, 0)
