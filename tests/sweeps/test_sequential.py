"""A sweep one job after the other: its account, its parent run, and going on with it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support.commands import TINY, journeyman, mlflow_client
from support.sweeps import sweep_folder

pytestmark = pytest.mark.slow

SMALL = (*TINY, "promotion=off")
JOBS = ("--multirun", "launch=local", "strategy.ppo.value_coef=1e38,0.5", *SMALL)
"""A value loss weighed 1e38 overflows float32 in the first job; the second is whole."""


def statuses(folder: Path) -> list[str]:
    return [job["status"] for job in json.loads((folder / "sweep.json").read_text())["jobs"]]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracked sweep of two jobs, the first of which fails; returns the working folder."""
    work = tmp_path_factory.mktemp("swept")
    done = journeyman(*JOBS, cwd=work)
    assert done.returncode == 1, done.stderr
    (work / "said.txt").write_text(done.stderr)
    return work


def test_the_failed_job_is_named_with_its_reason(swept: Path) -> None:
    said = (swept / "said.txt").read_text()
    assert "journeyman: job 0 (strategy.ppo.value_coef=1e+38) failed: update 1: " in said
    assert "Traceback" not in said
    assert statuses(sweep_folder(swept)) == ["failed", "done"]


def test_jobs_lie_under_the_sweeps_run(swept: Path) -> None:
    client = mlflow_client(swept / "outputs")
    experiment = client.get_experiment_by_name("journeyman")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.data.tags["kind"] == "sweep"]
    jobs = {run.data.tags["sweep.job"]: run for run in runs if run.data.tags["kind"] == "job"}
    assert {run.data.tags["mlflow.parentRunId"] for run in jobs.values()} == {parent.info.run_id}
    assert (jobs["0"].info.status, jobs["1"].info.status) == ("FAILED", "FINISHED")
    assert parent.info.status == "FAILED"
    assert parent.info.run_name == "sweep strategy.ppo.value_coef=1e38,0.5"
    assert parent.data.metrics["sweep/failed"] == 1.0
    assert parent.data.metrics["sweep/best_return_mean"] == pytest.approx(
        jobs["1"].data.metrics["eval/return_mean"]
    )
    assert "sweep.json" in {item.path for item in client.list_artifacts(parent.info.run_id)}


def test_the_report_is_made_again_from_mlflow_alone(swept: Path, tmp_path: Path) -> None:
    """Byte for byte the same page, with no run folder left to look at."""
    folder = sweep_folder(swept)
    page = (folder / "report.html").read_bytes()
    assert b"update 1: grad_norm is inf" in page
    assert b"src=" not in page
    assert b"href=" not in page.replace(b'xlink:href="#', b"")
    store = tmp_path / "outputs"
    store.mkdir()
    # Copied through SQLite: closing the file would take this process's locks off it.
    with (
        closing(sqlite3.connect(swept / "outputs" / "mlflow.db")) as original,
        closing(sqlite3.connect(store / "mlflow.db")) as copy,
    ):
        original.backup(copy)
    client = mlflow_client(store)
    experiment = client.get_experiment_by_name("journeyman")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.kind = 'sweep'")
    assert "report.html" in {item.path for item in client.list_artifacts(parent.info.run_id)}
    done = journeyman("report", parent.info.run_id, "--to", "again.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again.html").read_bytes() == page
    done = journeyman("report", "journeyman", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "report.html").read_text()
    assert "strategy.ppo.value_coef=0.5" in text
    assert "<h1>experiment journeyman</h1>" in text


def test_a_report_of_nothing_is_refused(swept: Path) -> None:
    done = journeyman("report", "nonesuch", cwd=swept)
    assert done.returncode == 2
    assert "nonesuch: neither a folder, nor a run, nor an experiment of sqlite" in done.stderr


def test_resume_runs_only_what_failed(swept: Path) -> None:
    folder = sweep_folder(swept)
    whole = (folder / "1" / "results.json").stat().st_mtime_ns
    done = journeyman("resume", str(folder), cwd=swept.parent)
    assert done.returncode == 1, "it fails again"
    assert "job 0 (strategy.ppo.value_coef=1e+38) failed" in done.stderr
    assert statuses(folder) == ["failed", "done"]
    assert (folder / "1" / "results.json").stat().st_mtime_ns == whole
    assert (folder / "attempts" / "0-1" / "job.json").is_file()
    client = mlflow_client(swept / "outputs")
    experiment = client.get_experiment_by_name("journeyman")
    kinds = [run.data.tags["kind"] for run in client.search_runs([experiment.experiment_id])]
    assert kinds.count("sweep") == 1, "the parent run is gone on with"
    assert kinds.count("job") == 3


def test_a_resumed_sweep_keeps_its_jobs(swept: Path) -> None:
    done = journeyman("resume", str(sweep_folder(swept)), "seed=3", cwd=swept)
    assert done.returncode == 2
    assert "seed=3: a resumed sweep keeps its jobs" in done.stderr


def test_with_fail_fast_nothing_follows_the_first_failure(tmp_path: Path) -> None:
    done = journeyman(*JOBS, "tracking=none", "fail_fast=true", cwd=tmp_path)
    assert done.returncode == 1
    folder = sweep_folder(tmp_path)
    assert statuses(folder) == ["failed", "pending"]
    assert "job 1 (strategy.ppo.value_coef=0.5) not run" in done.stderr
    assert not (folder / "1" / "metrics.jsonl").exists()
