from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from journeyman.data.trajectory import Demonstrations, Trajectory
from journeyman.errors import UserError
from support.signal_env import SignalEnv
from support.trajectories import make_arrays, make_sidecar, make_trajectory


def test_arrays_are_read_only_and_fields_frozen() -> None:
    trajectory = make_trajectory(with_map=True)
    for array in trajectory.arrays().values():
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(FrozenInstanceError):
        trajectory.rewards = trajectory.rewards
    with pytest.raises(TypeError):
        trajectory.metadata["group"] = "other"


MISFITS = {
    "features of float64": ({"features": np.zeros((5, 3))}, "features: dtype float64"),
    "features of one axis": ({"features": np.zeros(5, np.float32)}, r"features: shape \(5,\)"),
    "no step": ({"features": np.zeros((0, 3), np.float32)}, r"features: shape \(0, 3\)"),
    "short rewards": ({"rewards": np.zeros(4, np.float32)}, r"rewards: shape \(4,\)"),
    "long values": ({"value_preds": np.zeros(7, np.float32)}, r"value_preds: shape \(7,\)"),
    "short actions": ({"actions": np.zeros(4, np.int64)}, r"actions: shape \(4,\)"),
    "map of one step": ({"map": np.zeros((2, 3, 3), np.uint8)}, r"map: shape \(2, 3, 3\)"),
    "final map alone": ({"final_map": np.zeros((2, 3, 3), np.uint8)}, "beside no map"),
    "final features": ({"final_features": np.zeros(4, np.float32)}, "final_features: shape"),
    "NaN features": (
        {"features": np.array([[0, 0, 0]] * 2 + [[0, np.nan, 0]] * 3, np.float32)},
        r"features: NaN or infinity in 3 of 15 values, first at \(2, 1\)",
    ),
    "NaN rewards": ({"rewards": np.full(5, np.nan, np.float32)}, "rewards: NaN or infinity in 5"),
    "infinite log-probs": (
        {"old_log_probs": np.full(5, -np.inf, np.float32)},
        "old_log_probs: infinity in 5 of 5",
    ),
    "positive log-probs": ({"old_log_probs": np.ones(5, np.float32)}, "1 is above 0"),
    "dones": ({"dones": np.zeros(5, np.bool_)}, "dones: step 4 is not terminated or truncated"),
    "negative action": ({"actions": np.array([0, 1, -2, 0, 0])}, "actions: -2 is negative"),
    "unknown action": ({"actions": np.array([0, 1, 3, 0, 0])}, "actions: 3 has no name"),
    "narrow mask": ({"action_mask": np.ones((5, 2), np.bool_)}, "2 columns, but 3 action_names"),
    "masked action": (
        {
            "actions": np.array([0, 1, 2, 0, 0]),
            "action_mask": np.array([[True, False, True]] * 5),
        },
        r"masked out in 1 steps, first in step 1 \(action 1\)",
    ),
}


FLOATS, PAIRS = np.zeros((5, 2), np.float32), np.array([[0, 2]] * 5)
PAIR_NAMES = {"action_names": list("vwxyz"), "action_sizes": [2, 3]}
ACTION_MISFITS = {
    "kind": (FLOATS, {"action_kind": "discrete"}, r"'discrete', but actions of float32 .* are box"),
    "no component": (FLOATS[:, :0], {}, "actions: have no component"),
    "flat": (FLOATS[:, 0], {}, r"actions: shape \(5,\), expected 2 dimensions"),
    "NaN": (np.full((5, 2), np.nan, np.float32), {}, "actions: NaN or infinity in 10 of 10"),
    "names": (FLOATS, {"action_names": list("xyz")}, "action_names: 3 names, but 2 are needed"),
    "low": (FLOATS, {"action_low": [0.0]}, r"action_low: must list 2 numbers, .* not \[0.0\]"),
    "high": (FLOATS, {"action_high": [1, "wide"]}, "action_high: must list 2 numbers"),
    "no sizes": (PAIRS, {}, r"action_sizes: actions of shape \(5, 2\) need the choices of each"),
    "one size": (PAIRS, {"action_sizes": [5]}, "action_sizes: 1 for actions of 2 components"),
    "outside": (PAIRS, {"action_sizes": [2, 2]}, r"component 1 is 2 in step 0, outside \[0, 2\)"),
    "few names": (PAIRS, {**PAIR_NAMES, "action_names": ["a"]}, "1 names, but 5 are needed"),
    "scale": (np.zeros(5, np.int64), {"map_scale": 0}, "map_scale: must be a number above 0"),
}


@pytest.mark.parametrize("misfit", ACTION_MISFITS)
def test_actions_that_do_not_fit_their_sidecar_are_named(misfit: str) -> None:
    actions, sidecar, message = ACTION_MISFITS[misfit]
    names = {"feature_names": list("abc"), **sidecar}
    arrays = make_arrays(with_map="map_scale" in sidecar)
    with pytest.raises(UserError, match=message):
        Trajectory(**{**arrays, "actions": actions}, metadata=names)


