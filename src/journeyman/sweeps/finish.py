"""The end of a sweep: the account of every job, the report, the parent run closed."""

import sys
from pathlib import Path

from journeyman.sweeps.record import STOP_FILE, SWEEP_FILE, JobStatus, SweepRecord
from journeyman.tracking.sweep import SweepRun

_LOUD = {JobStatus.FAILED: "failed", JobStatus.STOPPED: "stopped", JobStatus.PENDING: "not run"}


def finish_sweep(sweep_dir: Path, record: SweepRecord, parent: SweepRun | None) -> None:
    """Writes the record, says what went wrong, and closes the parent run with the truth."""
    (sweep_dir / STOP_FILE).unlink(missing_ok=True)
    record.save(sweep_dir)
    say(record, sweep_dir)
    if parent is not None:
        parent.close_children()
        parent.artifact(sweep_dir / SWEEP_FILE)
        parent.finish(record.status, _figures(record))


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
