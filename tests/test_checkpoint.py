"""Checkpoints: the same bits back, never half a file, nothing executed."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from journeyman.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, write_json
from journeyman.errors import UserError
from journeyman.seeding import STREAMS, SeedPlan

DTYPES = st.sampled_from(["<f4", "<f8", "<i2", "<i8", "<u8", "|u1", "|b1"])
ARRAYS = st.dictionaries(
    st.from_regex(r"(policy|env)/[a-z]{1,8}", fullmatch=True),
    DTYPES.flatmap(
        lambda d: hnp.arrays(np.dtype(d), hnp.array_shapes(min_dims=0, max_dims=3, max_side=4))
    ),
    max_size=4,
)


@given(arrays=ARRAYS)
def test_round_trip_keeps_every_bit(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray]
) -> None:
    path = tmp_path_factory.mktemp("checkpoint") / "a.safetensors"
    state = {"generators": SeedPlan(3).state(), "counters": {"env_steps": 5}}
    saved = Checkpoint(arrays, state)
    save_checkpoint(saved, path)
    loaded = load_checkpoint(path)
    assert loaded.state == saved.state
    assert loaded.digest() == saved.digest()
    for name, array in arrays.items():
        assert loaded.arrays[name].dtype == array.dtype
        assert loaded.arrays[name].tobytes() == array.tobytes()


def test_the_digest_covers_arrays_and_generators_but_not_counters() -> None:
    base = Checkpoint(
        {"policy/w": np.zeros(3, np.float32), "env/x": np.ones(2, np.float32)},
        {"generators": SeedPlan(0).state(), "counters": {"env_steps": 1}},
    )
    spent = base.with_parts({}, counters={"env_steps": 99})
    drawn = SeedPlan(0)
    drawn["act"].random()
    nudged = base.with_parts({"policy": {"w": np.array([0, 0, 1e-30], np.float32)}})
    elsewhere = base.with_parts({"env": {"x": np.zeros(2, np.float32)}})
    assert spent.digest() == base.digest()
    assert base.with_parts({}, generators=drawn.state()).digest() != base.digest()
    assert nudged.digest("policy") != base.digest("policy")
    assert elsewhere.digest("policy") == base.digest("policy")
    assert elsewhere.digest() != base.digest()


def test_arrays_are_read_only_copies() -> None:
    weights = np.zeros(2, np.float32)
    checkpoint = Checkpoint({"policy/w": weights})
    weights[0] = 1.0
    assert checkpoint.arrays["policy/w"][0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        checkpoint.arrays["policy/w"][0] = 2.0


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(Checkpoint({"policy/w": np.zeros(2)}), path)
    before = path.read_bytes()

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(Checkpoint({"policy/w": np.ones(2)}), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.safetensors"
    with pytest.raises(UserError, match="no such checkpoint"):
        load_checkpoint(missing)
    damaged = tmp_path / "damaged.safetensors"
    save_checkpoint(Checkpoint({"policy/w": np.zeros(200)}), damaged)
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(UserError, match="not a readable checkpoint"):
        load_checkpoint(damaged)
    from safetensors.numpy import save_file

    foreign = tmp_path / "foreign.safetensors"
    save_file({"w": np.zeros(2)}, foreign)
    with pytest.raises(UserError, match="not written by journeyman"):
        load_checkpoint(foreign)


@pytest.mark.parametrize("bit", [1, 32, 128])  # of letters, their case, and the encoding
def test_no_flipped_bit_is_taken_for_what_was_saved(tmp_path: Path, bit: int) -> None:
    path = tmp_path / "flipped.safetensors"
    saved = Checkpoint({"policy/w": np.arange(3.0), "env/x": np.ones((2, 2), np.int16)}, {"a": 1})
    save_checkpoint(saved, path)
    whole = path.read_bytes()
    refused: list[UserError] = []
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ bit]) + whole[position + 1 :])
        try:
            loaded = load_checkpoint(path)
        except UserError as error:
            refused.append(error)
        else:
            assert (loaded.digest(), loaded.state) == (saved.digest(), saved.state)
    assert len(refused) > 0.9 * len(whole)
    assert all(str(path) in str(error) for error in refused)


def test_a_checkpoint_of_a_version_without_checksums(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "old.safetensors"
    about = json.dumps({"format": 1, "state": {"a": 1}})
    save_file({"policy/w": np.arange(3.0)}, path, metadata={"journeyman": about})
    assert load_checkpoint(path).state == {"a": 1}


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_streams_are_independent_and_restored() -> None:
    one, other = SeedPlan(7), SeedPlan(7)
    one["env"].random(100)
    for name in STREAMS[1:]:
        assert one[name].random() == other[name].random()
    state = one.state()
    drawn = [one[name].random() for name in STREAMS]
    one.restore(state)
    assert [one[name].random() for name in STREAMS] == drawn
    assert len(set(drawn)) == len(STREAMS)


def test_a_streams_integer_does_not_move_it() -> None:
    plan = SeedPlan(7)
    assert plan.integer("env") == plan.integer("env")
    assert plan.integer("env") != plan.integer("init")
    assert plan["env"].random() == SeedPlan(7)["env"].random()
