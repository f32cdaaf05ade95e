"""Trajectories of any shape, and the files that older captures left on disk."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from journeyman.data import manifest
from journeyman.data.storage import save_trajectory
from journeyman.data.trajectory import Trajectory

NAMES = ("hunger", "rivalry_max", "rivalry_avoid_count")
ACTIONS = ("wait", "eat", "chat")


def make_arrays(
    steps: int = 5, *, features: int = 3, with_map: bool = False, seed: int = 0
) -> dict[str, np.ndarray]:
    """Returns the arrays of a trajectory with known log-probabilities and three actions."""
    rng = np.random.default_rng(seed)
    ends = np.zeros(steps, np.bool_)
    ends[-1] = True
    arrays = {
        "features": rng.normal(size=(steps, features)).astype(np.float32),
        "actions": rng.integers(0, 3, steps),
        "old_log_probs": -rng.random(steps).astype(np.float32) - 0.1,
        "value_preds": rng.normal(size=steps + 1).astype(np.float32),
        "rewards": rng.normal(size=steps).astype(np.float32),
        "dones": ends,
        "terminated": np.zeros(steps, np.bool_),
        "truncated": ends,
    }
    if with_map:
        arrays["map"] = rng.integers(0, 5, (steps, 2, 3, 3)).astype(np.uint8)
    return arrays


def make_sidecar(features: int = 3, **more: Any) -> dict[str, Any]:
    """Returns metadata that fit ``make_arrays``."""
    names = [*NAMES, *(f"extra_{i}" for i in range(features))][:features]
    return {"feature_names": names, "action_names": list(ACTIONS), **more}


def make_trajectory(
    steps: int = 5, *, features: int = 3, with_map: bool = False, seed: int = 0, **sidecar: Any
) -> Trajectory:
    """Returns a trajectory; keyword arguments become its sidecar's."""
    arrays = make_arrays(steps, features=features, with_map=with_map, seed=seed)
    return Trajectory(**arrays, metadata=make_sidecar(features, **sidecar))


def write_raw(stem: Path, arrays: dict[str, np.ndarray], sidecar: dict[str, Any]) -> Path:
    """Writes npz and json as they are, unchecked; returns the npz's path."""
    np.savez(stem.with_suffix(".npz"), **arrays)
    stem.with_suffix(".json").write_text(json.dumps(sidecar))
    return stem.with_suffix(".npz")


def write_manifest(
    folder: Path, count: int = 4, name: str = "manifest.json", **header: Any
) -> Path:
    """Writes ``count`` trajectories of growing length and a manifest of them."""
    entries = []
    for i in range(count):
        trajectory = make_trajectory(3 + i, seed=i, group=f"world_{i // 2}")
        entries.append(
            {"sample": f"s{i}.npz", "sha256": save_trajectory(trajectory, folder / f"s{i}")}
        )
    path = folder / name
    path.write_text(json.dumps({"samples": entries, **header}))
    return path


def reads_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns a list that grows by the name of every npz a manifest's entry reads."""
    names: list[str] = []
    load = manifest.load_samples

    def counted(npz_path: Path, **options: Any) -> list[Trajectory]:
        names.append(npz_path.name)
        return load(npz_path, **options)

    monkeypatch.setattr(manifest, "load_samples", counted)
    return names
