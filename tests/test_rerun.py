"""A run that is run again from its folder alone has the same bits, whatever it practised on."""

from pathlib import Path

import pytest

from journeyman.checkpoint import load_checkpoint
from journeyman.composition import compose_settings
from journeyman.orchestrator import Orchestrator
from journeyman.rerun import rerun_run, verify
from support.commands import TINY

CARTPOLE = (
    "env=gymnasium",
    "env.id=CartPole-v1",
    "env.demonstrator=cartpole",
    "evaluation.episodes=3",
    "evaluation.bootstrap_resamples=100",
    "policy=small",
)
SMALL = {
    "bc": ("strategy=bc", "strategy.epochs=2", "dataset.worlds=4", "dataset.ticks=60"),
    "ppo": ("strategy=ppo", "strategy.updates=2", "strategy.worlds=2", "strategy.rollout_ticks=32"),
    "town bc": (
        "strategy=bc",
        "strategy.epochs=2",
        "env.scenario=kitchen_breakfast",
        "env.episode_ticks=60",
        "dataset.worlds=4",
        "dataset.ticks=60",
        "policy=small",
        "evaluation.episodes=3",
    ),
}


def quiet(tmp_path: Path) -> tuple[str, ...]:
    return ("tracking=none", "promotion=off", f"outputs={tmp_path}/outputs")


@pytest.mark.parametrize("name", SMALL)
def test_a_rerun_has_the_same_bits(tmp_path: Path, name: str) -> None:
    world = () if name.startswith("town") else CARTPOLE
    settings = compose_settings([*SMALL[name], *world, *quiet(tmp_path)])
    Orchestrator(settings, run_dir=tmp_path / "first").run()
    again = rerun_run(tmp_path / "first")
    assert verify(tmp_path / "first", again) == []
    other = rerun_run(tmp_path / "first", ["seed=1"])
    assert verify(tmp_path / "first", other) != []


def test_a_run_begun_from_a_checkpoint_begins_from_it_again(tmp_path: Path) -> None:
    settings = compose_settings([*TINY, *quiet(tmp_path)])
    Orchestrator(settings, run_dir=tmp_path / "bc").run_bc()
    taught = tmp_path / "bc" / "checkpoints" / "final.safetensors"
    start = load_checkpoint(taught)
    Orchestrator(settings, run_dir=tmp_path / "first").run_rollout_ppo(
        ticks=8, updates=2, start=start
    )
    taught.unlink()  # the folder has a copy
    again = rerun_run(tmp_path / "first")
    assert verify(tmp_path / "first", again) == []
    untrained = Orchestrator(settings, run_dir=tmp_path / "untrained")
    untrained.run_rollout_ppo(ticks=8, updates=2)
    assert verify(tmp_path / "first", tmp_path / "untrained") != []
    assert load_checkpoint(again / "checkpoints" / "start.safetensors").digest("policy") == (
        start.digest("policy")
    )
