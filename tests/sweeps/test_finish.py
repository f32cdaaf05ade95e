"""The end of a sweep: what is closed whatever happens, and what a queue is still told."""

import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from journeyman.config_folder import parse_command_line
from journeyman.errors import TrainingError
from journeyman.sweeps import finish
from journeyman.sweeps.driver import run_sweep
from journeyman.sweeps.finish import REPORT_FILE, finish_sweep
from journeyman.sweeps.job import sweep_job
from journeyman.sweeps.planning import SweepPlan, plan_sweep
from journeyman.sweeps.record import (
    JOB_FILE,
    STOP_FILE,
    JobOutcome,
    JobRecord,
    JobStatus,
    SweepRecord,
)
from journeyman.sweeps.resume import resume_sweep


class Parent:
    """Stands in for a sweep's run; remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> object:
        return lambda *_: self.calls.append(name)


def begun(work: Path) -> tuple[SweepPlan, list[str]]:
    argv = ["--multirun", "seed=0,1", "tracking=none", f"outputs={work}"]
    arguments = parse_command_line(argv)
    assert arguments is not None
    return plan_sweep(argv, arguments), argv


def done(sweep_dir: Path, number: int) -> None:
    (sweep_dir / str(number)).mkdir(parents=True, exist_ok=True)
    outcome = JobOutcome(
        status=JobStatus.DONE, pid=os.getpid(), host=socket.gethostname(), started="", objective=1.0
    )
    outcome.write(sweep_dir / str(number) / JOB_FILE)


def test_a_report_that_cannot_be_made_leaves_no_run_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr(finish, "write_report", refused)
    job = JobRecord.planned(0, ["seed=0"]).model_copy(update={"status": JobStatus.DONE})
    parent = Parent()
    with pytest.raises(OSError, match="no space"):
        finish_sweep(tmp_path, SweepRecord.begun("grid", [], [job]), parent)  # type: ignore[arg-type]
    assert parent.calls == ["close_children", "tell_jobs", "artifact", "finish"]


def test_a_job_that_still_waits_in_a_queue_does_not_begin_once_the_sweep_is_stopped(
    tmp_path: Path,
) -> None:
    """As tasks of a Slurm array: the driver is gone when the cluster comes to them."""
    plan, _ = begun(tmp_path)

    def launch(argv: Sequence[str]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    assert run_sweep(plan, launch) == 143
    run_dir = plan.sweep_dir / "0"
    run_dir.mkdir()
    with (
        pytest.raises(TrainingError, match="not begun: stopped by signal 15"),
        sweep_job(run_dir, fail_fast=False),
    ):
        pytest.fail("it began")

    def launch_again(argv: Sequence[str]) -> None:
        assert not (plan.sweep_dir / STOP_FILE).exists()
        for number in (0, 1):
            done(plan.sweep_dir, number)

    assert resume_sweep(plan.sweep_dir, [], launch_again, lambda _: None) == 0


def test_an_account_that_was_cut_short_is_made_when_the_sweep_is_resumed(tmp_path: Path) -> None:
    """The driver was killed when every job was done, before it said so."""
    plan, argv = begun(tmp_path)
    jobs = [JobRecord.planned(number, job) for number, job in enumerate(plan.jobs)]
    for number in (0, 1):
        done(plan.sweep_dir, number)
    SweepRecord.begun("grid", argv, jobs).with_status("running").save(plan.sweep_dir)
    launched: list[Sequence[str]] = []
    assert resume_sweep(plan.sweep_dir, [], launched.append, lambda _: None) == 0
    assert [job.status for job in SweepRecord.read(plan.sweep_dir).jobs] == [JobStatus.DONE] * 2
    assert (plan.sweep_dir / REPORT_FILE).is_file()
    assert len(launched) == 1
    assert resume_sweep(plan.sweep_dir, [], launched.append, lambda _: None) == 0
    assert len(launched) == 1, "nothing is missing now"
