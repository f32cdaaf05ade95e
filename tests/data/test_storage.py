import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from journeyman.data.storage import load_samples, load_trajectory, save_shard, save_trajectory
from journeyman.errors import UserError
from support.trajectories import make_arrays, make_sidecar, make_trajectory, write_raw


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_trajectory(make_trajectory(with_map=True, extra_key=[1, {"a": None}]), tmp_path / "a")
    return tmp_path / "a.npz"


def refusal(path: Path, **how) -> str:
    with pytest.raises(UserError) as caught:
        load_samples(path, **how)
    return "\n".join(caught.value.problems)


def test_what_was_saved_is_loaded(saved: Path) -> None:
    original = make_trajectory(with_map=True, extra_key=[1, {"a": None}])
    loaded = load_trajectory(saved)
    assert loaded.digest == original.digest
    assert loaded.metadata["extra_key"] == [1, {"a": None}]
    assert loaded.metadata["timesteps"] == 5
    assert loaded.metadata["value_pred_steps"] == 6
    assert loaded.metadata["training_arrays"] == list(original.arrays())
    assert loaded.warnings == ()


def test_the_files_are_plain_numpy_and_json(saved: Path) -> None:
    with np.load(saved, allow_pickle=False) as archive:
        assert archive["features"].shape == (5, 3)
        assert archive["actions"].dtype == np.int64
    sidecar = json.loads(saved.with_suffix(".json").read_text())
    assert sidecar["feature_names"] == ["hunger", "rivalry_max", "rivalry_avoid_count"]
    assert [path.name for path in sorted(saved.parent.iterdir())] == ["a.json", "a.npz"]


def test_the_same_trajectory_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    original = make_trajectory(with_map=True, extra_key=[1, {"a": None}])
    first = save_trajectory(original, tmp_path / "b")
    assert first == save_trajectory(original, tmp_path / "c")
    assert saved.read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_shard_is_read_as_the_trajectories_it_was_made_of(tmp_path: Path) -> None:
    originals = [
        make_trajectory(seed=i, agent_id=f"agent_{i}", group="w0", metrics={"reward_sum": i})
        for i in range(3)
    ]
    sha256 = save_shard(originals, tmp_path / "shard")
    loaded = load_samples(tmp_path / "shard.npz", sha256=sha256)
    assert [t.digest for t in loaded] == [t.digest for t in originals]
    for i, trajectory in enumerate(loaded):
        assert trajectory.metadata["agent_id"] == f"agent_{i}"
        assert trajectory.metadata["group"] == "w0"
        assert trajectory.metrics == {"reward_sum": i}
    with pytest.raises(UserError, match="a shard of 3 trajectories"):
        load_trajectory(tmp_path / "shard.npz")


def test_shards_hold_trajectories_of_one_shape_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same shape"):
        save_shard([make_trajectory(4), make_trajectory(5)], tmp_path / "shard")
    with pytest.raises(ValueError, match="same arrays"):
        save_shard([make_trajectory(), make_trajectory(with_map=True)], tmp_path / "shard")


def test_a_bad_lane_of_a_shard_is_named(tmp_path: Path) -> None:
    save_shard([make_trajectory(seed=i) for i in range(3)], tmp_path / "shard")
    with np.load(tmp_path / "shard.npz") as archive:
        arrays = dict(archive)
    arrays["features"][1, 2, 0] = np.nan
    sidecar = json.loads((tmp_path / "shard.json").read_text())
    path = write_raw(tmp_path / "shard", arrays, {**sidecar, "sha256": None})
    assert refusal(path).startswith(f"{path}: lane 1: features: NaN")
    write_raw(tmp_path / "shard", arrays, {**sidecar, "sha256": None, "lanes": [{}]})
    assert "features: shape (3, 5, 3), but the sidecar lists 1 lanes" in refusal(path)
    write_raw(tmp_path / "shard", arrays, {**sidecar, "sha256": None, "lanes": 3})
    assert "must list its lanes" in refusal(path)


# --- older captures ---


