"""A search with real jobs: trials that fail, and going on to a total."""

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from journeyman.sweeps.search import STUDY_FILE
from support.cartpole import CARTPOLE
from support.commands import journeyman
from support.sweeps import jobs_of, sweep_folder

pytestmark = pytest.mark.slow

SEARCH = (
    "--multirun",
    "sweep=optuna",
    "hydra.sweeper.trials=4",
    "hydra.sweeper.prune=false",
    "strategy.value_coef=1e38,0.5",
    "strategy.learning_rate=tag(log,interval(1e-4,1e-2))",
    "strategy=ppo",
    "strategy.worlds=2",
    "strategy.rollout_ticks=8",
    "strategy.updates=2",
    "tracking=none",
    *CARTPOLE,
)
"""A value loss weighed 1e38 overflows float32: such trials fail, the others are whole."""


def trials(folder: Path) -> list[Any]:
    study = optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder / STUDY_FILE}")
    return study.get_trials()


def expected(trial: Any) -> TrialState:
    too_much = float(trial.params["strategy.value_coef"]) > 1.0
    return TrialState.FAIL if too_much else TrialState.COMPLETE


def test_failed_trials_are_told_and_replaced_up_to_the_total(tmp_path: Path) -> None:
    done = journeyman(*SEARCH, cwd=tmp_path, timeout=280)
    assert done.returncode == 1, "some trials failed"
    folder = sweep_folder(tmp_path)
    first = trials(folder)
    states = [trial.state for trial in first]
    assert states == [expected(trial) for trial in first]
    assert states.count(TrialState.COMPLETE) in (1, 2, 3), "both kinds were tried"
    for trial, job in zip(first, jobs_of(folder), strict=True):
        if trial.state == TrialState.FAIL:
            assert job["status"] == "failed"
            assert trial.user_attrs["reason"] == job["error"]
            assert f"journeyman: job {job['number']} " in done.stderr
        else:
            results = json.loads((folder / job["folder"] / "results.json").read_text())
            assert trial.value == results["result"]["final"]["episode_return"]["mean"]
    again = journeyman("resume", str(folder), "hydra.sweeper.trials=6", cwd=tmp_path, timeout=280)
    after = trials(folder)
    assert [trial.state for trial in after] == [expected(trial) for trial in after]
    # What failed was not counted: as many more as the total lacks.
    assert len(after) == 4 + 6 - states.count(TrialState.COMPLETE)
    points = [tuple(trial.params.items()) for trial in after]
    assert len(set(points)) == len(points)
    kept = [trial.number for trial in after[:4] if trial.state == TrialState.COMPLETE]
    listed = [job["number"] for job in jobs_of(folder)]
    assert listed == [*kept, *range(4, len(after))], "failed ones are no longer listed"
    failed_again = any(trial.state == TrialState.FAIL for trial in after[4:])
    assert again.returncode == int(failed_again), again.stderr
