"""Hydra's own rerun, as a command: of a run, and of a job of a sweep."""

from pathlib import Path

import pytest

from journeyman.rerun import verify
from support.commands import journeyman, run_folders

COMMAND = (
    "strategy=ppo",
    "strategy.updates=2",
    "strategy.worlds=2",
    "strategy.rollout_ticks=16",
    "strategy.minibatch_size=16",
    "env=gymnasium",
    "env.id=CartPole-v1",
    "policy=small",
    "evaluation.episodes=3",
    "promotion=off",
    "tracking=none",
)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["alone", "in a sweep"])
def test_a_pickled_job_runs_again_in_a_folder_of_its_own(tmp_path: Path, how: str) -> None:
    sweep = () if how == "alone" else ("--multirun",)
    first = journeyman(*sweep, *COMMAND, "seed=3", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    (original,) = run_folders(tmp_path / "outputs")
    assert "config.pickle" not in first.stdout + first.stderr
    before = {path: path.stat().st_mtime_ns for path in original.rglob("*")}
    pickled = original / ".hydra" / "config.pickle"
    again = journeyman("--experimental-rerun", str(pickled), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    (new,) = set(run_folders(tmp_path / "outputs")) - {original}
    assert "multirun" not in new.parts
    assert verify(original, new) == []
    assert {path: path.stat().st_mtime_ns for path in original.rglob("*")} == before


def test_what_hydra_could_not_run_again(tmp_path: Path) -> None:
    done = journeyman("--experimental-rerun", "config.pickle", "seed=1", cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()) == (
        2,
        [
            "journeyman: --experimental-rerun: no such file (got config.pickle); it is "
            ".hydra/config.pickle in a run folder",
            "journeyman: --experimental-rerun takes no overrides (got seed=1); "
            "journeyman rerun RUN takes some",
        ],
    )
    assert not list(tmp_path.iterdir())