def test_a_mask_covers_every_component_of_an_action() -> None:
    names = {"feature_names": list("abc"), **PAIR_NAMES}
    arrays = {**make_arrays(), "actions": PAIRS}
    mask = np.ones((5, 5), np.bool_)
    mask[:, 1] = False  # the other choice of the first component
    assert len(Trajectory(**arrays, action_mask=mask, metadata=names)) == 5
    mask[3, 4] = False  # choice 2 of the second component
    with pytest.raises(
        UserError, match=r"masked out in 1 steps, first in step 3 \(action \[0, 2\]"
    ):
        Trajectory(**arrays, action_mask=mask, metadata=names)
    with pytest.raises(UserError, match="action_mask: 4 columns, but 5 choices"):
        Trajectory(**arrays, action_mask=mask[:, :4], metadata=names)
    flowing = {"feature_names": list("abc")}
    with pytest.raises(UserError, match="action_mask: continuous actions have none"):
        Trajectory(**{**arrays, "actions": FLOATS}, action_mask=mask, metadata=flowing)


def test_a_density_may_be_above_one() -> None:
    arrays = {**make_arrays(), "actions": FLOATS, "old_log_probs": np.ones(5, np.float32)}
    assert Trajectory(**arrays, metadata={"feature_names": list("abc")}).log_probs_known


@pytest.mark.parametrize("misfit", MISFITS)
def test_an_array_that_does_not_fit_is_named(misfit: str) -> None:
    arrays, message = MISFITS[misfit]
    with pytest.raises(UserError, match=message):
        Trajectory(**{**make_arrays(), **arrays}, metadata=make_sidecar())


SIDECARS = {
    "too few names": ({"feature_names": ["a", "b"]}, "2 names, but features have 3 columns"),
    "a name twice": ({"feature_names": ["a", "b", "a"]}, r"feature_names: \['a'\] appear more"),
    "no list": ({"action_names": 3}, "action_names: must be a list of names"),
    "map shape": ({"map_shape": [2, 4, 4]}, r"map_shape: \[2, 4, 4\], but map is \[2, 3, 3\]"),
    "map channels": ({"map_channels": ["self"]}, "1 names, but map has 2 channels"),
    "lookup": ({"action_lookup": {"eat": "1"}}, "action_lookup: must map action names to whole"),
    "shared id": ({"action_lookup": {"eat": 1, "chat": 1}}, "two names share an id"),
    "metrics": ({"metrics": [1]}, "metrics: must map names to numbers"),
    "forced": ({"forced_actions": "0"}, "forced_actions: must be a list"),
    "group": ({"group": ["w"]}, "group: must be text"),
}


@pytest.mark.parametrize("misfit", SIDECARS)
def test_a_sidecar_that_does_not_fit_is_named(misfit: str) -> None:
    sidecar, message = SIDECARS[misfit]
    with pytest.raises(UserError, match=message):
        make_trajectory(with_map=True, **sidecar)


def test_all_misfits_are_told_at_once() -> None:
    arrays = make_arrays()
    arrays["rewards"] = np.zeros(2, np.float32)
    arrays["truncated"] = np.zeros(3, np.bool_)
    with pytest.raises(UserError) as caught:
        Trajectory(**arrays, metadata=make_sidecar())
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["rewards", "truncated"]


def test_warnings_say_what_is_meaningless() -> None:
    arrays = make_arrays(4)
    arrays["rewards"] = np.full(4, 0.5, np.float32)
    arrays["actions"] = np.array([0, 7, 0, 0])
    arrays["truncated"] = arrays["dones"] = np.array([True, True, True, False])
    sidecar = {
        "action_lookup": {"wait": 0},
        "variant": "hybrid",
        "metrics": {"loss": float("nan"), "reward_sum": 2},
    }
    trajectory = Trajectory(**arrays, metadata=sidecar)
    text = "\n".join(trajectory.warnings)
    assert "all rewards are the same" in text
    assert "most steps end an episode" in text
    assert "actions [7] have no name" in text
    assert "no feature_names" in text
    assert "town data without ['rivalry_max', 'rivalry_avoid_count']" in text
    assert "metrics ['loss'] are no finite numbers" in text
    assert trajectory.metrics == {"reward_sum": 2.0}
    assert make_trajectory().warnings == ()


def test_unknown_log_probabilities_are_known_to_be_unknown() -> None:
    trajectory = make_trajectory()
    assert trajectory.log_probs_known
    unknown = replace(trajectory, old_log_probs=np.full(5, np.nan, np.float32))
    assert not unknown.log_probs_known


def test_the_digest_is_the_arrays_alone() -> None:
    trajectory = make_trajectory()
    assert trajectory.digest == make_trajectory(group="elsewhere").digest
    nudged = trajectory.rewards.copy()
    nudged[0] += 1
    assert trajectory.digest != replace(trajectory, rewards=nudged).digest


