"""What a sweep writes down about its jobs, and how jobs are named and run again."""

from pathlib import Path

import pytest

from journeyman.errors import TrainingError, UserError
from journeyman.sweeps.job import sweep_job
from journeyman.sweeps.record import (
    STOP_FILE,
    JobOutcome,
    JobRecord,
    JobStatus,
    SweepRecord,
    config_options,
    varying,
)


def record_of(*jobs: list[str]) -> SweepRecord:
    planned = [JobRecord.planned(number, job) for number, job in enumerate(jobs)]
    return SweepRecord.begun("grid", ["--multirun", "seed=0,1"], planned)


def test_a_record_is_read_back_as_it_was(tmp_path: Path) -> None:
    record = record_of(["seed=0"], ["seed=1"])
    record.save(tmp_path)
    assert SweepRecord.read(tmp_path) == record


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not the folder of a sweep \(no sweep.json\)"):
        SweepRecord.read(tmp_path)
    (tmp_path / "sweep.json").write_text('{"jobs": 3}')
    with pytest.raises(UserError, match="not a record of a sweep"):
        SweepRecord.read(tmp_path)


def test_a_job_is_named_by_what_the_others_do_not_have() -> None:
    record = record_of(["strategy=bc", "seed=0", "policy=small"], ["strategy=ppo", "policy=small"])
    assert record.named(record.jobs[0]) == "job 0 (strategy=bc seed=0)"
    alone = record_of(["strategy=bc", "launch=joblib"])
    assert alone.named(alone.jobs[0]) == "job 0 (strategy=bc)"


def test_the_command_of_a_job_leaves_out_how_the_sweep_ran_it() -> None:
    overrides = ["launch=joblib", "hydra.launcher.n_jobs=2", "fail_fast=true", "+env.kwargs={a: 1}"]
    assert JobRecord.planned(0, overrides).command == "journeyman '+env.kwargs={a: 1}'"


def test_the_command_of_a_job_finds_the_sweeps_configs() -> None:
    argv = ["--multirun", "--config-dir", "my configs", "seed=0,1", "experiment=mine"]
    job = JobRecord.planned(0, ["seed=0", "experiment=mine"], config_options(argv))
    assert job.command == "journeyman --config-dir 'my configs' seed=0 experiment=mine"
    assert config_options(["--multirun", "seed=0,1"]) == ()


def test_varying_of_equal_jobs_is_nothing() -> None:
    assert varying(["a=1"], [["a=1"], ["a=1"]]) == []


def test_a_job_says_that_it_is_done_and_what_it_reached(tmp_path: Path) -> None:
    with sweep_job(tmp_path, fail_fast=False) as job:
        assert JobOutcome.read(tmp_path).status is JobStatus.RUNNING
        job.objective = 2.5
    outcome = JobOutcome.read(tmp_path)
    assert (outcome.status, outcome.objective, outcome.error) == (JobStatus.DONE, 2.5, None)
    assert outcome.duration_sec > 0


def test_a_failing_job_says_why_and_stops_nobody(tmp_path: Path) -> None:
    run_dir = tmp_path / "3"
    run_dir.mkdir()
    with pytest.raises(TrainingError, match="one; two"), sweep_job(run_dir, fail_fast=False):
        raise UserError(["one", "two"])
    outcome = JobOutcome.read(run_dir)
    assert (outcome.status, outcome.error) == (JobStatus.FAILED, "one; two")
    assert outcome.objective is None
    assert "UserError" in (run_dir / "error.txt").read_text()
    assert not (tmp_path / STOP_FILE).exists()


def test_with_fail_fast_a_failing_job_stops_the_others(tmp_path: Path) -> None:
    for name in ("0", "1"):
        (tmp_path / name).mkdir()
    with pytest.raises(TrainingError), sweep_job(tmp_path / "0", fail_fast=True):
        raise TrainingError("no")
    with (
        pytest.raises(TrainingError, match="not begun: fail_fast: job 0 failed"),
        sweep_job(tmp_path / "1", fail_fast=True),
    ):
        pytest.fail("it began")
    assert JobOutcome.read(tmp_path / "1") is None, "a job that did not begin is missing, not over"


def test_a_job_works_where_the_sweep_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker of a cluster stands in a folder of its own; relative paths must not mean that."""
    started, elsewhere = tmp_path / "started", tmp_path / "elsewhere"
    run_dir = started / "outputs" / "multirun" / "a" / "0"
    for folder in (run_dir, elsewhere):
        folder.mkdir(parents=True)
    monkeypatch.chdir(started)
    record_of(["seed=0"]).save(run_dir.parent)
    monkeypatch.chdir(elsewhere)
    with sweep_job(run_dir, fail_fast=False):
        assert Path.cwd() == started
    assert Path.cwd() == elsewhere


def test_an_interrupt_is_no_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), sweep_job(tmp_path, fail_fast=True):
        raise KeyboardInterrupt
    assert JobOutcome.read(tmp_path).status is JobStatus.STOPPED
    assert not (tmp_path.parent / STOP_FILE).exists()
