"""Jobs side by side: nothing lost, nothing left behind, whatever launches them."""

import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.commands import journeyman, mlflow_client
from support.outages import logged
from support.sweeps import DEADLY, PPO, jobs_of, sweep_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None,
        reason='needs pip install "journeyman[joblib]"',
    ),
]

BESIDE = ("--multirun", "launch=joblib")


def test_eight_jobs_at_once_lose_no_metric(tmp_path: Path) -> None:
    """Every number that the run folders' logs hold is in the one SQLite store, point by point."""
    done = journeyman(
        *BESIDE, "hydra.launcher.n_jobs=8", "seed=range(0,8)", *PPO, cwd=tmp_path, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert "job 7: done in " in done.stdout
    folder = sweep_folder(tmp_path)
    client = mlflow_client(tmp_path / "outputs")
    compared = 0
    for job in jobs_of(folder):
        run_dir = folder / job["folder"]
        run_id = json.loads((run_dir / "tracking.json").read_text())["run_id"]
        for key, points in logged(run_dir).items():
            history = client.get_metric_history(run_id, key)
            assert sorted((each.step, each.value) for each in history) == points, key
            compared += len(points)
    assert compared > 8 * 40 * 20, "forty updates with at least twenty figures each"
    assert "PicklingError" not in done.stdout + done.stderr
    pickles = [folder / job["folder"] / ".hydra" / "config.pickle" for job in jobs_of(folder)]
    assert all(pickle.stat().st_size > 1000 for pickle in pickles)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie has no memory left.
    return bool(Path(f"/proc/{pid}/statm").read_text().split()[0] != "0")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signal_to_the_driver_leaves_no_worker(tmp_path: Path, number: int, code: int) -> None:
    endless = ("strategy.updates=1000000", "hydra.launcher.n_jobs=2", "seed=0,1,2")
    said = tmp_path / "said.txt"
    # No pipe: workers that live on would hold it open.
    with said.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "journeyman", *BESIDE, *PPO, *endless],
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "MLFLOW_TRACKING_URI": ""},
        )
    deadline = time.monotonic() + 150
    while len(list(tmp_path.rglob("metrics.jsonl"))) < 2:
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    folder = sweep_folder(tmp_path)
    workers = [json.loads((folder / name / "job.json").read_text())["pid"] for name in ("0", "1")]
    assert all(map(alive, workers))
    process.send_signal(number)
    assert process.wait(timeout=90) == code, said.read_text()
    deadline = time.monotonic() + 45
    while any(map(alive, workers)):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.2)
    ends = [json.loads((folder / name / "job.json").read_text())["status"] for name in ("0", "1")]
    assert ends == ["stopped", "stopped"]
    client = mlflow_client(tmp_path / "outputs")
    experiment = client.get_experiment_by_name("journeyman")
    runs = client.search_runs([experiment.experiment_id])
    jobs = [run.info.status for run in runs if run.data.tags["kind"] == "job"]
    assert jobs == ["KILLED", "KILLED"]
    if number == signal.SIGTERM:
        assert "Traceback" not in said.read_text(), said.read_text()
        assert [job["status"] for job in jobs_of(folder)] == ["stopped", "stopped", "pending"]
        (parent,) = [run for run in runs if run.data.tags["kind"] == "sweep"]
        assert parent.info.status == "KILLED"
        assert (folder / "report.html").is_file()


