"""A run that is run again from its folder alone has the same bits, whatever it practised on."""

import errno
import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from journeyman.checkpoint import load_checkpoint
from journeyman.cli import run
from journeyman.composition import compose_settings
from journeyman.config_folder import quoted
from journeyman.environment import describe_environment, graphics_processors
from journeyman.errors import UserError
from journeyman.orchestrator import Orchestrator
from journeyman.record import save_early
from journeyman.rerun import changed_since, original_run, rerun_run, verify
from journeyman.tracking.identity import RunIdentity
from support.cartpole import DEMONSTRATED
from support.commands import TINY, mlflow_client, run_folders

SMALL = {
    "bc": ("strategy=bc", "strategy.epochs=2", "dataset.worlds=4", "dataset.ticks=60"),
    "ppo": ("strategy=ppo", "strategy.updates=2", "strategy.worlds=2", "strategy.rollout_ticks=32"),
    "anneal": (
        "strategy=anneal",
        "anneal=quick",
        "dataset.worlds=4",
        "dataset.ticks=60",
        "strategy.ppo.worlds=2",
        "strategy.ppo.rollout_ticks=16",
        "anneal.stages.1.epochs=2",
        "anneal.guardrails.bc_accuracy.threshold=0.0",
        "anneal.guardrails.bc_accuracy.min_over_majority=0.0",
    ),
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
    world = () if name.startswith("town") else DEMONSTRATED
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


def test_what_differs_between_two_machines_is_named_as_the_likely_cause(tmp_path: Path) -> None:
    environment = {
        "python": "3.11.7",
        "processor": "one",
        "torch_threads": 1,
        "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
        "git": {"commit": "abc", "diff": ""},
    }
    other = {
        **environment,
        "processor": "another",
        "torch_threads": 4,
        "packages": {"torch": "2.14.0", "numpy": "2.4.6"},
        "git": {"commit": "abc", "diff": "+ a line"},
    }
    for name, about, loss in (("one", environment, 0.5), ("other", other, 0.25)):
        folder = tmp_path / name
        folder.mkdir()
        line = {"group": "bc", "step": 3, "log_stream_offset": 0, "time": name, "loss": loss}
        (folder / "metrics.jsonl").write_text(f"{json.dumps(line)}\n")
        (folder / "results.json").write_text(json.dumps({"result": {"weights_digest": name}}))
        (folder / "environment.json").write_text(json.dumps(about))
    assert verify(tmp_path / "one", tmp_path / "other", ["seed=1"]) == [
        "metrics.jsonl line 1, bc/loss at step 3: 0.5 != 0.25",
        "results.json weights_digest: one != other",
        "likely cause: seed=1 was given",
        "likely cause: packages.torch was 2.13.0, is 2.14.0",
        "likely cause: processor was one, is another",
        "likely cause: torch_threads was 1, is 4",
        "likely cause: git.diff differs",
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("results.json", '{"result": {"a'),
        ("results.json", "{}"),
        ("environment.json", "[]"),
        ("overrides.json", "{}"),
    ],
)
def test_what_is_damaged_is_said_before_anything_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    folder = tmp_path / "run"
    command = [*SMALL["ppo"], *DEMONSTRATED, *quiet(tmp_path)]
    save_early(compose_settings(command), folder, command)
    (folder / "results.json").write_text('{"result": {}}')
    (folder / "environment.json").write_text("{}")
    (folder / "metrics.jsonl").write_text("")
    (folder / name).write_text(content)
    assert run(["rerun", str(folder), "--verify"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"journeyman: {folder / name}: damaged (")
    assert not (tmp_path / "outputs").exists()


def test_what_an_earlier_version_did_not_record_is_no_change(tmp_path: Path) -> None:
    before = {"processor": "one", "packages": {"torch": "2.13.0"}, "git": None}
    (tmp_path / "environment.json").write_text(json.dumps(before))
    now = {
        "processor": "one",
        "gpu": "NVIDIA T4",
        "packages": {"torch": "2.13.0", "mujoco": "3.3"},
        "git": {"commit": "abc"},
    }
    assert changed_since(tmp_path, now) == ["git.commit was None, is abc"]
    (tmp_path / "environment.json").write_text(json.dumps({**now, "gpu": None}))
    assert changed_since(tmp_path, now) == ["gpu was None, is NVIDIA T4"]


def test_the_record_names_what_computes_and_what_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
        about = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 42\n"
        (tmp_path / name / "information").write_text(about)
    monkeypatch.setattr("journeyman.environment.NVIDIA", tmp_path)
    found = describe_environment(torch_threads=1, town_threads=1)
    assert found["gpu"] == "NVIDIA H100 80GB HBM3, NVIDIA H100 80GB HBM3"
    assert {"llvmlite", "pettingzoo", "mpe2", "mujoco", "box2d"} <= found["packages"].keys()
    assert found["packages"]["llvmlite"] == version("llvmlite")
    monkeypatch.setattr("journeyman.environment.NVIDIA", tmp_path / "none")
    monkeypatch.setenv("PATH", "")
    assert graphics_processors() is None


def tracked(tmp_path: Path, name: str) -> tuple[str, Path]:
    """Runs it with a store; returns the run's id there and its folder."""
    settings = compose_settings([*SMALL[name], *DEMONSTRATED, *stored(tmp_path)])
    folder = tmp_path / "outputs" / "first"
    Orchestrator(settings, run_dir=folder).run()
    return identity_of(folder), folder


def stored(tmp_path: Path) -> tuple[str, ...]:
    return ("promotion=off", f"outputs={tmp_path}/outputs")


def identity_of(folder: Path) -> str:
    identity = RunIdentity.read(folder)
    assert identity is not None
    return identity.run_id


@pytest.fixture
def _the_embedded_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.usefixtures("_the_embedded_store")
def test_by_its_id_once_the_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store alone has what a rerun needs, and what it is compared with."""
    run_id, folder = tracked(tmp_path, "bc")
    folder.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert run(["rerun", run_id, "--verify"]) == 0
    (again,) = run_folders(tmp_path / "outputs")
    assert f"weights of {again.name} equal those of {run_id}" in capsys.readouterr().out
    # The metrics compared with are those of the store, not any other's.
    (log,) = (tmp_path / "outputs" / "artifacts").glob(f"{run_id}/artifacts/metrics.jsonl")
    lines = log.read_text().splitlines()
    changed = json.loads(lines[-1])
    name = next(name for name in changed if name.endswith("mean"))
    changed[name] += 1e-9
    log.write_text("\n".join([*lines[:-1], json.dumps(changed)]) + "\n")
    assert run(["rerun", run_id, "--verify"]) == 1
    said = capsys.readouterr().err
    assert f"metrics.jsonl line {len(lines)}, {changed['group']}/{name} at step" in said
    log.unlink()
    assert run(["rerun", run_id, "--verify"]) == 2
    assert f"{run_id}: the tracking store has no metrics.jsonl of it" in capsys.readouterr().err
    assert len(run_folders(tmp_path / "outputs")) == 2, "the third was refused before it began"


@pytest.mark.usefixtures("_the_embedded_store")
def test_by_its_id_where_the_folder_is(tmp_path: Path) -> None:
    run_id, folder = tracked(tmp_path, "bc")
    with original_run(run_id, uri=None, outputs=tmp_path / "outputs") as original:
        assert (original.folder, original.where) == (folder, ())
    # Another run's folder in the same place is not this run's.
    identity = RunIdentity.read(folder)
    assert identity is not None
    RunIdentity(identity.tracking_uri, identity.experiment_id, "0" * 32).write(folder)
    with original_run(run_id, uri=None, outputs=tmp_path / "outputs") as original:
        assert original.folder != folder
        assert (original.folder / "config.yaml").read_bytes() == (
            folder / "config.yaml"
        ).read_bytes()
    assert not original.folder.exists()


@pytest.mark.parametrize("named", ["out puts", "it's", "é, [x]", "a\\", "\\'", "null", '"', "${x"])
def test_where_a_new_run_goes_is_read_as_it_is(named: str) -> None:
    override = OverridesParser.create().parse_override(f"outputs={quoted(named)}")
    assert override.value() == named


@pytest.mark.usefixtures("_the_embedded_store")
def test_by_its_id_it_begins_from_the_start_that_the_store_has(tmp_path: Path) -> None:
    settings = compose_settings([*TINY, *quiet(tmp_path)])
    Orchestrator(settings, run_dir=tmp_path / "bc").run_bc()
    start = load_checkpoint(tmp_path / "bc" / "checkpoints" / "final.safetensors")
    settings = compose_settings([*TINY, *stored(tmp_path)])
    folder = tmp_path / "outputs" / "first"
    Orchestrator(settings, run_dir=folder).run_rollout_ppo(ticks=8, updates=1, start=start)
    run_id = identity_of(folder)
    shutil.rmtree(folder)
    outputs = tmp_path / "outputs"
    with original_run(run_id, uri=None, outputs=outputs) as original:
        again = rerun_run(original.folder, where=original.where)
        assert verify(original.folder, again) == []
    assert load_checkpoint(again / "checkpoints" / "start.safetensors").digest("policy") == (
        start.digest("policy")
    )


@pytest.mark.usefixtures("_the_embedded_store")
def test_an_id_that_no_store_has(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    with pytest.raises(UserError, match=r"there is no MLflow database"):
        original_run("0" * 32, uri=None, outputs=outputs).__enter__()
    run_id, _ = tracked(tmp_path, "bc")
    with pytest.raises(UserError, match=r"^0{32}: no such run in sqlite"):
        original_run("0" * 32, uri=None, outputs=outputs).__enter__()
    client = mlflow_client(outputs)
    tags = {"kind": "stage", "mlflow.parentRunId": run_id}
    stage = client.create_run("0", tags=tags).info.run_id
    with pytest.raises(UserError, match=rf"^{stage}: the run of a stage; name its job's, {run_id}"):
        original_run(stage, uri=None, outputs=outputs).__enter__()


@pytest.mark.parametrize("command", ["rerun", "resume"])
def test_a_folder_that_may_not_be_looked_into(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    def lstat(path: Path) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "lstat", lstat)
    assert run([command, str(tmp_path / "run")]) == 2
    assert f"{tmp_path}/run/config.yaml: cannot be looked at (Permission denied)" in (
        capsys.readouterr().err
    )
