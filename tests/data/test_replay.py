import gc
import json
import weakref
from pathlib import Path

import numpy as np
import pytest

import journeyman.data.manifest as manifest_module
from journeyman.data.batching import TrajectoryBatch
from journeyman.data.replay import ReplayDataset
from journeyman.data.storage import save_shard, save_trajectory
from journeyman.errors import UserError
from journeyman.settings.dataset import BatchingSettings
from support.trajectories import make_arrays, make_sidecar, make_trajectory, write_raw


def batching(**changes) -> BatchingSettings:
    plain = {"batch_size": 2, "shuffle": True, "drop_last": False, "streaming": False}
    return BatchingSettings(**{**plain, **changes})


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Eight single files of two lengths, and two shards of three lanes."""
    names = []
    for i in range(8):
        save_trajectory(make_trajectory(4 + i % 2, seed=i), tmp_path / f"s{i}")
        names.append(f"s{i}.npz")
    for i in range(2):
        lanes = [make_trajectory(4, seed=10 + 3 * i + k) for k in range(3)]
        save_shard(lanes, tmp_path / f"shard{i}")
        names.append(f"shard{i}.npz")
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(names))
    return path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files read, as they are read."""
    names: list[str] = []
    really = manifest_module.load_samples

    def watched(path: Path, **how):
        names.append(path.name)
        return really(path, **how)

    monkeypatch.setattr(manifest_module, "load_samples", watched)
    return names


def same(first: TrajectoryBatch, second: TrajectoryBatch) -> bool:
    return first.names == second.names and all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("features", "actions", "rewards", "old_log_probs", "value_preds", "truncated")
    )


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
def test_streaming_yields_the_same_batches_as_memory(
    manifest: Path, shuffle: bool, drop_last: bool
) -> None:
    cached, streamed = (
        ReplayDataset.from_manifest(
            manifest, batching(shuffle=shuffle, drop_last=drop_last, streaming=streaming)
        )
        for streaming in (False, True)
    )
    generators = [np.random.default_rng(5) for _ in range(2)]
    for _ in range(3):
        first, second = (
            list(dataset.epoch(rng=rng))
            for dataset, rng in zip((cached, streamed), generators, strict=True)
        )
        assert len(first) == len(second) == len(cached)
        assert all(same(a, b) for a, b in zip(first, second, strict=True))
    assert cached.digest == streamed.digest


