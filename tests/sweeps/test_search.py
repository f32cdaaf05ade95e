"""The search by itself: what is asked for, told and pruned, with jobs played by the test."""

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from journeyman.errors import UserError
from journeyman.sweeps.planning import search_space_of, with_params
from journeyman.sweeps.record import JOB_FILE, JobOutcome, JobRecord, JobStatus, SweepRecord
from journeyman.sweeps.search import STUDY_FILE, Search, SearchOptions
from journeyman.sweeps.search_space import Choice, Span

AXES = ["strategy.ppo.lr=tag(log,interval(1e-4,1e-2))", "policy=small,default", "seed=3"]


def options(**given: object) -> SearchOptions:
    usual: dict[str, object] = {
        "trials": 4,
        "jobs_at_once": 1,
        "seed": 0,
        "startup_trials": 2,
        "storage": None,
        "prune": True,
        "prune_metric": "eval/return_mean",
        "prune_after_trials": 1,
        "prune_after_reports": 0,
    }
    return SearchOptions(**{**usual, **given})


@pytest.fixture
def sweep_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "12-00-00-abcd"
    folder.mkdir()
    SweepRecord.begun("optuna", ["--multirun", "sweep=optuna", *AXES], []).save(folder)
    return folder


def play(sweep_dir: Path, job: JobRecord, status: JobStatus, objective: float | None) -> None:
    outcome = JobOutcome(
        status=status, pid=os.getpid(), host=socket.gethostname(), started="", objective=objective
    )
    (sweep_dir / job.folder).mkdir()
    outcome.write(sweep_dir / job.folder / JOB_FILE)


def search(sweep_dir: Path, **given: object) -> Search:
    return Search(search_space_of(AXES), options(**given), sweep_dir)


def run_all(
    sweep_dir: Path, seeking: Search, ends: Callable[[int], tuple[JobStatus, float | None]]
) -> list[JobRecord]:
    jobs = []
    while batch := seeking.ask():
        for job in batch:
            play(sweep_dir, job, *ends(job.number))
        seeking.tell(batch)
        jobs += batch
    return jobs


def states(sweep_dir: Path) -> list[TrialState]:
    study = optuna.load_study(
        study_name=sweep_dir.name, storage=f"sqlite:///{sweep_dir / STUDY_FILE}"
    )
    return [trial.state for trial in study.get_trials()]


def done(number: int) -> tuple[JobStatus, float]:
    return JobStatus.DONE, float(number)


def test_a_space_is_read_as_hydra_writes_sweeps() -> None:
    space = search_space_of([*AXES, "anneal.cycles=range(1,5,2)", "launch=joblib"])
    assert space.fixed == ("seed=3", "launch=joblib")
    assert space.axes["strategy.ppo.lr"] == Span(1e-4, 1e-2, None, True)
    assert space.axes["policy"] == Choice(("small", "default"))
    assert space.axes["anneal.cycles"] == Span(1, 3, 2), "the end of a range is left out"
    # Corners: the first values; then, one at a time, lr high, policy default, cycles 3.
    assert [job[2:] for job in space.corners()] == [
        ["strategy.ppo.lr=0.0001", "policy=small", "anneal.cycles=1"],
        ["strategy.ppo.lr=0.01", "policy=small", "anneal.cycles=1"],
        ["strategy.ppo.lr=0.0001", "policy=default", "anneal.cycles=1"],
        ["strategy.ppo.lr=0.0001", "policy=small", "anneal.cycles=3"],
    ]


