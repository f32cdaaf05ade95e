"""Observation and action spaces: names, layout, and what is refused."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from journeyman.env.action_spaces import SpaceViolationError
from journeyman.env.spaces import first_not_finite, read_spaces, spec_from
from journeyman.errors import UserError

TWO = spaces.Discrete(2)


def read(space: spaces.Space[Any], actions: spaces.Space[Any] = TWO, **info: Any) -> Any:
    return read_spaces("Test-v0", space, actions, info=info)


@pytest.mark.parametrize(
    ("space", "names"),
    [
        (spaces.Box(-1, 1, (2,)), ("obs_0", "obs_1")),
        (spaces.Box(-1, 1, ()), ("obs",)),
        (spaces.Box(-1, 1, (1, 2)), ("obs_0_0", "obs_0_1")),
        (spaces.Box(0, 255, (2,), np.uint8), ("obs_0", "obs_1")),
        (spaces.Discrete(2, start=3), ("state=3", "state=4")),
        (spaces.MultiDiscrete([1, 2]), ("state_0=0", "state_1=0", "state_1=1")),
        (spaces.MultiBinary(2), ("bit_0", "bit_1")),
        (spaces.Tuple((TWO, spaces.Box(0, 1, (1,)))), ("part_0=0", "part_0=1", "part_1.0")),
        (
            spaces.Dict({"b": spaces.Box(0, 1, (1,)), "a": spaces.Dict({"c": TWO})}),
            ("a.c=0", "a.c=1", "b.0"),
        ),
    ],
)
def test_names_of_features(space: spaces.Space[Any], names: tuple[str, ...]) -> None:
    layout, _ = read(space)
    assert layout.feature_names == names
    assert layout.map_shape is None


def test_an_observation_is_written_into_its_row() -> None:
    space = spaces.Dict(
        a=spaces.Discrete(3, start=5),
        m=spaces.MultiDiscrete([[2, 1], [1, 3]]),
        z=spaces.Tuple((spaces.Box(-9, 9, (2,)), spaces.MultiBinary(2))),
    )
    layout, _ = read(space)
    out = layout.buffers(2)
    value = {
        "a": np.int64(6),
        "m": np.array([[1, 0], [0, 2]]),
        "z": (np.array([1.5, -2.0], np.float32), np.array([1, 0], np.int8)),
    }
    layout.write(out, 1, value, {})
    # a: 5 6 7 -> 0 1 0; m: sizes 2 1 1 3, values 1 0 0 2 -> 01 1 1 001; z: as it is.
    assert out["features"][1].tolist() == [0, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1.5, -2, 1, 0]
    assert not out["features"][0].any()


def test_a_batch_is_written_like_its_rows() -> None:
    space = spaces.Dict(
        a=spaces.Discrete(3, start=5),
        b=spaces.Box(0, 1, (2, 2)),
        camera=spaces.Box(0, 255, (3, 4, 1), np.uint8),
        action_mask=spaces.MultiBinary(2),
    )
    layout, _ = read(space)
    space.seed(3)
    rows = [space.sample() for _ in range(4)]
    batch = {name: np.stack([row[name] for row in rows]) for name in space}
    single, whole = layout.buffers(4), layout.buffers(4)
    for lane, row in enumerate(rows):
        layout.write(single, lane, row, {})
    layout.write_batch(whole, batch)
    assert single.keys() == whole.keys() == {"features", "map", "action_mask"}
    for name, array in single.items():
        assert np.array_equal(array, whole[name])
        assert array.any()


@pytest.mark.parametrize(
    ("shape", "map_shape"),
    [
        ((8, 9), (1, 8, 9)),
        ((8, 9, 3), (3, 8, 9)),
        ((4, 8, 9), (4, 8, 9)),
        ((8, 9, 1), (1, 8, 9)),
        ((4, 8, 9, 3), (12, 8, 9)),
    ],
)
def test_pictures_become_the_map(shape: tuple[int, ...], map_shape: tuple[int, ...]) -> None:
    layout, _ = read(spaces.Box(0, 255, shape, np.uint8))
    assert layout.map_shape == map_shape
    assert len(layout.map_channels) == map_shape[0]
    assert layout.map_scale == pytest.approx(1 / 255)
    assert layout.feature_names == ()
    # Number each cell: (h, w) of the first channel must stay in row order.
    picture = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    out = layout.buffers(1)
    layout.write(out, 0, picture, {})
    last = picture[..., 0] if len(shape) >= 3 and shape[0] >= shape[-1] else picture
    first = last[0] if last.ndim == 3 else last
    assert np.array_equal(out["map"][0, 0], first)


def test_a_picture_of_few_shades_is_scaled_by_its_highest() -> None:
    assert read(spaces.Box(0, 10, (7, 7, 3), np.uint8))[0].map_scale == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("space", "value", "message"),
    [
        (spaces.Box(0, 1, (2,)), np.zeros(3), r"has shape \(3,\), its space says \(2,\)"),
        (spaces.Box(0, 1, (2,)), np.float32(0), r"has shape \(\), its space says \(2,\)"),
        (spaces.Box(0, 1, (2,)), np.array(["a", "b"]), "is no number"),
        (spaces.Dict(a=TWO), {"a": 2}, r"a is \[\[?2\]?\], which is outside its space"),
        (spaces.Dict(a=TWO), {"a": -1}, "outside its space"),
        (spaces.Dict(a=TWO), {"a": 0.5}, "no whole number"),
        (spaces.Dict(a=TWO), {"b": 0}, "a is missing"),
        (spaces.MultiBinary(2), np.array([0, 3]), "other than 0 and 1"),
        (spaces.Box(0, 255, (4, 4), np.uint8), np.zeros((4, 4)), "float64, its space says uint8"),
        (spaces.Box(0, 255, (4, 4), np.uint8), np.zeros((4, 5), np.uint8), r"\(4, 5\)"),
    ],
)
def test_what_is_not_of_the_space_is_refused(
    space: spaces.Space[Any], value: Any, message: str
) -> None:
    layout, _ = read(space)
    with pytest.raises(SpaceViolationError, match=message):
        layout.write(layout.buffers(1), 0, value, {})


def test_all_that_cannot_be_used_is_said_at_once() -> None:
    space = spaces.Dict(
        {
            "name": spaces.Text(4),
            "deep": spaces.Tuple((spaces.Sequence(TWO),)),
            "left": spaces.Box(0, 255, (8, 8, 3), np.uint8),
            "right": spaces.Box(0, 255, (8, 8, 3), np.uint8),
        }
    )
    with pytest.raises(UserError) as caught:
        read(space, spaces.MultiBinary(4))
    said = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 4
    assert all(problem.startswith("Test-v0: ") for problem in caught.value.problems)
    assert "action space: MultiBinary cannot be played" in said
    assert "name is Text" in said
    assert "deep.0 is Sequence" in said
    assert "only one picture can be read, it has left, right" in said


@pytest.mark.parametrize(
    ("space", "actions", "message"),
    [
        (spaces.Dict(action_mask=spaces.MultiBinary(3)), TWO, "3 entries, the actions 2 choices"),
        (
            spaces.Dict(action_mask=spaces.MultiBinary(1)),
            spaces.Box(0, 1, (1,)),
            "continuous actions cannot be masked",
        ),
        (spaces.Dict(action_mask=spaces.Discrete(2)), TWO, "must be MultiBinary or Box"),
        (spaces.Dict({"a": spaces.Dict(b=TWO), "a.b": TWO}), TWO, "would be called 'a.b=0'"),
        (TWO, spaces.Box(0, 3, (1,), np.int64), "Box of int64 cannot be played"),
    ],
)
def test_what_does_not_fit_is_refused(
    space: spaces.Space[Any], actions: spaces.Space[Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(space, actions)


def test_a_mask_may_be_in_the_info() -> None:
    actions = spaces.MultiDiscrete([2, 3])
    layout, _ = read(TWO, actions, action_mask=(np.ones(2), np.ones(3)))
    assert layout.mask_from == "info"
    out = layout.buffers(1)
    layout.write(out, 0, 1, {"action_mask": (np.array([0, 1]), np.array([1, 0, 1]))})
    assert out["action_mask"].tolist() == [[False, True, True, False, True]]
    with pytest.raises(SpaceViolationError, match="no action_mask in the info"):
        layout.write(out, 0, 1, {})


def test_actions_of_each_kind() -> None:
    _, discrete = read(TWO, spaces.Discrete(3, start=10))
    assert discrete.names == ("action_10", "action_11", "action_12")
    assert discrete.prepared(np.array([0, 2])).tolist() == [10, 12]

    _, multi = read(TWO, spaces.MultiDiscrete([2, 3], start=[0, 5]))
    assert multi.names == ("action_0.0", "action_0.1", "action_1.5", "action_1.6", "action_1.7")
    assert multi.sizes == (2, 3)
    assert multi.prepared(np.array([[1, 2]])).tolist() == [[1, 7]]

    low, high = np.array([-1.0, -np.inf]), np.array([0.5, np.inf])
    _, box = read(TWO, spaces.Box(low, high, dtype=np.float64))
    assert (box.low, box.high) == ((-1.0, -np.inf), (0.5, np.inf))
    clipped = box.prepared(np.array([[3.0, 3.0], [-3.0, -3.0]], np.float32))
    assert clipped.dtype == np.float64
    assert clipped.tolist() == [[0.5, 3.0], [-1.0, -3.0]]


@pytest.mark.parametrize(
    ("space", "actions", "lane"),
    [
        (TWO, np.array([0, 2]), 1),
        (TWO, np.array([-1, 0]), 0),
        (spaces.MultiDiscrete([2, 3]), np.array([[1, 2], [1, 3]]), 1),
        (spaces.Box(-1, 1, (1,)), np.array([[0.0], [np.nan]], np.float32), 1),
        (spaces.Box(-np.inf, np.inf, (1,)), np.array([[np.inf], [0]], np.float32), 0),
    ],
)
def test_actions_that_do_not_exist(
    space: spaces.Space[Any], actions: np.ndarray, lane: int
) -> None:
    with pytest.raises(SpaceViolationError) as caught:
        read(TWO, space)[1].prepared(actions)
    assert caught.value.lane == lane


@pytest.mark.parametrize("actions", [np.zeros((2, 1), np.int64), np.zeros(2, np.float32)])
def test_actions_of_another_shape_or_kind_are_a_mistake_of_the_caller(actions: np.ndarray) -> None:
    with pytest.raises(ValueError, match="actions must be"):
        read(TWO)[1].prepared(actions)


def test_the_spec_holds_what_a_policy_needs() -> None:
    layout, actions = read(
        spaces.Dict(a=TWO, action_mask=spaces.MultiBinary(5)), spaces.MultiDiscrete([2, 3])
    )
    spec = spec_from("Test-v0", layout, actions)
    assert spec.feature_names == ("a=0", "a=1")
    assert (spec.action_kind, spec.action_sizes, len(spec.action_names)) == (
        "multi_discrete",
        (2, 3),
        5,
    )
    assert spec.has_action_mask
    assert type(spec).from_json(spec.to_json()) == spec


def test_first_not_finite() -> None:
    features = np.full((3, 2), 3e38, np.float32)  # whose sum overflows
    assert first_not_finite(features) is None
    features[2, 1] = -np.inf
    assert first_not_finite(features) == (2, 1)
