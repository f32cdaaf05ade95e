"""A job that is to be run once more, and one whose process died."""

from pathlib import Path

from journeyman.sweeps.job import can_go_on
from journeyman.sweeps.record import (
    JOB_FILE,
    STOP_FILE,
    JobOutcome,
    JobRecord,
    JobStatus,
)

ATTEMPTS = "attempts"
"""Folder of a sweep for the run folders of jobs that were begun anew."""


def renewed(job: JobRecord, sweep_dir: Path) -> JobRecord:
    """Returns a job as it is to be run; one that is over as it is.

    What was stopped goes on from its last checkpoint. What failed begins anew, and what it left
    is put aside in ``attempts/``.
    """
    if job.status.over:
        return job
    left = sweep_dir / job.folder
    if job.status in (JobStatus.STOPPED, JobStatus.RUNNING) and can_go_on(left):
        (left / STOP_FILE).unlink(missing_ok=True)
    elif left.exists():
        attempts = sweep_dir / ATTEMPTS
        attempts.mkdir(exist_ok=True)
        number = 1 + len(list(attempts.glob(f"{job.folder}-*")))
        left.rename(attempts / f"{job.folder}-{number}")
    return job.anew()


def lose(job: JobRecord, sweep_dir: Path, reason: str, *, fail_fast: bool) -> None:
    """Notes of a job whose process died that it failed, as it would have done itself."""
    run_dir = sweep_dir / job.folder
    run_dir.mkdir(exist_ok=True)
    told = JobOutcome.read(run_dir) or JobOutcome.failed(reason)
    failed = told.model_copy(update={"status": JobStatus.FAILED, "error": reason})
    failed.write(run_dir / JOB_FILE)
    if fail_fast:
        (sweep_dir / STOP_FILE).write_text(f"fail_fast: job {job.folder} failed\n")