@pytest.mark.parametrize(
    ("axis", "problem"),
    [
        ("a=interval(2,1)", "a: the first end must be the smaller one"),
        ("a=tag(log,interval(0,1))", "a: a logarithmic scale needs positive numbers"),
        ("a=range(3,3)", "a: a range holds whole numbers, at least one"),
        ("a=range(0.5,2)", "a: a range holds whole numbers, at least one"),
    ],
)
def test_impossible_axes_are_refused(axis: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        search_space_of([axis])


def test_of_params_and_command_line_the_latter_wins() -> None:
    given = with_params({"a": "interval(0,1)", "b": "1,2"}, ["a=5"])
    space = search_space_of(given)
    assert (space.fixed, list(space.axes)) == (("a=5",), ["b"])


def test_every_number_out_of_bounds_is_named() -> None:
    assert options(trials=0, jobs_at_once=-1, prune_metric="loss").problems() == [
        "hydra.sweeper.trials: must be at least 1 (got 0)",
        "hydra.sweeper.jobs_at_once: must be at least 1 (got -1)",
        "hydra.sweeper.prune_metric: a metric is group/name (got loss)",
    ]


def test_trials_become_jobs_and_are_told(sweep_dir: Path) -> None:
    ends = {0: done(0), 1: (JobStatus.FAILED, None), 2: (JobStatus.PRUNED, None), 3: done(3)}
    seeking = search(sweep_dir)
    jobs = run_all(sweep_dir, seeking, ends.__getitem__)
    assert [job.number for job in jobs] == [0, 1, 2, 3]
    assert all(job.overrides[0] == "seed=3" for job in jobs)
    assert states(sweep_dir) == [
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.PRUNED,
        TrialState.COMPLETE,
    ]
    assert seeking.best()["number"] == 3
    listed = SweepRecord.read(sweep_dir).jobs
    assert [job.status.value for job in listed] == ["done", "failed", "pruned", "done"]


def test_a_search_goes_on_to_a_total_with_other_points(sweep_dir: Path) -> None:
    """Of 4 trials one failed; with 5 in total 5 - 3 = 2 are left."""
    ends = {0: done(0), 1: (JobStatus.FAILED, None), 2: done(2), 3: done(3)}
    first = run_all(sweep_dir, search(sweep_dir, startup_trials=10), ends.__getitem__)
    again = run_all(sweep_dir, search(sweep_dir, startup_trials=10, trials=5), done)
    assert [job.number for job in again] == [4, 5]
    points = [job.overrides for job in (*first, *again)]
    assert len(set(points)) == len(points), "a fixed seed would suggest the first points again"
    assert run_all(sweep_dir, search(sweep_dir, trials=5), done) == []


def test_what_a_dead_driver_left_is_told_by_its_own_account(sweep_dir: Path) -> None:
    left = search(sweep_dir, jobs_at_once=2).ask()
    play(sweep_dir, left[0], JobStatus.DONE, 1.5)
    search(sweep_dir)
    assert states(sweep_dir) == [TrialState.COMPLETE, TrialState.FAIL]


def test_batches_never_exceed_the_total(sweep_dir: Path) -> None:
    seeking = search(sweep_dir, trials=3, jobs_at_once=2)
    sizes = []
    while batch := seeking.ask():
        sizes.append(len(batch))
        for job in batch:
            play(sweep_dir, job, JobStatus.DONE, 0.0)
        seeking.tell(batch)
    assert sizes == [2, 1]


def test_no_trial_follows_a_stop(sweep_dir: Path) -> None:
    seeking = search(sweep_dir)
    (sweep_dir / "stop").write_text("stopped by signal 15")
    assert seeking.ask() == []


def log_line(folder: Path, value: float) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"group": "eval", "step": 7, "return_mean": value}) + "\n")


def test_a_running_trial_below_the_median_is_stopped(sweep_dir: Path) -> None:
    """Trial 0 logged 10 and 10; trial 1 logs 1 at its first report while it runs."""
    seeking = search(sweep_dir, trials=2)
    for number, values in ((0, (10.0, 10.0)), (1, (1.0,))):
        (job,) = seeking.ask()
        folder = sweep_dir / str(number)
        folder.mkdir()
        with seeking.watching([job]):
            for value in values:
                log_line(folder, value)
            deadline = time.monotonic() + 20
            while number == 1 and not (folder / "stop").exists():
                assert time.monotonic() < deadline, "it was not stopped"
                time.sleep(0.05)
        status = JobStatus.PRUNED if (folder / "stop").exists() else JobStatus.DONE
        JobOutcome(status=status, pid=1, host="", started="", objective=10.0).write(
            folder / JOB_FILE
        )
        seeking.tell([job])
    assert states(sweep_dir) == [TrialState.COMPLETE, TrialState.PRUNED]
    assert "pruned: eval/return_mean 1 at report 1" in (sweep_dir / "1" / "stop").read_text()
