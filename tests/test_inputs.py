"""What a run reads beside its folder is known by its digest: whether it changed is said."""

import json
import logging
from pathlib import Path

import pytest

from journeyman.checkpoint import load_checkpoint, save_checkpoint
from journeyman.composition import compose_settings
from journeyman.context import RunStopped
from journeyman.inputs import changed_inputs, input_digests
from journeyman.orchestrator import Orchestrator
from journeyman.rerun import rerun_run, verify
from journeyman.resume import resume_run
from support.cartpole import DEMONSTRATED

WORLD = (*DEMONSTRATED, "tracking=none", "promotion=off")
BC = ("strategy=bc", "strategy.epochs=1", "dataset=manifest")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of CartPole; tests that change it put it back."""
    folder = tmp_path_factory.mktemp("recorded")
    settings = compose_settings(["strategy=capture", *WORLD, f"outputs={folder}"])
    Orchestrator(settings).capture_rollout(ticks=40, worlds=3, save_to=folder, prefix="s")
    return folder / "s_manifest.json"


def reads(manifest: Path, outputs: Path) -> list[str]:
    return [*BC, *WORLD, f"dataset.manifest={manifest}", f"outputs={outputs}"]


def test_a_manifests_digest_is_that_of_its_samples_too(recorded: Path, tmp_path: Path) -> None:
    config = compose_settings(reads(recorded, tmp_path)).model_dump(mode="json")
    before = input_digests(config)
    assert before.keys() == {"dataset.manifest"}
    assert before["dataset.manifest"]["path"] == str(recorded)
    assert input_digests(config) == before
    for sample in sorted(recorded.parent.glob("*.npz")):
        kept = sample.read_bytes()
        sample.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        assert input_digests(config) != before
        sample.write_bytes(kept)
    assert input_digests(config) == before


def test_names_are_no_files(tmp_path: Path) -> None:
    for chosen in (["dataset=rollout", "dataset.policy=random"], ["env.demonstrator=cartpole"]):
        settings = compose_settings([*WORLD, *chosen, f"outputs={tmp_path}"])
        assert input_digests(settings.model_dump(mode="json")) == {}


def test_a_changed_input_is_said_before_a_rerun_and_named_after_it(
    recorded: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Orchestrator(compose_settings(reads(recorded, tmp_path)), run_dir=tmp_path / "first").run()
    noted = json.loads((tmp_path / "first" / "inputs.json").read_text())
    assert len(noted["dataset.manifest"]["sha256"]) == 64
    assert verify(tmp_path / "first", rerun_run(tmp_path / "first")) == []
    assert "has changed" not in caplog.text
    entries = recorded.read_text()
    kept = json.loads(entries)
    samples = kept if isinstance(kept, list) else kept["samples"]
    del samples[-1]
    recorded.write_text(json.dumps(kept))
    try:
        with caplog.at_level(logging.WARNING):
            again = rerun_run(tmp_path / "first")
    finally:
        recorded.write_text(entries)
    changed = f"dataset.manifest: {recorded} has changed"
    assert f"{changed} since the run {tmp_path}/first read it" in caplog.text
    causes = [line for line in verify(tmp_path / "first", again) if line.startswith("likely cause")]
    assert causes[0] == f"likely cause: {changed}"


def test_a_played_checkpoint_that_was_replaced(tmp_path: Path) -> None:
    ppo = ("strategy=ppo", "strategy.updates=1", "strategy.worlds=2", "strategy.rollout_ticks=16")
    Orchestrator(compose_settings([*ppo, *WORLD]), run_dir=tmp_path / "trained").run()
    player = tmp_path / "trained" / "checkpoints" / "final.safetensors"
    settings = compose_settings(["strategy=evaluate", f"strategy.policy={player}", *WORLD])
    Orchestrator(settings, run_dir=tmp_path / "played").run()
    now = input_digests(settings.model_dump(mode="json"))
    assert changed_inputs(tmp_path / "played", now) == []
    final = load_checkpoint(player)
    save_checkpoint(
        final.with_parts({}, counters={**final.state["counters"], "bc_epochs": 9}), player
    )
    now = input_digests(settings.model_dump(mode="json"))
    assert changed_inputs(tmp_path / "played", now) == [f"strategy.policy: {player} has changed"]


def test_a_run_resumed_on_other_data_says_so(
    recorded: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = compose_settings(reads(recorded, tmp_path))
    with pytest.raises(RunStopped):
        Orchestrator(settings, run_dir=tmp_path / "run", asked_to_stop=lambda: 15).run()
    entries = recorded.read_text()
    recorded.write_text(f"{entries}\n")
    try:
        with caplog.at_level(logging.WARNING):
            resume_run(tmp_path / "run")
    finally:
        recorded.write_text(entries)
    assert f"dataset.manifest: {recorded} has changed since the run began" in caplog.text