def test_every_epoch_has_an_order_of_its_own(manifest: Path) -> None:
    dataset = ReplayDataset.from_manifest(manifest, batching())
    rng = np.random.default_rng(0)
    orders = [[name for batch in dataset.epoch(rng=rng) for name in batch.names] for _ in range(2)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(s.name for s in dataset.samples)


def test_streaming_opens_each_file_once_an_epoch_and_memory_none(
    manifest: Path, opened: list[str]
) -> None:
    cached = ReplayDataset.from_manifest(manifest, batching(batch_size=3))
    streamed = ReplayDataset.from_manifest(manifest, batching(batch_size=3, streaming=True))
    opened.clear()
    list(cached.epoch(rng=np.random.default_rng(0)))
    assert opened == []
    list(streamed.epoch(rng=np.random.default_rng(0)))
    assert len(opened) == len(set(opened)) == 10


def test_streaming_holds_a_batch_and_open_shards_only(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = ReplayDataset.from_manifest(manifest, batching(streaming=True))
    alive: list[weakref.ref] = []
    really = manifest_module.load_samples

    def watched(path: Path, **how):
        trajectories = really(path, **how)
        alive.extend(weakref.ref(trajectory) for trajectory in trajectories)
        return trajectories

    monkeypatch.setattr(manifest_module, "load_samples", watched)
    most = 0
    for _ in dataset.epoch(rng=np.random.default_rng(0)):
        gc.collect()
        most = max(most, sum(ref() is not None for ref in alive))
    assert len(alive) == 14
    # a batch of 2, whose last may begin a shard of 3: at most 1 + 3, and one shard half done
    assert most <= 6


def test_one_batch_is_read_from_its_own_files(manifest: Path, opened: list[str]) -> None:
    dataset = ReplayDataset.from_manifest(manifest, batching(streaming=True))
    opened.clear()
    batch = dataset.batch(1)
    # unshuffled, the four-step files come first: s0, s2 | s4, s6 | shard0 ...
    assert batch.names == ("s4.npz", "s6.npz")
    assert opened == ["s4.npz", "s6.npz"]
    assert dataset.batch(2).names == ("shard0.npz lane 0", "shard0.npz lane 1")


@pytest.mark.parametrize("index", [-1, 7])
def test_a_batch_that_does_not_exist(manifest: Path, index: int) -> None:
    dataset = ReplayDataset.from_manifest(manifest, batching())
    # 10 trajectories of four steps and 4 of five in batches of 2
    assert len(dataset) == 7
    with pytest.raises(UserError, match=f"batch {index} does not exist; it has 7"):
        dataset.batch(index)


def test_a_file_that_changed_since_it_was_checked(manifest: Path) -> None:
    dataset = ReplayDataset.from_manifest(manifest, batching(streaming=True))
    save_trajectory(make_trajectory(4, seed=99), manifest.parent / "s0")
    with pytest.raises(UserError, match=r"s0\.npz: changed since the dataset was checked"):
        list(dataset.epoch(rng=np.random.default_rng(0)))


def test_shuffling_needs_a_generator(manifest: Path) -> None:
    with pytest.raises(ValueError, match="needs a generator"):
        ReplayDataset.from_manifest(manifest, batching()).epoch()
    unshuffled = ReplayDataset.from_manifest(manifest, batching(shuffle=False))
    assert len(list(unshuffled.epoch())) == 7


def test_old_captures_of_all_sizes_share_a_manifest(tmp_path: Path) -> None:
    """The shapes found in captures of the townlet project."""
    shapes = [(2, 24), (10, 36), (20, 68), (40, 81), (40, 81), (200, 24)]
    for i, (steps, features) in enumerate(shapes):
        arrays = make_arrays(steps, features=features, seed=i)
        del arrays["terminated"], arrays["truncated"]
        arrays["map"] = np.zeros((steps, 4, 11, 11), np.float32)
        arrays["old_log_probs"] = np.zeros(steps, np.float32)
        sidecar = {**make_sidecar(features), "variant": "hybrid", "metrics": {"reward_sum": i}}
        write_raw(tmp_path / f"old{i}", arrays, sidecar)
    path = tmp_path / "m.yaml"
    path.write_text("".join(f"- old{i}.npz\n" for i in range(6)))
    dataset = ReplayDataset.from_manifest(path, batching())
    assert sorted((b.timesteps, n) for b, n in dataset.buckets.items()) == [
        (2, 1),
        (10, 1),
        (20, 1),
        (40, 2),
        (200, 1),
    ]
    assert dataset.transitions == 2 + 10 + 20 + 40 + 40 + 200
    assert dataset.baseline_metrics["reward_sum"] == 0 + 1 + 2 + 3 + 4 + 5
    [dones] = [w for w in dataset.warnings if "only dones" in w]
    assert dones.startswith("6 of 6 trajectories (first old0.npz): ")
    assert any("log-probabilities are all 0" in w for w in dataset.warnings)


def test_trajectories_in_memory() -> None:
    trajectories = [make_trajectory(seed=i) for i in range(3)]
    dataset = ReplayDataset.from_trajectories(
        trajectories, batching(shuffle=False), label="mine", warnings=["careful"]
    )
    batches = list(dataset.epoch())
    assert [len(batch) for batch in batches] == [2, 1]
    assert (batches[1].features[0] == trajectories[2].features).all()
    assert dataset.manifest is None
    assert dataset.warnings == ("careful",)
    with pytest.raises(UserError, match="'none': holds no trajectory"):
        ReplayDataset.from_trajectories([], batching(), label="none")
