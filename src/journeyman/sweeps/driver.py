"""The process that a sweep is started from: it plans, hands out, and gives the account at the end.

Hydra calls no callback at the end of a sweep in which a job failed, nor after Ctrl-C. So the end
is here, round Hydra's main, and comes in every case.
"""

import contextlib
import importlib.util
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from journeyman.config_folder import parse_command_line, quoted
from journeyman.context import RunStopped
from journeyman.errors import UserError
from journeyman.services.capture_cache import CaptureCache
from journeyman.settings.tracking import MlflowSettings
from journeyman.sweeps.collect import title_of
from journeyman.sweeps.finish import finish_sweep
from journeyman.sweeps.job import DRIVER_VARIABLE
from journeyman.sweeps.planning import SweepPlan
from journeyman.sweeps.record import (
    STOP_FILE,
    JobOutcome,
    JobRecord,
    JobStatus,
    SweepRecord,
)
from journeyman.tracking.address import TRACKING_URI_VARIABLE
from journeyman.tracking.store_process import LOCK_FILE
from journeyman.tracking.sweep import SweepRun
from journeyman.tracking.tags import PARENT_RUN_VARIABLE

GRACE_SECONDS = 20.0
"""How long running jobs may take to reach a safe point once a signal has come."""

Launch = Callable[[list[str]], None]
"""Runs Hydra's main with a command line."""


def run_sweep(plan: SweepPlan, launch: Launch, *, record: SweepRecord | None = None) -> int:
    """Runs a sweep's jobs, those that are pending, and accounts for all of them.

    Args:
        plan: what to run.
        launch: Hydra's main.
        record: of a sweep that is resumed; None: a new one.

    Returns:
        0 if every job is done or pruned; 1 if one failed or was left out; 128 + n if signal n
        ended it.

    Raises:
        UserError: the tracking store cannot be opened; no job has begun then.
    """
    sweep_dir = plan.sweep_dir
    if record is None:
        jobs = () if plan.kind == "optuna" else plan.jobs
        planned = [JobRecord.planned(n, job, plan.options) for n, job in enumerate(jobs)]
        record = SweepRecord.begun(plan.kind, plan.argv, planned)
    record = record.taken_over()
    with _nothing_left(sweep_dir):
        parent = _parent_run(plan, record)
    (sweep_dir / STOP_FILE).unlink(missing_ok=True)
    record.save(sweep_dir)
    stopped: int | None = None
    trouble: Exception | None = None
    try:
        with _stopping_jobs(sweep_dir) as signals, _interrupts(reach_workers=not plan.parallel):
            try:
                launch(_hydra_command_line(plan, parent))
            except RunStopped as stop:
                stopped = stop.signal_number
            except KeyboardInterrupt:
                stopped = int(signal.SIGINT)
            # A launcher may break with any error; the jobs' own accounts say what was done.
            except Exception as error:
                traceback.print_exc()
                trouble = error
            stopped = signals.received if stopped is None else stopped
            if stopped is not None or trouble is not None:
                _await_running(sweep_dir, GRACE_SECONDS if plan.parallel else 0.0)
    finally:
        ended = SweepRecord.read(sweep_dir).told(sweep_dir)
        reason = _why_not_begun(sweep_dir, trouble)
        ended = ended.with_jobs(_accounted(job, reason) for job in ended.jobs)
        ended = ended.with_status(_status(ended, stopped, trouble))
        finish_sweep(sweep_dir, ended, parent)
        CaptureCache(plan.settings[0].outputs_path, str(sweep_dir)).drop_old()
    if stopped is not None:
        return 128 + stopped
    return 0 if ended.status == "done" else 1


