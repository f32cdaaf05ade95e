"""Bad input gets one clear line each and exit code 2, and nothing is written."""

import json
from pathlib import Path

import numpy as np
import pytest

from support.commands import TINY, journeyman, without_torch
from support.trajectories import write_manifest

REPLAY = ("strategy=replay", "dataset=manifest")


def refused(tmp_path: Path, *arguments: str, **environment: str) -> list[str]:
    """Runs a command that must be refused; returns its lines."""
    work = tmp_path / "work"
    work.mkdir()
    done = journeyman(*arguments, cwd=work, **environment)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert list(work.iterdir()) == [], "something was written"
    lines = done.stderr.strip().splitlines()
    assert all(line.startswith("journeyman: ") for line in lines), done.stderr
    return [line.removeprefix("journeyman: ") for line in lines]


def manifest_of(folder: Path, sample: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "manifest.json"
    path.write_text(json.dumps([sample]))
    return path


def test_an_unknown_option_and_a_misspelled_key_with_the_nearest_right_one(tmp_path: Path) -> None:
    lines = refused(tmp_path, "strategy=aneal", "evaluation.episods=3")
    assert "did you mean anneal?" in " ".join(lines)
    assert "did you mean evaluation.episodes?" in " ".join(lines)
    assert len(lines) == 2


def test_an_out_of_range_value(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, "strategy.ppo.gamma=1.5")
    assert line == "strategy.ppo.gamma: must be less than or equal to 1 (got 1.5)"


def test_an_empty_schedule(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, "anneal.stages=[]")
    assert line == "anneal.stages: must have at least 1 item(s), got 0"


def test_a_missing_manifest(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.json"
    (line,) = refused(tmp_path, "dataset=manifest", f"dataset.manifest={missing}")
    assert str(missing) in line


def test_a_corrupt_npz(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", "a.npz")
    (manifest.parent / "a.npz").write_bytes(b"PK\x03\x04 no zip at all")
    (manifest.parent / "a.json").write_text("{}")
    (line,) = refused(
        tmp_path, "strategy=replay", "dataset=manifest", f"dataset.manifest={manifest}"
    )
    assert "a.npz" in line


def test_a_pickled_npz_is_never_loaded(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", "a.npz")
    np.savez(manifest.parent / "a.npz", features=np.array([{"a": 1}], dtype=object))
    (manifest.parent / "a.json").write_text("{}")
    (line,) = refused(
        tmp_path, "strategy=replay", "dataset=manifest", f"dataset.manifest={manifest}"
    )
    assert "pickle" in line


def test_a_dataset_for_another_observation(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    manifest = write_manifest(folder)
    lines = refused(tmp_path, "strategy=bc", "dataset=manifest", f"dataset.manifest={manifest}")
    assert any("features: expected" in line for line in lines), lines


def test_an_absent_device(tmp_path: Path) -> None:
    import torch

    if torch.cuda.device_count() > 7:
        pytest.skip("this machine has an eighth CUDA device")
    (line,) = refused(tmp_path, "runtime.device=cuda:7")
    assert "cuda:7" in line


def test_an_unwritable_outputs_folder(tmp_path: Path) -> None:
    occupied = tmp_path / "a_file"
    occupied.write_text("not a folder")
    (line,) = refused(tmp_path, f"outputs={occupied}/outputs")
    assert line.startswith("outputs: ")
    assert "not a folder" in line


def test_an_unreachable_server_given_explicitly(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, "tracking.uri=http://127.0.0.1:9")
    assert "http://127.0.0.1:9" in line


def test_a_missing_policy(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, "strategy=evaluate", "strategy.policy=no/such.safetensors")
    assert "no such checkpoint; allowed: demonstrator, random" in line


def test_an_impossible_town(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, "env.grid=4", "env.agents=100")
    assert "agents" in line


def test_a_gate_metric_that_is_never_counted(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, "+promotion.max_rate_increase.fant=0.5")
    assert "the environment counts no fant (it counts queue_conflict, " in line


def test_a_champion_that_is_no_checkpoint(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, "promotion.champion=random")
    assert "random: no such checkpoint" in line


def test_one_world_cannot_be_held_out(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, "dataset.worlds=1")
    assert line.startswith("dataset.worlds: ")


def test_asking_for_the_config_of_a_mistake(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, "--cfg", "job", "seeed=3")
    assert "seeed" in line


def test_one_bad_job_stops_a_sweep_before_the_first(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, "--multirun", "seed=0,1,-3")
    assert line == "seed: must be greater than or equal to 0 (got -3)"


def test_rerun_of_what_is_no_run(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, "rerun", str(tmp_path))
    assert "not a run folder" in line


def test_ui_without_a_store(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, "ui")
    assert "mlflow.db" in line


def test_training_without_torch_names_the_install_line(tmp_path: Path) -> None:
    blocked = without_torch(tmp_path / "blocked")
    lines = refused(tmp_path, *TINY, **blocked)
    assert 'pip install "journeyman[torch]"' in " ".join(lines)
