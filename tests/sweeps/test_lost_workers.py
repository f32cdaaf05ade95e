"""A launcher whose workers die: what is launched again, and which job is to blame."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from journeyman.run_folder import note_status
from journeyman.sweeps.lost_workers import each_by_itself, launch_all
from journeyman.sweeps.record import JOB_FILE, STOP_FILE, JobOutcome, JobRecord, JobStatus

BROKEN = RuntimeError("a worker was\nterminated")


@pytest.fixture(scope="module")
def nobody() -> int:
    """The id of a process that is gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


class Pool:
    """Workers that all die when a job is at work that no process survives, as joblib's do.

    Attributes:
        batches: the numbers of the jobs of every launch.
        resumed: of the jobs that were begun and went on.
    """

    def __init__(self, sweep_dir: Path, deadly: set[int], *, width: int, gone: int) -> None:
        self.sweep_dir, self.deadly, self.width, self.gone = sweep_dir, deadly, width, gone
        self.batches: list[list[int]] = []
        self.resumed: set[int] = set()

    def launch(self, jobs: Sequence[JobRecord]) -> dict[int, str]:
        self.batches.append([job.number for job in jobs])
        for first in range(0, len(jobs), self.width):
            at_once = jobs[first : first + self.width]
            dies = any(job.number in self.deadly for job in at_once)
            for job in at_once:
                self.write(job, JobStatus.RUNNING if dies else JobStatus.DONE)
            if dies:
                raise BROKEN
        return {}

    def write(self, job: JobRecord, status: JobStatus) -> None:
        run_dir = self.sweep_dir / job.folder
        if (run_dir / "config.yaml").is_file():
            self.resumed.add(job.number)
        run_dir.mkdir(exist_ok=True)
        (run_dir / "config.yaml").touch()
        note_status(run_dir, "RUNNING")
        outcome = JobOutcome.begun().model_copy(update={"status": status, "pid": self.gone})
        outcome.write(run_dir / JOB_FILE)


def jobs(count: int) -> list[JobRecord]:
    return [JobRecord.planned(number, [f"seed={number}"]) for number in range(count)]


def outcomes(sweep_dir: Path, count: int) -> list[JobStatus | None]:
    told = [JobOutcome.read(sweep_dir / str(number)) for number in range(count)]
    return [None if each is None else each.status for each in told]


def test_the_job_that_no_process_survives_is_found(tmp_path: Path, nobody: int) -> None:
    pool = Pool(tmp_path, {1}, width=4, gone=nobody)
    launch_all(jobs(6), tmp_path, pool.launch, fail_fast=False)
    expected = [JobStatus.DONE] * 6
    expected[1] = JobStatus.FAILED
    assert outcomes(tmp_path, 6) == expected
    assert pool.batches == [[0, 1, 2, 3, 4, 5], [4, 5], [0, 1], [0], [1], [2, 3]]
    assert pool.resumed == {0, 1, 2, 3}, "what was begun goes on"
    told = JobOutcome.read(tmp_path / "1")
    assert told is not None
    assert told.error == "its process died: a worker was terminated"


def test_several_of_them(tmp_path: Path, nobody: int) -> None:
    pool = Pool(tmp_path, {0, 2, 5}, width=2, gone=nobody)
    launch_all(jobs(6), tmp_path, pool.launch, fail_fast=False)
    failed = [n for n, status in enumerate(outcomes(tmp_path, 6)) if status is JobStatus.FAILED]
    assert failed == [0, 2, 5]
    assert outcomes(tmp_path, 6).count(JobStatus.DONE) == 3


def test_with_fail_fast_nothing_is_launched_after_it(tmp_path: Path, nobody: int) -> None:
    pool = Pool(tmp_path, {0}, width=1, gone=nobody)
    launch_all(jobs(3), tmp_path, pool.launch, fail_fast=True)
    assert outcomes(tmp_path, 3) == [JobStatus.FAILED, None, None]
    assert (tmp_path / STOP_FILE).read_text() == "fail_fast: job 0 failed\n"


def test_a_launcher_that_begins_nothing_is_not_asked_again(tmp_path: Path) -> None:
    def launch(_: Sequence[JobRecord]) -> dict[int, str]:
        raise BROKEN

    with pytest.raises(RuntimeError, match="terminated"):
        launch_all(jobs(2), tmp_path, launch, fail_fast=False)


def test_a_sweep_that_was_asked_to_stop_is_not_launched_again(tmp_path: Path, nobody: int) -> None:
    pool = Pool(tmp_path, {0}, width=2, gone=nobody)
    (tmp_path / STOP_FILE).write_text("stopped by signal 2\n")
    with pytest.raises(RuntimeError, match="terminated"):
        launch_all(jobs(2), tmp_path, pool.launch, fail_fast=False)
    assert len(pool.batches) == 1


def test_jobs_at_work_are_not_begun_a_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("journeyman.sweeps.lost_workers._GONE_SECONDS", 0.2)
    pool = Pool(tmp_path, {0}, width=2, gone=os.getpid())
    with pytest.raises(RuntimeError, match="terminated"):
        launch_all(jobs(2), tmp_path, pool.launch, fail_fast=False)
    assert len(pool.batches) == 1


def test_what_a_launcher_tells_of_dead_processes_is_noted(tmp_path: Path) -> None:
    launch_all(jobs(2), tmp_path, lambda _: {1: "its process died: -9"}, fail_fast=False)
    assert outcomes(tmp_path, 2) == [None, JobStatus.FAILED]


def test_every_job_of_submitit_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    core = pytest.importorskip("submitit.core.core")
    utils = pytest.importorskip("submitit.core.utils")

    class LocalLauncher:
        pass

    def results(job: object) -> list[str]:
        if job == "lost":
            raise utils.UncompletedJobError("Job 3 was killed\nfor its memory")
        return ["done"]

    monkeypatch.setattr(core.Job, "results", results)
    with each_by_itself(LocalLauncher()) as lost:
        found = [core.Job.results(each) for each in ("whole", "lost", "whole")]
    assert found == [["done"], [None], ["done"]]
    assert lost == {1: "its process died: Job 3 was killed for its memory"}
    assert core.Job.results is results
