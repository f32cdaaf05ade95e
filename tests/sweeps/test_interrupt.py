"""Ctrl-C in a terminal: SIGINT to the driver and to every worker at the same moment."""

import importlib.util
import json
import os
import signal
import time
from pathlib import Path
from subprocess import Popen

import pytest

from journeyman.sweeps.driver import GRACE_SECONDS
from support.commands import mlflow_client
from support.sweeps import PPO, group_of, jobs_of, started, sweep_folder, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None,
        reason='needs pip install "journeyman[joblib]"',
    ),
]

SWEEP = ("--multirun", "launch=joblib", "hydra.launcher.n_jobs=2", "seed=range(0,4)")
ENDLESS = (*PPO, "strategy.updates=1000000", "checkpoint.every=5")


def interrupt(process: Popen[bytes], work: Path) -> float:
    """Interrupts the whole group, waits for its end, and returns when it was interrupted."""
    began = time.time()
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=90) == 130, (work / "said.txt").read_text()
    print(f"ended {time.time() - began:.1f} s after the interrupt")
    wait_for(lambda: not group_of(process.pid), "a process lives on", seconds=10)
    return began


def updates(log: Path) -> int:
    """Returns how many updates a run's log has so far."""
    return log.read_text().count('{"group":"ppo"')


def stored(work: Path) -> dict[str, list[str]]:
    """Returns how the runs of each kind ended."""
    client = mlflow_client(work / "outputs")
    experiment = client.get_experiment_by_name("journeyman")
    ends: dict[str, list[str]] = {}
    for run in client.search_runs([experiment.experiment_id]):
        ends.setdefault(run.data.tags["kind"], []).append(run.info.status)
    return ends


def test_running_jobs_end_at_a_checkpoint(tmp_path: Path) -> None:
    """Both of them: a worker's own interrupt must not make joblib kill the other."""
    with started(tmp_path, *SWEEP, *ENDLESS) as process:
        logs = (tmp_path / "outputs" / "multirun").glob
        wait_for(
            lambda: (
                process.poll()
                or [updates(log) > 9 for log in logs("*/*/*/metrics.jsonl")] == [True, True]
            ),
            "two jobs at practice",
        )
        assert process.poll() is None, (tmp_path / "said.txt").read_text()
        folder = sweep_folder(tmp_path)
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("latest.safetensors")}
        began = interrupt(process, tmp_path)
    said = (tmp_path / "said.txt").read_text()
    assert "Traceback" not in said, said
    jobs = jobs_of(folder)
    assert [job["status"] for job in jobs] == ["stopped", "stopped", "pending", "pending"]
    assert [job["error"] for job in jobs[:2]] == ["stopped by signal 2"] * 2
    for name in ("0", "1"):
        assert json.loads((folder / name / "status.json").read_text())["status"] == "KILLED"
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("latest.safetensors")}
    assert len(before) == 2
    assert all(after[path] > before[path] for path in before), "each saved what it had come to"
    # The sweep's run, two jobs and the stage of each.
    assert stored(tmp_path) == {"sweep": ["KILLED"], "job": ["KILLED"] * 2, "stage": ["KILLED"] * 2}
    assert (folder / "report.html").is_file()
    for name in ("0", "1"):
        assert (folder / name / "job.json").stat().st_mtime - began < 10.0
    accounted = (folder / "sweep.json").stat().st_mtime - began
    assert accounted < GRACE_SECONDS, "nobody was waited for in vain"


def test_workers_that_only_start_are_not_interrupted(tmp_path: Path) -> None:
    """Python in a worker that has not come to the job yet would die of KeyboardInterrupt."""
    with started(tmp_path, *SWEEP, *ENDLESS) as process:
        wait_for(lambda: len(group_of(process.pid)) >= 3 or process.poll(), "two workers")
        time.sleep(0.3)
        interrupt(process, tmp_path)
    said = (tmp_path / "said.txt").read_text()
    assert "Traceback" not in said, said
    assert "TerminatedWorker" not in said, said
    assert {job["status"] for job in jobs_of(sweep_folder(tmp_path))} <= {"pending", "stopped"}
    assert set(stored(tmp_path)["sweep"]) == {"KILLED"}
