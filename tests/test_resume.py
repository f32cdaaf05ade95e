"""A run folder is gone on with by its own config, from its last checkpoint, by one process."""

import json
import logging
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from journeyman.checkpoint import load_checkpoint
from journeyman.cli import run
from journeyman.composition import compose_settings
from journeyman.context import RunStopped
from journeyman.errors import UserError
from journeyman.orchestrator import Orchestrator
from journeyman.record import save_early
from journeyman.rerun import verify
from journeyman.resume import resume_run
from support.commands import TINY

CARTPOLE = (
    "env=gymnasium",
    "env.id=CartPole-v1",
    "env.demonstrator=cartpole",
    "strategy=ppo",
    "strategy.updates=3",
    "strategy.worlds=2",
    "strategy.rollout_ticks=32",
    "evaluation.episodes=3",
    "evaluation.bootstrap_resamples=100",
    "policy=small",
)


def quiet(tmp_path: Path) -> tuple[str, ...]:
    return ("tracking=none", "promotion=off", f"outputs={tmp_path}/outputs")


def stopped(orchestrator: Orchestrator, after: int) -> None:
    """Runs it, or goes on with it, until it has been asked so often whether it is to stop."""
    asked = count()
    orchestrator._asked_to_stop = lambda: 15 if next(asked) >= after else None
    work = orchestrator.run
    if orchestrator.run_dir is not None and (orchestrator.run_dir / "status.json").is_file():
        work = orchestrator.resume
    with pytest.raises(RunStopped):
        work()


@pytest.mark.parametrize("name", ["cartpole", "town"])
def test_stopped_and_resumed_it_is_as_if_it_had_not_been(tmp_path: Path, name: str) -> None:
    command = CARTPOLE if name == "cartpole" else TINY
    settings = compose_settings([*command, *quiet(tmp_path)])
    Orchestrator(settings, run_dir=tmp_path / "whole").run()
    folder = tmp_path / "stopped"
    # In the capture or the first plays, then further on, an evaluation at least each time.
    for after in np.random.default_rng(0).integers(0, 200, 3):
        stopped(Orchestrator(settings, run_dir=folder), int(after))
        assert json.loads((folder / "status.json").read_text()) == {"status": "KILLED"}
    resume_run(folder)
    assert verify(tmp_path / "whole", folder) == []
    document = json.loads((folder / "results.json").read_text())
    assert document["duration_sec"] >= document["result"]["duration_sec"] > 0.0


def test_a_run_begun_from_a_checkpoint_is_resumed_from_it(tmp_path: Path) -> None:
    settings = compose_settings([*TINY, *quiet(tmp_path)])
    Orchestrator(settings, run_dir=tmp_path / "bc").run_bc()
    start = load_checkpoint(tmp_path / "bc" / "checkpoints" / "final.safetensors")
    Orchestrator(settings, run_dir=tmp_path / "whole").run_ppo(start=start)
    folder = tmp_path / "stopped"
    with pytest.raises(RunStopped):
        Orchestrator(settings, run_dir=folder, asked_to_stop=lambda: 15).run_ppo(start=start)
    resume_run(folder)
    assert verify(tmp_path / "whole", folder) == []


def test_what_is_no_run_to_go_on_with(tmp_path: Path) -> None:
    settings = compose_settings([*CARTPOLE, *quiet(tmp_path)])
    with pytest.raises(UserError, match=r"neither the folder of a run .* nor of a sweep"):
        resume_run(tmp_path)
    with pytest.raises(UserError, match=r"nosuch: no such folder$"):
        resume_run(tmp_path / "nosuch")
    (tmp_path / "early" / ".hydra").mkdir(parents=True)
    with pytest.raises(UserError, match=r"ended before its config was saved; start it again"):
        resume_run(tmp_path / "early")
    with pytest.raises(UserError, match="no run folder to resume"):
        Orchestrator(settings, run_dir=tmp_path / "nothing").resume()
    folder = tmp_path / "run"
    stopped(Orchestrator(settings, run_dir=folder), 5)
    with pytest.raises(UserError, match=r"holds a run already \(KILLED\); journeyman resume"):
        Orchestrator(settings, run_dir=folder).run()
    (folder / "job.json").write_text("{}")
    with pytest.raises(UserError, match=f"a job of a sweep; journeyman resume {tmp_path} runs"):
        resume_run(folder)
    (folder / "job.json").unlink()
    resume_run(folder)
    with pytest.raises(UserError, match="the run is finished; journeyman rerun"):
        resume_run(folder)


def test_killed_while_it_starts_it_begins_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imports take seconds: what was asked for is in the folder before them."""
    monkeypatch.chdir(tmp_path)
    command = [*CARTPOLE, *quiet(tmp_path)]
    assert run([*command, "hydra.run.dir=whole"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Orchestrator, "__init__", interrupt)
        assert run([*command, "hydra.run.dir=begun"]) == 130
    folder = tmp_path / "begun"
    names = {"config.yaml", "overrides.json", ".hydra", ".lock", "journeyman.log"}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "config.yaml").read_text() == (tmp_path / "whole/config.yaml").read_text()
    assert run(["resume", "begun"]) == 0
    assert verify(tmp_path / "whole", folder) == []
    assert (folder / "overrides.json").read_text() == json.dumps(command, indent=2) + "\n"
    before = (folder / "config.yaml").read_bytes()
    assert run([*command, "seed=1", "hydra.run.dir=begun"]) == 2, "it is another run's"
    assert (folder / "config.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("environment.json", "remove it to go on without comparing machine and versions"),
        ("overrides.json", "remove it to go on without the words the run was begun with"),
        ("inputs.json", "remove it to go on without comparing inputs"),
        ("checkpoints/latest.safetensors", "remove it to run from the beginning"),
    ],
)
def test_a_damaged_file_is_named_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, remedy: str
) -> None:
    folder = tmp_path / "run"
    save_early(compose_settings([*CARTPOLE, *quiet(tmp_path)]), folder, CARTPOLE)
    damaged = folder / name
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_bytes(b'{"packages": {"numpy')
    assert run(["resume", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"journeyman: {damaged}: ")
    assert line.endswith(remedy)
    assert not (folder / "status.json").exists()


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_another_environment_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = compose_settings([*CARTPOLE, *quiet(tmp_path)])
    folder = tmp_path / "run"
    stopped(Orchestrator(settings, run_dir=folder), 5)
    path = folder / "environment.json"
    began = json.loads(path.read_text())
    began["packages"]["numpy"] = "1.0"
    path.write_text(json.dumps(began))
    with caplog.at_level(logging.WARNING):
        resume_run(folder)
    assert f"packages.numpy was 1.0, is {np.__version__} since the run began" in caplog.text
    # What it began with stays on record.
    assert json.loads(path.read_text()) == began
