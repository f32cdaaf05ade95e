"""Launchers and the death of a job's process, as when its machine has no memory left.

joblib takes all its workers down with the one that died. Hydra's launchers for Slurm and Ray ask
for one job's return after the other and raise what became of the first that died: its siblings,
which are still at work, would be left behind.
"""

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from journeyman.sweeps.attempts import lose, renewed
from journeyman.sweeps.record import STOP_FILE, JobOutcome, JobRecord, JobStatus

_GONE_SECONDS = 10.0
"""How long a launcher that gives up has to end the processes it leaves."""
_MOST_WORDS = 500
_logger = logging.getLogger(__name__)


def launch_all(
    jobs: Sequence[JobRecord],
    sweep_dir: Path,
    launch: Callable[[Sequence[JobRecord]], dict[int, str]],
    *,
    fail_fast: bool,
) -> None:
    """Launches jobs; a process that dies ends its own job only.

    Where a launcher ends with one of several jobs at work, each half of these goes on by itself
    from its last checkpoints, and so forth, until the job is alone that no process survives.

    Args:
        jobs: pending ones, at least one.
        sweep_dir: absolute folder of the sweep.
        launch: launches jobs, waits for them, and returns the positions of those whose process
            died, with the reason, as far as the launcher tells.
        fail_fast: a failure asks all other jobs to stop.

    Raises:
        Exception: the launcher cannot launch, or ended with the sweep.
    """
    try:
        for position, reason in launch(jobs).items():
            lose(jobs[position], sweep_dir, reason, fail_fast=fail_fast)
    except Exception as error:
        told = [job.told(sweep_dir) for job in jobs]
        cut = _cut_short(told, sweep_dir)
        if not cut or (sweep_dir / STOP_FILE).exists():
            raise
        names = ", ".join(str(job.number) for job in cut)
        _logger.warning("a launcher gave up with job %s at work: %s", names, words_on(error))
        if len(cut) == 1:
            lose(cut[0], sweep_dir, words_on(error), fail_fast=fail_fast)
            cut = []
        half = (len(cut) + 1) // 2
        pending = [job for job in told if job.status is JobStatus.PENDING]
        for part in (pending, cut[:half], cut[half:]):
            if part and not (sweep_dir / STOP_FILE).exists():
                again = [renewed(job, sweep_dir) for job in part]
                launch_all(again, sweep_dir, launch, fail_fast=fail_fast)


def _cut_short(jobs: Sequence[JobRecord], sweep_dir: Path) -> list[JobRecord]:
    """Returns those that were at work when a launcher gave up, once their processes are gone."""
    running = [job for job in jobs if job.status is JobStatus.RUNNING]
    deadline = time.monotonic() + _GONE_SECONDS
    for job in running:
        while (told := JobOutcome.read(sweep_dir / job.folder)) is not None and told.may_live:
            if time.monotonic() > deadline:
                return []  # what is at work still must not be begun again
            time.sleep(0.1)
    return running


@contextmanager
def each_by_itself(launcher: object) -> Iterator[dict[int, str]]:
    """Lets a launcher wait for every job, whatever became of those before it.

    Args:
        launcher: any; those that need no help get none.

    Yields:
        position in the batch -> how the job's process died, filled in by the launcher.
    """
    lost: dict[int, str] = {}
    name = type(launcher).__name__
    if name == "RayLauncher":
        import ray

        with _replaced(ray, "get", _patient(ray.get, ray.exceptions.RayError, lost, None)):
            yield lost
    elif name in ("SlurmLauncher", "LocalLauncher"):
        from submitit.core.core import Job
        from submitit.core.utils import UncompletedJobError

        with _replaced(Job, "results", _patient(Job.results, UncompletedJobError, lost, [None])):
            yield lost
    else:
        yield lost


def words_on(error: Exception) -> str:
    """Returns how a job's process died, in one line."""
    said = " ".join(str(error).split()) or type(error).__name__
    return f"its process died: {said}"[:_MOST_WORDS]


def _patient(
    wait: Callable[..., Any], errors: type[Exception], lost: dict[int, str], instead: Any
) -> Callable[..., Any]:
    """Returns a function that is called once a job, in their order, and raises none of errors."""
    positions = itertools.count()

    def answer(*arguments: Any, **options: Any) -> Any:
        position = next(positions)
        try:
            return wait(*arguments, **options)
        except errors as error:
            lost[position] = words_on(error)
            return instead

    return answer


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