@contextmanager
def _nothing_left(folder: Path) -> Iterator[None]:
    """Makes a folder, and takes it away again if it is the user's mistake that it is not used.

    Raises:
        UserError: it cannot be made.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"hydra.sweep.dir: {folder} cannot be made ({error.strerror})") from error
    try:
        yield
    except UserError:
        with contextlib.suppress(OSError):  # something is in it that is not ours
            for each in made:
                (each / LOCK_FILE).unlink(missing_ok=True)
                each.rmdir()
        raise


def _parent_run(plan: SweepPlan, record: SweepRecord) -> SweepRun | None:
    settings = plan.settings[0]
    if not isinstance(settings.tracking, MlflowSettings):
        return None
    return SweepRun.open(
        settings.tracking,
        outputs=settings.outputs_path,
        sweep_dir=plan.sweep_dir,
        name=title_of(record),
        tags={"command": record.command, "run_dir": str(plan.sweep_dir), "sweep": plan.kind},
    )


def _hydra_command_line(plan: SweepPlan, parent: SweepRun | None) -> list[str]:
    """Returns the command line with the sweep's folder and what its jobs must be told.

    ``hydra.job.env_set`` travels with the config to wherever a launcher runs a job, other than
    this process's environment.
    """
    told = [f"hydra.sweep.dir={quoted(str(plan.sweep_dir))}"]
    if parent is not None:
        told.append(f"+hydra.job.env_set.{PARENT_RUN_VARIABLE}='{parent.run_id}'")
        if parent.uri_for_jobs is not None:
            told.append(f"+hydra.job.env_set.{TRACKING_URI_VARIABLE}={quoted(parent.uri_for_jobs)}")
    if plan.dies_with_driver:
        told.append(f"+hydra.job.env_set.{DRIVER_VARIABLE}='{os.getpid()}'")
    words = [word for word in plan.argv if not word.startswith("hydra.sweep.dir=")]
    # Hydra wants all overrides in one place.
    arguments = parse_command_line(words)
    given = [] if arguments is None else arguments.overrides
    last = max((at for at, word in enumerate(words) if word in given), default=len(words) - 1)
    return [*words[: last + 1], *told, *words[last + 1 :]]


class _Signals:
    def __init__(self) -> None:
        self.received: int | None = None


@contextmanager
def _stopping_jobs(sweep_dir: Path) -> Iterator[_Signals]:
    """Has SIGINT and SIGTERM ask all jobs to stop at their next safe point; then it is over.

    The second signal, or the end of the grace, interrupts the launcher, which ends its workers.
    A job in this very process takes the signal itself while it runs.
    """
    signals = _Signals()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if signals.received is not None:
            raise RunStopped(number)
        signals.received = number
        (sweep_dir / STOP_FILE).write_text(f"stopped by signal {number}\n")
        timer = threading.Timer(GRACE_SECONDS, os.kill, (os.getpid(), number))
        timer.daemon = True
        timers.append(timer)
        timer.start()

    timers: list[threading.Timer] = []
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (int(signal.SIGINT), int(signal.SIGTERM)):
            before[number] = signal.signal(number, on_signal)
    try:
        yield signals
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _interrupts(*, reach_workers: bool) -> Iterator[None]:
    """Keeps a terminal's Ctrl-C, which goes to every process, from those that a launcher starts.

    A worker that is interrupted while it starts or waits takes all others with it; the stop file
    tells each job in its own time. Processes inherit what the thread that starts them blocks;
    another thread of the driver, which blocks nothing, receives its own interrupts meanwhile.
    """
    if reach_workers or threading.current_thread() is not threading.main_thread():
        yield
        return
    # Begun later, they would take the block away again.
    resource_tracker.ensure_running()
    if importlib.util.find_spec("joblib") is not None:
        from joblib.externals.loky.backend import resource_tracker as tracker_of_workers

        tracker_of_workers.ensure_running()
    over = threading.Event()
    receiver = threading.Thread(target=over.wait, daemon=True)
    receiver.start()
    blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_before)
        over.set()
        receiver.join()


def _await_running(sweep_dir: Path, seconds: float) -> None:
    """Waits for jobs that are still running, which were asked to stop."""
    if not (sweep_dir / STOP_FILE).exists():
        (sweep_dir / STOP_FILE).write_text("the sweep has ended\n")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        jobs = SweepRecord.read(sweep_dir).jobs
        told = [JobOutcome.read(sweep_dir / job.folder) for job in jobs]
        if not any(each and each.status is JobStatus.RUNNING and each.may_live for each in told):
            return
        time.sleep(0.2)


def _why_not_begun(sweep_dir: Path, trouble: Exception | None) -> str | None:
    if trouble is not None:
        return f"{type(trouble).__name__}: {trouble}"
    stop = sweep_dir / STOP_FILE
    return stop.read_text().strip() if stop.is_file() else None


def _accounted(job: JobRecord, why_not_begun: str | None) -> JobRecord:
    """Returns a job with a word on its end where it left none itself."""
    if job.status is JobStatus.RUNNING:
        words = "its process ended without a word"
        return job.model_copy(update={"status": JobStatus.STOPPED, "error": words})
    if job.status is JobStatus.PENDING:
        return job.model_copy(update={"error": why_not_begun})
    return job


def _status(
    record: SweepRecord, stopped: int | None, trouble: Exception | None
) -> Literal["done", "failed", "stopped"]:
    if stopped is not None:
        return "stopped"
    whole = bool(record.jobs) and all(job.status.over for job in record.jobs)
    return "done" if whole and trouble is None else "failed"
