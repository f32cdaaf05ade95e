"""Sweeps that are refused as a whole, before anything is written."""

import importlib.util
from pathlib import Path

import pytest

from journeyman import cli
from journeyman.config_folder import parse_command_line
from journeyman.errors import UserError
from journeyman.sweeps.planning import SweepPlan, plan_sweep
from support.cartpole import PRACTICE

JOBLIB = pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None,
    reason='needs pip install "journeyman[joblib]"',
)
OPTUNA = pytest.mark.skipif(
    importlib.util.find_spec("optuna") is None, reason='needs pip install "journeyman[optuna]"'
)


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def planned(*overrides: str) -> SweepPlan:
    argv = ["--multirun", *overrides]
    arguments = parse_command_line(argv)
    assert arguments is not None
    return plan_sweep(argv, arguments)


def refused(capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    """Runs a command line that must be refused, and returns its one line."""
    assert cli.run(["--multirun", *PRACTICE, *overrides]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line.removeprefix("journeyman: ")


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        pytest.param(
            ["launch=joblib,local"], "launch: all jobs of a sweep have the same one", marks=JOBLIB
        ),
        (["fail_fast=true,false"], "fail_fast: all jobs of a sweep have the same one"),
        (["hydra.job.chdir=true,false"], "hydra.job.chdir: all jobs of a sweep have the same one"),
        (["outputs=a,b"], r"outputs: .* in one place \(got a and b\)"),
        (["tracking=mlflow,none"], r"tracking: .* in one place \(got mlflow and none\)"),
        (["tracking.experiment=a,b"], r"tracking.experiment: .* \(got a and b\)"),
        (["seed=range(3,1)"], r"seed: a range without a number in it \(got seed=range\(3,1\)\)"),
        pytest.param(
            ["launch=joblib", "hydra.launcher.n_jobs=0"],
            r"hydra.launcher.n_jobs: must be 1 or more, or -1 .* \(got 0\)",
            marks=JOBLIB,
        ),
    ],
)
def test_what_a_sweep_has_once_is_not_swept(overrides: list[str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        planned(*PRACTICE, "seed=0,1", *overrides)


@OPTUNA
@pytest.mark.parametrize(
    ("storage", "problem"),
    [
        ("nonsense", "no URL of a database"),
        ("sqlite:////nowhere/study.db", "/nowhere is no folder one may write to"),
        ("nosuch://host/studies", "a driver that is not installed"),
    ],
)
def test_a_study_that_cannot_be_kept(storage: str, problem: str) -> None:
    search = ("sweep=optuna", "strategy.learning_rate=interval(1e-4,1e-3)")
    with pytest.raises(UserError, match=f"hydra.sweeper.storage: .*{problem}"):
        planned(*PRACTICE, *search, f"hydra.sweeper.storage={storage}")


@OPTUNA
@JOBLIB
def test_a_search_takes_its_width_from_the_launcher_as_joblib_counts() -> None:
    search = ("sweep=optuna", "strategy.learning_rate=interval(1e-4,1e-3)")
    planned(*PRACTICE, *search, "launch=joblib", "hydra.launcher.n_jobs=-1")


def test_a_range_of_real_numbers() -> None:
    plan = planned(*PRACTICE, "strategy.gamma=range(0.5,1.0,0.25)")
    assert [job.strategy.gamma for job in plan.settings] == [0.5, 0.75]


def test_a_folder_that_holds_a_sweep(capsys: pytest.CaptureFixture[str], work: Path) -> None:
    used = work / "used"
    used.mkdir()
    (used / "sweep.json").write_text("{}")
    line = refused(capsys, "seed=0,1", "hydra.sweep.dir=used")
    assert f"{used} holds a sweep already" in line
    assert f"journeyman resume {used}" in line
    (used / "sweep.json").rename(used / "other.json")
    (used / "1").mkdir()
    (used / "1" / "config.yaml").write_text("seed: 3\n")
    assert f"{used / '1'} holds a run already" in refused(
        capsys, "seed=0,1", "hydra.sweep.dir=used"
    )
    left = sorted(path.name for path in work.rglob("*"))
    assert left == ["1", "config.yaml", "other.json", "used"]


def test_a_folder_that_cannot_be_made(capsys: pytest.CaptureFixture[str], work: Path) -> None:
    (work / "file").write_text("in the way")
    line = refused(capsys, "seed=0,1", "hydra.sweep.dir=file/sweep")
    assert line.startswith(f"hydra.sweep.dir: {work / 'file'} is not a folder")
    line = refused(capsys, "seed=0,1", "hydra.sweep.dir=/proc/sweep")
    assert line.startswith("hydra.sweep.dir: /proc/sweep cannot be made")