def test_a_stopped_job_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """As a sweep: stopped, resumed. And undisturbed: the same weights, the same MLflow run."""
    work, undisturbed = tmp_path / "work", tmp_path / "undisturbed"
    work.mkdir()
    undisturbed.mkdir()
    long = ("strategy.updates=300", "checkpoint.every=5", "launch=local", "seed=0,1")
    said = work / "said.txt"
    with said.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "journeyman", *BESIDE, *PPO, *long],
            cwd=work,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "MLFLOW_TRACKING_URI": ""},
        )
    deadline = time.monotonic() + 150
    while not list(work.rglob("latest.safetensors")):
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=90) == 143, said.read_text()
    folder = sweep_folder(work)
    assert [job["status"] for job in jobs_of(folder)] == ["stopped", "pending"]
    before = json.loads((folder / "0" / "tracking.json").read_text())["run_id"]
    done = journeyman("resume", str(folder), cwd=tmp_path, timeout=280)
    assert done.returncode == 0, done.stderr
    assert [job["status"] for job in jobs_of(folder)] == ["done", "done"]
    assert not (folder / "attempts").exists()
    assert json.loads((folder / "0" / "tracking.json").read_text())["run_id"] == before
    assert b"stopped" not in (folder / "report.html").read_bytes().partition(b"<h1>")[2]
    done = journeyman(*PPO, "strategy.updates=300", "tracking=none", cwd=undisturbed)
    assert done.returncode == 0, done.stderr
    (alone,) = undisturbed.rglob("results.json")
    digests = [
        json.loads(path.read_text())["result"]["weights_digest"]
        for path in (folder / "0" / "results.json", alone)
    ]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_process_that_dies_ends_its_own_job_only(tmp_path: Path, launcher: str) -> None:
    """joblib takes the other worker down with it: that job goes on, to the same bits."""
    if launcher == "submitit_local":
        pytest.importorskip("submitit")
    (tmp_path / "deadly.py").write_text(DEADLY)
    deadly = ("env.id=deadly:Deadly-v0", "env.kwargs={steps: 100},{steps: -1}", "seed=0,1")
    done = journeyman(
        "--multirun",
        f"hydra/launcher={launcher}",
        *(["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []),
        *PPO,
        *deadly,
        "checkpoint.every=5",
        cwd=tmp_path,
        timeout=280,
        PYTHONPATH=str(tmp_path),
    )
    assert done.returncode == 1, done.stderr
    folder = sweep_folder(tmp_path)
    jobs = jobs_of(folder)
    assert [job["status"] for job in jobs] == ["failed", "failed", "done", "done"]
    assert all(job["error"].startswith("its process died: ") for job in jobs[:2])
    assert "job 0 (env.kwargs={steps:100} seed=0) failed: its process died: " in done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    client = mlflow_client(tmp_path / "outputs")
    experiment = client.get_experiment_by_name("journeyman")
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'job'")
    ends = {run.data.tags["sweep.job"]: run.info.status for run in runs}
    assert ends == {"0": "KILLED", "1": "KILLED", "2": "FINISHED", "3": "FINISHED"}


def test_more_threads_than_a_job_will_have_are_refused(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    many = (f"hydra.launcher.n_jobs={2 * cores}", f"runtime.town_threads={cores}", "seed=0,1")
    if cores == 1:
        pytest.skip("one core cannot be shared out")
    done = journeyman(*BESIDE, *many, *PPO, cwd=tmp_path)
    assert done.returncode == 2
    assert f"leave 1 of {cores} cores to each (got {cores})" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None, reason='needs pip install "journeyman[slurm]"'
)
def test_the_slurm_launchers_local_executor(tmp_path: Path) -> None:
    """As a cluster would run them: pickled to files, each job in a process of its own."""
    done = journeyman(
        "--multirun",
        "hydra/launcher=submitit_local",
        "hydra.launcher.timeout_min=5",
        "seed=0,1",
        *PPO,
        cwd=tmp_path,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    folder = sweep_folder(tmp_path)
    assert [job["status"] for job in jobs_of(folder)] == ["done", "done"]
    client = mlflow_client(tmp_path / "outputs")
    experiment = client.get_experiment_by_name("journeyman")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.data.tags["kind"] == "sweep"]
    jobs = [run for run in runs if run.data.tags["kind"] == "job"]
    assert {run.data.tags["mlflow.parentRunId"] for run in jobs} == {parent.info.run_id}


@pytest.mark.skipif(
    importlib.util.find_spec("optuna") is None, reason='needs pip install "journeyman[optuna]"'
)
def test_a_search_prunes_running_jobs(tmp_path: Path) -> None:
    """The learning rate itself is the metric, so that who must be pruned is known beforehand.

    It is the same at every report; a trial whose rate is below the median of the complete ones'
    before it is pruned, the others are not.
    """
    done = journeyman(
        "--multirun",
        "sweep=optuna",
        "hydra.sweeper.trials=5",
        "hydra.sweeper.prune_metric=ppo/lr",
        "hydra.sweeper.prune_after_trials=1",
        "strategy.learning_rate=interval(1e-4,1e-3)",
        *PPO,
        "strategy.updates=400",
        cwd=tmp_path,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    complete: list[float] = []
    expected = []
    jobs = jobs_of(sweep_folder(tmp_path))
    for job in jobs:
        (rate,) = [
            float(each.partition("=")[2])
            for each in job["overrides"]
            if each.startswith("strategy.learning_rate=")
        ]
        below = bool(complete) and rate < statistics.median(complete)
        expected.append("pruned" if below else "done")
        if not below:
            complete.append(rate)
    assert [job["status"] for job in jobs] == expected
    assert "pruned" in expected, "five rates that only rise"
    assert f"{expected.count('done')} of 5 jobs done, {expected.count('pruned')} pruned" in (
        done.stdout
    )
