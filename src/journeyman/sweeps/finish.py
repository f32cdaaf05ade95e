"""The end of a sweep: the account of every job, the report, the parent run closed."""

import sys
from collections.abc import Sequence
from pathlib import Path

from journeyman.checkpoint import write_atomically
from journeyman.sweeps.collect import jobs_in, title_of
from journeyman.sweeps.record import SWEEP_FILE, JobRecord, JobStatus, SweepRecord
from journeyman.tracking.history import DURATION_TAG, REASON_TAG, STATUS_TAG, JobHistory
from journeyman.tracking.sweep import SweepRun

REPORT_FILE = "report.html"

_LOUD = {JobStatus.FAILED: "failed", JobStatus.STOPPED: "stopped", JobStatus.PENDING: "not run"}


def finish_sweep(sweep_dir: Path, record: SweepRecord, parent: SweepRun | None) -> None:
    """Writes the record, says what went wrong, and closes the parent run with the truth.

    A stop file stays: jobs that still wait in a cluster's queue are not to begin when the sweep
    is over. A sweep that is gone on with removes it.
    """
    record.save(sweep_dir)
    say(record, sweep_dir)
    page = sweep_dir / REPORT_FILE
    try:
        if any(job.status is not JobStatus.PENDING for job in record.jobs):
            write_report(page, title_of(record), record.command, jobs_in(sweep_dir, record))
            print(f"report: {page}")
    finally:
        # Whatever becomes of the page, no run is left open.
        if parent is not None:
            parent.close_children()
            parent.tell_jobs({job.folder: _tags(job) for job in record.jobs})
            for path in (sweep_dir / SWEEP_FILE, page):
                if path.is_file():
                    parent.artifact(path)
            parent.finish(record.status, _figures(record))


def write_report(path: Path, title: str, command: str | None, jobs: Sequence[JobHistory]) -> Path:
    """Writes ``report.html`` and returns its path."""
    # Here, not above: SciPy and matplotlib are heavy, and every sweep begins by importing this.
    from journeyman.reporting.report import render_report

    write_atomically(path, render_report(title, command, jobs).encode())
    return path


def say(record: SweepRecord, sweep_dir: Path) -> None:
    """Prints how the jobs ended, each one that is not done with the reason, on stderr."""
    for job in record.jobs:
        if word := _LOUD.get(job.status):
            reason = f": {job.error}" if job.error else ""
            print(f"journeyman: {record.named(job)} {word}{reason}", file=sys.stderr)
    done = len(record.those(JobStatus.DONE))
    pruned = len(record.those(JobStatus.PRUNED))
    counted = f"{done} of {len(record.jobs)} jobs done"
    print(counted + (f", {pruned} pruned" if pruned else ""))
    if any(not job.status.over for job in record.jobs):
        print(f"what is missing: journeyman resume {sweep_dir}")
    print(f"sweep folder: {sweep_dir}")


def _tags(job: JobRecord) -> dict[str, str]:
    """Returns what a job's run is told of its end."""
    # An empty reason takes back what an earlier attempt was told.
    tags = {STATUS_TAG: job.status.value, REASON_TAG: job.error or "", "command": job.command}
    if job.duration_sec is not None:
        tags[DURATION_TAG] = repr(job.duration_sec)
    return tags


def _figures(record: SweepRecord) -> dict[str, float]:
    """Returns the parent run's own figures."""
    figures = {
        "sweep/jobs": float(len(record.jobs)),
        "sweep/done": float(len(record.those(JobStatus.DONE))),
        "sweep/failed": float(len(record.those(JobStatus.FAILED))),
        "sweep/pruned": float(len(record.those(JobStatus.PRUNED))),
    }
    reached = [job.objective for job in record.jobs if job.objective is not None]
    return figures | ({"sweep/best_return_mean": max(reached)} if reached else {})
