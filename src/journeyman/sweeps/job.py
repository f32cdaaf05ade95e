"""A job of a sweep, seen from inside: its own account of itself, and when it is asked to stop."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

from journeyman.context import RunStopped
from journeyman.errors import TrainingError, UserError
from journeyman.run_folder import FINISHED, status_of
from journeyman.sweeps.record import (
    JOB_FILE,
    STOP_FILE,
    SWEEP_FILE,
    JobOutcome,
    JobStatus,
    SweepRecord,
    this_process,
)

ERROR_FILE = "error.txt"
DRIVER_VARIABLE = "JOURNEYMAN_SWEEP_DRIVER"
"""Process id of a driver whose jobs run in it or in children of its own, and end with it."""
POLL_SECONDS = 0.5
GONE = "the sweep's driver is gone"
PRUNED = "pruned"
"""How the text of a stop file begins that ends a trial of a search early."""


class SweepJob:
    """One job: what it has come to, and whether the sweep wants it to go on.

    Attributes:
        objective: what the job reports of itself when it is done.
        begun_before: its folder holds a run that was ended too early; the job goes on with it.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.begun_before = can_go_on(run_dir)
        self.objective: float | None = None
        self._looked = 0.0
        self._reason: str | None = None

    def stop_reason(self) -> str | None:
        """Returns why the job is to stop, or None; looks at the disk twice a second at most."""
        now = time.monotonic()
        if self._reason is None and now - self._looked >= POLL_SECONDS:
            self._looked = now
            self._reason = self._asked() or (GONE if self.orphaned else None)
        return self._reason

    def asked_to_stop(self) -> int | None:
        """Returns SIGTERM's number where the sweep wants this job to stop, else None."""
        return None if self.stop_reason() is None else int(signal.SIGTERM)

    def _asked(self) -> str | None:
        for path in (self.run_dir / STOP_FILE, self.run_dir.parent / STOP_FILE):
            if path.is_file():
                return path.read_text().strip() or "stopped"
        return None

    @property
    def orphaned(self) -> bool:
        """Whether the driver this process is to end with has ended."""
        driver = os.environ.get(DRIVER_VARIABLE)
        return driver is not None and int(driver) not in (os.getpid(), os.getppid())


def can_go_on(run_dir: Path) -> bool:
    """Says whether a folder holds a run that was ended too early."""
    return (run_dir / "config.yaml").is_file() and status_of(run_dir) not in (None, FINISHED)


@contextmanager
def sweep_job(run_dir: Path, *, fail_fast: bool, aloud: bool = False) -> Iterator[SweepJob]:
    """Keeps ``job.json`` true while a job works, and lets a failure be known where it happens.

    Args:
        run_dir: folder of the run, in the sweep's.
        fail_fast: a failure asks all other jobs to stop.
        aloud: print a line when it is over, for those who see nothing else of it.

    Raises:
        TrainingError: whatever ended the job, in words that any launcher can carry to the
            driver; the traceback is in the run folder's ``error.txt``.
        RunStopped: a signal to the driver, in which this job runs, ended the work of both.
    """
    job = SweepJob(run_dir)
    reason = job.stop_reason()
    if reason is not None:
        raise TrainingError(f"not begun: {reason}")
    earlier = JobOutcome.read(run_dir) if job.begun_before else None
    began = time.monotonic() - (0.0 if earlier is None else earlier.duration_sec or 0.0)
    outcome = JobOutcome.begun()
    outcome.write(run_dir / JOB_FILE)
    status = JobStatus.STOPPED
    error: str | None = "the process was ended"
    try:
        with _where_the_sweep_was_started(run_dir.parent):
            yield job
        status, error = JobStatus.DONE, None
    except RunStopped as stop:
        reason = job.stop_reason()
        pruned = reason is not None and reason.startswith(PRUNED)
        status, error = (JobStatus.PRUNED if pruned else JobStatus.STOPPED), reason or str(stop)
        if reason is None and _in_the_driver(run_dir.parent):
            raise
        # From another process it would look to a launcher like the end of all its workers.
        raise TrainingError(error) from None
    except Exception as failure:
        status, error = JobStatus.FAILED, _words(failure)
        (run_dir / ERROR_FILE).write_text(traceback.format_exc())
        if not isinstance(failure, TrainingError | UserError):
            traceback.print_exc(file=sys.stderr)
        if fail_fast:
            (run_dir.parent / STOP_FILE).write_text(f"fail_fast: job {run_dir.name} failed\n")
        raise TrainingError(error) from None
    finally:
        seconds = time.monotonic() - began
        outcome.model_copy(
            update={
                "status": status,
                "error": error,
                "objective": job.objective if status is JobStatus.DONE else None,
                "duration_sec": seconds,
            }
        ).write(run_dir / JOB_FILE)
        if aloud:
            reached = "" if job.objective is None else f", return {job.objective:.3f}"
            print(f"job {run_dir.name}: {status.value} in {seconds:.1f} s{reached}", flush=True)
        if job.orphaned:
            # A worker of joblib would wait five minutes for a driver that is no more. The run is
            # closed and every file written; nobody is left to hear how it went.
            os._exit(1)


def _in_the_driver(sweep_dir: Path) -> bool:
    """Says whether this process is the one that the sweep was started from."""
    if not (sweep_dir / SWEEP_FILE).is_file():
        return True
    return SweepRecord.read(sweep_dir).driver == this_process()


@contextmanager
def _where_the_sweep_was_started(sweep_dir: Path) -> Iterator[None]:
    """Works in the driver's folder: a cluster's workers stand elsewhere, and paths are relative."""
    if (sweep_dir / SWEEP_FILE).is_file():
        with chdir(SweepRecord.read(sweep_dir).working_folder):
            yield
    else:
        yield


def _words(failure: Exception) -> str:
    if isinstance(failure, TrainingError | UserError):
        return "; ".join(str(failure).splitlines())
    return f"{type(failure).__name__}: {' '.join(str(failure).split())}"[:2000]
