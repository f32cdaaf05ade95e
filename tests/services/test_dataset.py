import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from journeyman.data.storage import save_trajectory
from journeyman.errors import UserError
from journeyman.policies.random import RandomPolicy
from journeyman.results import ReplaySummary
from journeyman.services.dataset import (
    build_replay_dataset,
    check_against,
    load_demonstrations,
    replay_dataset_from_capture,
    run_replay,
    run_replay_batch,
    run_replay_dataset,
)
from journeyman.services.rollout import Capture, capture_rollout, save_capture
from journeyman.settings.dataset import BatchingSettings, ManifestDatasetSettings
from support.signal_env import SignalEnv
from support.trajectories import (
    make_arrays,
    make_sidecar,
    make_trajectory,
    reads_of,
    write_manifest,
    write_raw,
)


def batching(**changes) -> BatchingSettings:
    plain = {"batch_size": 3, "shuffle": False, "drop_last": False, "streaming": False}
    return BatchingSettings(**{**plain, **changes})


def settings(manifest: Path, **changes) -> ManifestDatasetSettings:
    return ManifestDatasetSettings(
        kind="manifest",
        manifest=str(manifest),
        allow_external_paths=False,
        recompute_log_probs=False,
        batching=batching(**changes),
    )


def capture(worlds: int = 4, *, stub: bool = False, ticks: int = 6) -> Capture:
    env = SignalEnv(num_worlds=worlds)
    policy = RandomPolicy(env.lane_spec) if stub else env.demonstrator()
    return capture_rollout(env, policy, ticks=ticks, seed=3, rng=np.random.default_rng(0))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("worlds", [4, 40])  # a file a lane; shards
def test_saved_and_loaded_demonstrations_are_the_same(tmp_path: Path, worlds: int) -> None:
    original = capture(worlds, ticks=30)
    manifest = save_capture(original, tmp_path)
    loaded = load_demonstrations(settings(manifest))
    assert loaded.digest == original.demonstrations.digest
    assert loaded.lane_spec == original.lane_spec
    assert loaded.label == "demonstrator"
    assert loaded.warnings == ()


def test_a_stubs_warning_survives_the_disk(tmp_path: Path) -> None:
    original = capture(stub=True)
    loaded = load_demonstrations(settings(save_capture(original, tmp_path)))
    assert any("random policy" in warning for warning in loaded.warnings)
    assert set(original.warnings) <= set(loaded.warnings)


def test_lengths_weights_and_splits_of_a_manifest(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, 3)
    document = json.loads(path.read_text())
    document["samples"][1].update(weight=2.5, split="val")
    document["samples"].append({"sample": "s0.npz", "accepted": False})
    path.write_text(json.dumps(document))
    data = load_demonstrations(settings(path))
    # 3, 4 and 5 steps; worlds 0, 0, 1
    assert data.trajectory_ids.tolist() == [0] * 3 + [1] * 4 + [2] * 5
    assert data.groups.tolist() == [0, 0, 1]
    assert data.weights.tolist() == [1.0] * 3 + [2.5] * 4 + [1.0] * 5
    assert data.splits == ("", "val", "")
    assert data.warnings == ("1 entries are not accepted and left out",)


def test_every_bad_file_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, 4)
    (tmp_path / "s0.npz").write_bytes(b"")
    (tmp_path / "s2.npz").unlink()
    with pytest.raises(UserError) as caught:
        load_demonstrations(settings(path))
    assert ["s0.npz" in p or "s2.npz" in p for p in caught.value.problems] == [True, True]
    with pytest.raises(UserError) as again:
        build_replay_dataset(settings(path, streaming=True))
    assert again.value.problems == caught.value.problems