def old_arrays(steps: int = 4) -> dict[str, np.ndarray]:
    arrays = make_arrays(steps)
    del arrays["terminated"], arrays["truncated"]
    arrays["old_log_probs"] = np.zeros(steps, np.float32)
    return arrays


def test_an_old_capture_loads_and_says_what_it_lacks(tmp_path: Path) -> None:
    sidecar = {"feature_names": ["a", "b", "c"], "action_lookup": {}, "action_dim": 1}
    trajectory = load_trajectory(write_raw(tmp_path / "old", old_arrays(), sidecar))
    assert trajectory.terminated.tolist() == [False, False, False, True]
    assert not trajectory.truncated.any()
    assert trajectory.metadata["terminated_from"] == "dones"
    assert np.isnan(trajectory.old_log_probs).all()
    assert not trajectory.log_probs_known
    text = "\n".join(trajectory.warnings)
    assert "only dones are recorded" in text
    assert "log-probabilities are all 0" in text
    assert "have no name in the sidecar" in text
    assert trajectory.known_actions == {}


def test_an_old_captures_known_log_probabilities_stay(tmp_path: Path) -> None:
    arrays = old_arrays()
    arrays["old_log_probs"][0] = -0.5
    trajectory = load_trajectory(write_raw(tmp_path / "old", arrays, make_sidecar()))
    assert trajectory.old_log_probs.tolist() == [-0.5, 0.0, 0.0, 0.0]


def test_zero_log_probabilities_of_a_new_file_are_certainty(tmp_path: Path) -> None:
    arrays = make_arrays()
    arrays["old_log_probs"][:] = 0.0
    trajectory = load_trajectory(write_raw(tmp_path / "new", arrays, make_sidecar()))
    assert trajectory.log_probs_known


def test_a_single_step_without_its_time_axis(tmp_path: Path) -> None:
    arrays = {**old_arrays(1), "map": np.zeros((4, 11, 11), np.float32)}
    arrays["features"] = arrays["features"][0]
    trajectory = load_trajectory(write_raw(tmp_path / "one", arrays, make_sidecar()))
    assert trajectory.features.shape == (1, 3)
    assert trajectory.map is not None
    assert trajectory.map.shape == (1, 4, 11, 11)


def test_other_number_types_are_taken_where_nothing_is_lost(tmp_path: Path) -> None:
    arrays = make_arrays()
    expected = make_trajectory().digest
    arrays["actions"] = arrays["actions"].astype(np.int32)
    arrays["rewards"] = arrays["rewards"].astype(np.float64)
    arrays["dones"] = arrays["dones"].astype(np.uint8)
    path = write_raw(tmp_path / "types", arrays, make_sidecar())
    assert load_trajectory(path).digest == expected
    arrays["dones"] = arrays["dones"] * 2
    write_raw(tmp_path / "types", arrays, make_sidecar())
    assert "dones: dtype uint8, expected bool" in refusal(path)
    arrays = {**make_arrays(), "rewards": np.array([0, 1, 2, 3, 1e300])}
    write_raw(tmp_path / "types", arrays, make_sidecar())
    assert "rewards: NaN or infinity in 1 of 5 values, first at (4,)" in refusal(path)


def test_continuous_actions_load(tmp_path: Path) -> None:
    arrays = {**make_arrays(), "actions": np.zeros((5, 2), np.float64)}
    sidecar = {"feature_names": ["a", "b", "c"]}
    trajectory = load_trajectory(write_raw(tmp_path / "box", arrays, sidecar))
    assert trajectory.actions.shape == (5, 2)
    assert trajectory.actions.dtype == np.float32


# --- what is no trajectory ---


def test_a_missing_file_and_a_missing_sidecar(tmp_path: Path, saved: Path) -> None:
    assert (
        refusal(tmp_path / "no.npz")
        == f"{tmp_path / 'no.npz'}: cannot be read (No such file or directory)"
    )
    saved.with_suffix(".json").unlink()
    assert "no such sidecar" in refusal(saved)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\xff", "[1]"])
def test_a_sidecar_that_is_no_json_object(saved: Path, text: str) -> None:
    saved.with_suffix(".json").write_bytes(text.encode("latin-1"))
    assert str(saved.with_suffix(".json")) in refusal(saved)


