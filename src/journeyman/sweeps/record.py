"""What a sweep's folder says about itself: ``sweep.json``, and a ``job.json`` in each run folder.

The driver alone writes ``sweep.json``; each job writes its own ``job.json``, wherever it runs.
That is how they speak to each other, whatever launches them: no socket, no shared memory.
"""

import os
import shlex
import socket
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from journeyman.checkpoint import write_atomically
from journeyman.config_folder import parse_command_line
from journeyman.errors import UserError

SWEEP_FILE = "sweep.json"
JOB_FILE = "job.json"
STOP_FILE = "stop"
"""In a sweep's folder it stops all jobs, in a run folder that one; its text says why."""

_NOT_THE_EXPERIMENT = ("launch", "sweep", "fail_fast")


class JobStatus(StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    PRUNED = "pruned"
    STOPPED = "stopped"

    @property
    def over(self) -> bool:
        """True where nothing is left to be done: a resumed sweep passes such jobs by."""
        return self in (JobStatus.DONE, JobStatus.PRUNED)


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def write(self, path: Path) -> None:
        """Writes the record atomically."""
        write_atomically(path, f"{self.model_dump_json(indent=2)}\n".encode())


class JobOutcome(_Record):
    """The content of ``job.json``, written by the job itself."""

    status: JobStatus
    pid: int
    host: str
    started: str
    """ISO time."""
    duration_sec: float | None = None
    error: str | None = None
    objective: float | None = None
    """Mean return of the final policy; None where the strategy has none."""

    @classmethod
    def begun(cls) -> Self:
        """Returns the account of a job that this process begins."""
        return cls(
            status=JobStatus.RUNNING,
            pid=os.getpid(),
            host=socket.gethostname(),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @classmethod
    def failed(cls, error: str) -> Self:
        """Returns the account of a job that failed before it began."""
        return cls.begun().model_copy(update={"status": JobStatus.FAILED, "error": error})

    @property
    def may_live(self) -> bool:
        """Whether the job's process may still be there: known only of this machine's."""
        return self.host != socket.gethostname() or process_lives(self.pid)

    @classmethod
    def read(cls, run_dir: Path) -> Self | None:
        """Returns a job's own account, or None where it has not begun."""
        path = run_dir / JOB_FILE
        return cls.model_validate_json(path.read_text()) if path.is_file() else None


class JobRecord(_Record):
    """One job as ``sweep.json`` lists it."""

    number: int
    overrides: tuple[str, ...]
    """What its config is composed from."""
    command: str
    """What runs it alone."""
    folder: str
    """Its run folder, below the sweep's."""
    status: JobStatus = JobStatus.PENDING
    error: str | None = None
    objective: float | None = None
    duration_sec: float | None = None

    @classmethod
    def planned(cls, number: int, overrides: Sequence[str], options: Sequence[str] = ()) -> Self:
        """Returns a job that has not begun; ``options`` stand before the overrides."""
        return cls(
            number=number,
            overrides=tuple(overrides),
            command=shlex.join(["journeyman", *options, *experiment_overrides(overrides)]),
            folder=str(number),
        )

    def anew(self) -> Self:
        """Returns this job as one that has not begun."""
        return self.model_copy(
            update={
                "status": JobStatus.PENDING,
                "error": None,
                "objective": None,
                "duration_sec": None,
            }
        )

    def told(self, sweep_dir: Path) -> Self:
        """Returns this record with what the job itself says of its end."""
        outcome = JobOutcome.read(sweep_dir / self.folder)
        if outcome is None:
            return self
        return self.model_copy(
            update={
                "status": outcome.status,
                "error": outcome.error,
                "objective": outcome.objective,
                "duration_sec": outcome.duration_sec,
            }
        )


class SweepRecord(_Record):
    """The content of ``sweep.json``."""

    kind: Literal["grid", "optuna"]
    argv: tuple[str, ...]
    """The command line, without the program's name."""
    working_folder: str
    """Where it was given."""
    driver: str
    """``host:pid`` of the process that runs or ran it."""
    status: Literal["running", "done", "failed", "stopped"]
    jobs: tuple[JobRecord, ...]

    @classmethod
    def begun(
        cls, kind: Literal["grid", "optuna"], argv: Sequence[str], jobs: Iterable[JobRecord]
    ) -> Self:
        """Returns the record of a sweep that this process begins."""
        return cls(
            kind=kind,
            argv=tuple(argv),
            working_folder=str(Path.cwd()),
            driver=this_process(),
            status="running",
            jobs=tuple(jobs),
        )

    @property
    def driver_process(self) -> int | None:
        """Process id of the driver, where it is or was one of this machine."""
        host, _, pid = self.driver.rpartition(":")
        return int(pid) if host == socket.gethostname() else None

    def named(self, job: JobRecord) -> str:
        """Returns a job as messages name it: its number and what it has not in common with all."""
        every = [experiment_overrides(each.overrides) for each in self.jobs]
        return f"job {job.number} ({' '.join(varying(job.overrides, every))})"

    @property
    def command(self) -> str:
        """The command line, ready to be pasted."""
        return shlex.join(["journeyman", *self.argv])

    @classmethod
    def read(cls, sweep_dir: Path) -> Self:
        """Reads a sweep's folder.

        Raises:
            UserError: it is no sweep's folder, or its record is damaged.
        """
        path = sweep_dir / SWEEP_FILE
        try:
            return cls.model_validate_json(path.read_text())
        except FileNotFoundError:
            raise UserError(f"{sweep_dir}: not the folder of a sweep (no {SWEEP_FILE})") from None
        except ValidationError as error:
            first = error.errors()[0]["msg"]
            raise UserError(f"{path}: not a record of a sweep ({first})") from error

    def save(self, sweep_dir: Path) -> None:
        """Writes ``sweep.json``."""
        self.write(sweep_dir / SWEEP_FILE)

    def told(self, sweep_dir: Path) -> Self:
        """Returns this record with every job's own account of itself."""
        return self.with_jobs(job.told(sweep_dir) for job in self.jobs)

    def with_jobs(self, jobs: Iterable[JobRecord]) -> Self:
        """Returns this record with other jobs."""
        return self.model_copy(update={"jobs": tuple(jobs)})

    def taken_over(self) -> Self:
        """Returns this record as that of a sweep this process runs now."""
        return self.model_copy(update={"driver": this_process(), "status": "running"})

    def with_status(self, status: str) -> Self:
        """Returns this record with another status."""
        return self.model_copy(update={"status": status})

    def those(self, *statuses: JobStatus) -> list[JobRecord]:
        """Returns the jobs that stand so."""
        return [job for job in self.jobs if job.status in statuses]


def config_options(argv: Sequence[str]) -> tuple[str, ...]:
    """Returns those options of a sweep's command line that its jobs are composed with, too."""
    arguments = parse_command_line(argv)
    if arguments is None:
        return ()
    given = (("--config-dir", arguments.config_dir), ("--config-name", arguments.config_name))
    return tuple(word for option, value in given if value for word in (option, value))


def experiment_overrides(overrides: Iterable[str]) -> list[str]:
    """Returns the overrides that say what is run, not how and where a sweep runs it."""
    return [override for override in overrides if not says_how(override)]


def says_how(override: str) -> bool:
    """Says whether an override is about how and where jobs run, not about what they are."""
    key = override.partition("=")[0].lstrip("+~")
    return key in _NOT_THE_EXPERIMENT or key.startswith(("hydra.", "hydra/"))


def varying(overrides: Iterable[str], every: Sequence[Sequence[str]]) -> list[str]:
    """Returns those overrides of a job that not every job has; all of them where it is alone."""
    mine = experiment_overrides(overrides)
    shared = set.intersection(*map(set, every)) if len(every) > 1 else set()
    return [override for override in mine if override not in shared]


def this_process() -> str:
    """Returns ``host:pid`` of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def process_lives(pid: int) -> bool:
    """Says whether a process of this machine is there; one that only waits to be reaped is not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):  # it ended just now, or this system has no /proc
        return not Path("/proc/self").exists()
    return state not in ("Z", "X")
