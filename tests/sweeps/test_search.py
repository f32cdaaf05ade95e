"""The search by itself: what is asked for, told and pruned, with jobs played by the test."""

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf
from optuna.trial import TrialState

from hydra_plugins.journeyman_optuna_sweeper.optuna_sweeper import OptunaSweeper
from journeyman.config_folder import parse_command_line
from journeyman.errors import UserError
from journeyman.sweeps.planning import plan_sweep, search_space_of, with_params
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


def test_a_small_space_is_probed_at_every_combination_of_its_ends() -> None:
    space = search_space_of(["lr=interval(1,2)", "policy=a,b,c", "seed=3"])
    jobs = space.probes(6, rng=np.random.default_rng(0))
    assert jobs[0] == ["seed=3", "lr=1.0", "policy=a"]
    assert sorted(tuple(job[1:]) for job in jobs) == [
        (f"lr={lr}", f"policy={policy}") for lr in ("1.0", "2.0") for policy in "abc"
    ]


def test_a_large_space_is_probed_at_its_ends_and_all_over() -> None:
    """2 * 3 * 2 * 2 ** 9 combinations of ends are more than 400.

    So each end once, 1 + 1 + 2 + 1 + 9 = 14 jobs, then draws: half of the logarithmic scale from
    1e-4 to 1e-2 lies below 1e-3.
    """
    axes = ["lr=tag(log,interval(1e-4,1e-2))", "policy=a,b,c", "n=range(1,8,2)"]
    space = search_space_of([*axes, *(f"x{n}=0,1" for n in range(9))])
    probes = space.probes(400, rng=np.random.default_rng(0))
    jobs = [dict(word.split("=") for word in job) for job in probes]
    assert len(jobs) == 400
    ones = [{job[key] for job in jobs[:14]} for key in ("lr", "policy", "n")]
    assert ones == [{"0.0001", "0.01"}, {"a", "b", "c"}, {"1", "7"}]
    assert {job["n"] for job in jobs} == {"1", "3", "5", "7"}
    rates = [float(job["lr"]) for job in jobs[14:]]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    assert 0.4 < sum(rate < 1e-3 for rate in rates) / len(rates) < 0.6
    pairs = {(job["x0"], job["x1"], job["policy"]) for job in jobs}
    assert len(pairs) == 12, "combinations, not one axis at a time"


def test_a_combination_that_is_refused_is_found_before_the_first_trial() -> None:
    """Each value is valid beside the first ones; only plan=true with strategy=bc is not."""
    argv = ["--multirun", "sweep=optuna", "plan=false,true", "strategy=anneal,bc"]
    arguments = parse_command_line(argv)
    assert arguments is not None
    with pytest.raises(UserError, match="plan: only strategy=anneal has one, got bc"):
        plan_sweep(argv, arguments)


def test_a_trial_that_cannot_be_composed_is_a_failed_one(sweep_dir: Path) -> None:
    """The launcher would end with it, and the trials beside it with the launcher."""
    launched: list[int] = []

    class Launcher:
        def launch(self, jobs: list[list[str]], initial_job_idx: int) -> None:
            for job in jobs:
                number = int(job[-1].partition("=")[2].strip("'"))
                launched.append(number)
                play(sweep_dir, JobRecord.planned(number, ()), *done(number))

    def compose(config: object, overrides: list[str]) -> None:
        if overrides[-1] == "hydra.sweep.subdir='1'":
            raise ConfigCompositionException("Could not override 'anneal.stages.7.clip'")

    sweeper = OptunaSweeper(**vars(options(trials=3, jobs_at_once=2)), params={})
    swept = {"sweep": {"dir": str(sweep_dir)}}
    sweeper.config = OmegaConf.create({"hydra": swept, "fail_fast": False})
    sweeper.launcher = Launcher()  # type: ignore[assignment]
    sweeper.hydra_context = SimpleNamespace(  # type: ignore[assignment]
        config_loader=SimpleNamespace(load_sweep_config=compose)
    )
    best = sweeper.sweep([*AXES])
    assert launched == [0, 2]
    assert states(sweep_dir) == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert best["number"] == 2
    told = SweepRecord.read(sweep_dir).jobs
    assert [job.status.value for job in told] == ["done", "failed", "done"]
    assert told[1].error == "Could not override 'anneal.stages.7.clip'"


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