def demonstrations(worlds: int = 4, splits: tuple = ()) -> Demonstrations:
    """Two trajectories of three steps a world; features number the rows."""
    lanes, steps = 2 * worlds, 6 * worlds
    spec = SignalEnv(signals=3).lane_spec
    return Demonstrations(
        features=np.tile(np.arange(steps, dtype=np.float32)[:, None], (1, 4)),
        actions=np.arange(steps) % 2,
        action_mask=np.tile(np.array([[True, True, False, False]]), (steps, 1)),
        weights=np.ones(steps, np.float32),
        trajectory_ids=np.repeat(np.arange(lanes), 3),
        groups=np.arange(lanes) // 2,
        lane_spec=spec,
        label="test",
        splits=splits,
    )


def groups_of(data: Demonstrations, rows: np.ndarray) -> set[int]:
    return set(data.groups[data.trajectory_ids[rows]].tolist())


@pytest.mark.parametrize(
    ("fraction", "held_out_groups"),
    [(0.01, 1), (0.25, 1), (0.5, 2), (0.99, 3)],  # of 4: at least one, never all
)
def test_the_split_is_by_whole_groups(fraction: float, held_out_groups: int) -> None:
    data = demonstrations()
    train, val = data.split(fraction, rng=np.random.default_rng(0))
    assert sorted([*train, *val]) == list(range(24))
    assert not groups_of(data, train) & groups_of(data, val)
    assert len(groups_of(data, val)) == held_out_groups


def test_the_generator_decides_the_split() -> None:
    data = demonstrations(worlds=20)
    first, again, other = (
        data.split(0.2, rng=np.random.default_rng(seed))[1].tolist() for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_a_manifests_held_out_trajectories_are_the_ones_held_out() -> None:
    data = demonstrations(splits=("", "", "val", "val", "", "", "train", "train"))
    train, val = data.split(0.9, rng=np.random.default_rng(0))
    # trajectories 2 and 3 are rows 6 to 11
    assert val.tolist() == list(range(6, 12))
    assert len(train) == 18


def test_trajectories_marked_for_training_are_never_held_out() -> None:
    data = demonstrations(splits=("train", "train", *[""] * 6))
    for seed in range(5):
        train, val = data.split(0.9, rng=np.random.default_rng(seed))
        # 0.9 of 4 groups is 4 (rounded), of which 3 are free
        assert groups_of(data, train) == {0}
        assert groups_of(data, val) == {1, 2, 3}


@pytest.mark.parametrize("splits", [(), ("train", "train"), ("val", "val")])
def test_one_group_cannot_be_split(splits: tuple) -> None:
    with pytest.raises(UserError, match="2 trajectories in 1 groups leave nothing"):
        demonstrations(worlds=1, splits=splits).split(0.2, rng=np.random.default_rng(0))


def test_decisions_are_the_steps_with_a_real_choice() -> None:
    data = demonstrations(worlds=1)
    # SignalEnv forces action 0: a row that allows 0 and 1 is a decision, one of 0 alone is not
    assert data.decisions().all()
    mask = data.action_mask.copy()
    mask[::2, 1] = False
    assert replace(data, action_mask=mask).decisions().tolist() == [False, True] * 3


DEMONSTRATION_MISFITS = {
    "actions": ({"actions": np.full(24, 4)}, r"actions: outside \[0, 4\)"),
    "ids": ({"trajectory_ids": np.full(24, 8)}, r"trajectory_ids: outside \[0, 8\)"),
    "weights": ({"weights": np.zeros(24, np.float32)}, "weights: must be finite"),
    "negative": ({"weights": -np.ones(24, np.float32)}, "weights: must be finite"),
    "features": ({"features": np.zeros((24, 3), np.float32)}, "features: float32"),
    "NaN": ({"features": np.full((24, 4), np.nan, np.float32)}, "features: NaN or infinity"),
    "no mask": ({"action_mask": None}, "has_action_mask=True"),
    "map": ({"map": np.zeros((24, 1, 2, 2), np.uint8)}, "map: the lane spec"),
    "splits": ({"splits": ("val",)}, "splits: 1 for 8 trajectories"),
}


@pytest.mark.parametrize("misfit", DEMONSTRATION_MISFITS)
def test_demonstrations_check_themselves(misfit: str) -> None:
    changes, message = DEMONSTRATION_MISFITS[misfit]
    with pytest.raises(UserError, match=message):
        replace(demonstrations(), **changes)


def test_the_identity_of_demonstrations_is_their_content() -> None:
    data = demonstrations()
    assert data.digest == demonstrations().digest
    assert data.digest == replace(data, label="other").digest
    assert data.digest != replace(data, weights=2 * data.weights).digest
    assert data.digest != replace(data, groups=data.groups[::-1]).digest