@pytest.mark.parametrize("load", [load_demonstrations, build_replay_dataset])
def test_files_that_did_not_change_are_not_read_again(
    load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = reads_of(monkeypatch)
    path = write_manifest(tmp_path, 2)
    first = load(settings(path))
    assert read == ["s0.npz", "s1.npz"]
    assert load(settings(path)) is first
    assert read == ["s0.npz", "s1.npz"]
    # One step more in the second: every file is read again, and the new step is there.
    save_trajectory(make_trajectory(5, seed=1, group="world_0"), tmp_path / "s1")
    path.write_text(json.dumps(["s0.npz", "s1.npz"]))
    changed = load(settings(path))
    assert read == ["s0.npz", "s1.npz"] * 2
    assert (first.digest != changed.digest, load(settings(path)) is changed) == (True, True)
    # A sidecar counts too: here the groups of the trajectories hang on it.
    sidecar = tmp_path / "s0.json"
    sidecar.write_text(sidecar.read_text().replace("world_0", "world_7"))
    assert load(settings(path)) is not changed
    assert read == ["s0.npz", "s1.npz"] * 3


def test_a_failed_load_is_not_remembered(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, 2)
    whole = (tmp_path / "s1.npz").read_bytes()
    (tmp_path / "s1.npz").write_bytes(b"")
    for _ in range(2):
        with pytest.raises(UserError, match=r"s1\.npz"):
            load_demonstrations(settings(path))
    (tmp_path / "s1.npz").write_bytes(whole)
    assert len(load_demonstrations(settings(path))) == 3 + 4


def test_a_missing_manifest() -> None:
    with pytest.raises(UserError, match=r"nowhere\.json: no such manifest"):
        load_demonstrations(settings(Path("nowhere.json")))


def test_mixed_specs_are_no_demonstrations_but_can_be_replayed(tmp_path: Path, rng) -> None:
    path = write_manifest(tmp_path, 2)
    write_raw(tmp_path / "wide", make_arrays(features=5), make_sidecar(5))
    path.write_text(json.dumps(["s0.npz", "s1.npz", "wide.npz"]))
    with pytest.raises(UserError, match=r"wide\.npz: features: expected 3, got 5"):
        load_demonstrations(settings(path))
    summary = run_replay_dataset(settings(path), rng=rng)
    assert [bucket["feature_dim"] for bucket in summary.buckets] == [3, 3, 5]


def test_data_made_for_another_policy_are_refused(tmp_path: Path) -> None:
    spec = capture().lane_spec
    path = save_capture(capture(), tmp_path)
    for data in (load_demonstrations(settings(path)), build_replay_dataset(settings(path))):
        check_against(spec, data)
        check_against(replace(spec, env_id="another/name"), data)
        other = replace(
            spec, feature_names=(*spec.feature_names, "more"), action_names=spec.action_names[:2]
        )
        with pytest.raises(UserError) as caught:
            check_against(other, data)
        features, actions = caught.value.problems
        assert features.startswith("dataset 'demonstrator' does not fit environment test/signal")
        assert "expected 5, got 4 (missing ['more']" in features
        assert "actions: expected ['wait', 'answer_1'], got ['wait'" in actions
    assert "in 8 trajectories, first rollout_sample_0000.npz" in features


def test_replay_says_what_a_dataset_holds(tmp_path: Path, rng) -> None:
    path = write_manifest(tmp_path, 4, label="four", warnings=["handle with care"])
    seen: list[dict[str, float]] = []
    summary = run_replay(
        build_replay_dataset(settings(path)), rng=rng, epochs=2, on_batch=seen.append
    )
    assert isinstance(summary, ReplaySummary)
    assert (summary.samples, summary.skipped, summary.transitions) == (4, 0, 3 + 4 + 5 + 6)
    # four lengths, so four buckets of one trajectory, read twice
    assert summary.batches == 8
    assert [b["timesteps"] for b in summary.buckets] == [3, 4, 5, 6]
    assert [s["batch"] for s in summary.batch_summaries] == list(range(8))
    assert [s["epoch"] for s in summary.batch_summaries] == [0] * 4 + [1] * 4
    assert list(summary.batch_summaries) == seen
    assert "conflict.rivalry_max_max" in seen[0]
    assert summary.feature_names == ("hunger", "rivalry_max", "rivalry_avoid_count")
    assert summary.baseline_metrics == {"sample_count": 4}
    assert summary.warnings == ("handle with care",)
    assert summary.manifest == str(path)


def test_replay_of_one_batch(tmp_path: Path) -> None:
    dataset = build_replay_dataset(settings(write_manifest(tmp_path)))
    summary = run_replay_batch(dataset, 2)
    assert (summary["batch"], summary["timesteps"], summary["samples"]) == (2, 5, ["s2.npz"])
    with pytest.raises(UserError, match="batch 4 does not exist; it has 4"):
        run_replay_batch(dataset, 4)


def test_replay_needs_a_batch_and_an_epoch(tmp_path: Path, rng) -> None:
    path = write_manifest(tmp_path)
    with pytest.raises(UserError, match="no bucket fills a batch of 3"):
        run_replay_dataset(settings(path, drop_last=True), rng=rng)
    with pytest.raises(UserError, match="epochs: a replay needs at least 1, got 0"):
        run_replay_dataset(settings(path), rng=rng, epochs=0)


def test_a_capture_is_replayed_from_memory_as_from_disk(tmp_path: Path, rng) -> None:
    original = capture()
    dataset = replay_dataset_from_capture(original, batching())
    in_memory = run_replay(dataset, rng=rng)
    on_disk = run_replay_dataset(settings(save_capture(original, tmp_path)), rng=rng)
    assert in_memory.batch_summaries == on_disk.batch_summaries
    assert in_memory.digest == on_disk.digest
    assert in_memory.baseline_metrics == on_disk.baseline_metrics
    # 8 lanes: the lanes' own sums add up to the capture's
    assert in_memory.baseline_metrics["reward_sum"] == original.metrics["reward_sum"]
    assert in_memory.baseline_metrics["right_total"] == original.metrics["right_total"]
    assert in_memory.transitions == original.actions.size
    assert in_memory.manifest is None