def without_checksum(saved: Path) -> None:
    sidecar = json.loads(saved.with_suffix(".json").read_text())
    del sidecar["sha256"]
    saved.with_suffix(".json").write_text(json.dumps(sidecar))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file(saved: Path, share: float) -> None:
    without_checksum(saved)
    payload = saved.read_bytes()
    saved.write_bytes(payload[: int(len(payload) * share)])
    assert f"{saved}: not a readable npz file, cut short or damaged" in refusal(saved)


def test_damage_anywhere_is_noticed_or_harmless(saved: Path) -> None:
    without_checksum(saved)
    payload = saved.read_bytes()
    expected = load_trajectory(saved).digest
    noticed = 0
    for position in range(0, len(payload), 5):
        damaged = bytearray(payload)
        damaged[position] ^= 0xFF
        saved.write_bytes(damaged)
        try:
            # a byte of a timestamp or a file name's flags may not matter; a number's does
            assert load_trajectory(saved).digest == expected
        except UserError:
            noticed += 1
    assert noticed > 300  # of 505 positions


def test_an_array_the_sidecar_lists_must_be_there(saved: Path) -> None:
    without_checksum(saved)
    with np.load(saved) as archive:
        arrays = {
            name: archive[name] for name in archive if name not in ("terminated", "truncated")
        }
    np.savez(saved, **arrays)
    # without them the file would pass for an old capture
    assert "array 'terminated' is missing, the sidecar lists it" in refusal(saved)


def test_text_is_no_npz(saved: Path) -> None:
    without_checksum(saved)
    saved.write_text("hello")
    assert "not a readable npz file" in refusal(saved)


class Trap:
    """Unpickling this would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["actions", "infos"])
def test_pickled_arrays_are_refused_by_name_and_never_run(tmp_path: Path, name: str) -> None:
    arrays = {**make_arrays(), name: np.array([Trap(tmp_path / "sprung")] * 5, dtype=object)}
    path = write_raw(tmp_path / "pickled", arrays, make_sidecar())
    assert (
        refusal(path) == f"{path}: array {name!r} is a pickled object array; pickles are never read"
    )
    assert not (tmp_path / "sprung").exists()


def test_an_array_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "bomb", make_arrays(), make_sidecar())
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
    header += b" " * (117 - len(header)) + b"\n"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("huge.npy", b"\x93NUMPY\x01\x00" + bytes([118, 0]) + header)
    assert "array 'huge' claims shape (1000000000000,), more than the file holds" in refusal(path)


@pytest.mark.parametrize("name", ["features", "actions", "rewards", "old_log_probs", "dones"])
def test_a_missing_array_is_named(tmp_path: Path, name: str) -> None:
    arrays = make_arrays()
    del arrays[name]
    path = write_raw(tmp_path / "part", arrays, make_sidecar())
    assert f"{path}: array {name!r} is missing" in refusal(path)


def test_only_one_of_terminated_and_truncated_is_too_little(tmp_path: Path) -> None:
    arrays = make_arrays()
    del arrays["truncated"]
    path = write_raw(tmp_path / "part", arrays, make_sidecar())
    assert refusal(path) == f"{path}: array 'truncated' is missing"


def test_every_misfit_of_a_file_is_told_with_its_path(tmp_path: Path) -> None:
    arrays = make_arrays()
    arrays["rewards"], arrays["dones"] = arrays["rewards"][:3], arrays["dones"][:2]
    path = write_raw(tmp_path / "misfit", arrays, make_sidecar())
    with pytest.raises(UserError) as caught:
        load_trajectory(path)
    assert len(caught.value.problems) == 2
    assert all(problem.startswith(f"{path}: ") for problem in caught.value.problems)


def test_a_wrong_checksum(saved: Path) -> None:
    assert "the manifest says 000000000000..." in refusal(saved, sha256="0" * 64)
    with saved.open("ab") as stream:
        stream.write(b"\0")
    assert "the sidecar says" in refusal(saved)
