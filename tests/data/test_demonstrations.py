import math

import numpy as np
import pytest

from journeyman.data.demonstrations import common_spec, join, spec_of
from journeyman.data.manifest import Sample
from journeyman.data.trajectory import Trajectory
from journeyman.errors import UserError
from support.trajectories import make_arrays, make_sidecar, make_trajectory


def sample(name: str = "a", *, weight: float = 1.0, split="", **how) -> Sample:
    return Sample(name=name, trajectory=make_trajectory(**how), weight=weight, split=split)


def with_arrays(name: str, sidecar: dict | None = None, **arrays) -> Sample:
    metadata = make_sidecar() if sidecar is None else sidecar
    return Sample(
        name=name, trajectory=Trajectory(**{**make_arrays(), **arrays}, metadata=metadata)
    )


def test_trajectories_of_different_lengths_lie_end_to_end() -> None:
    parts = [
        sample("a", steps=2, weight=0.5, group="w0"),
        sample("b", steps=4, seed=1, group="w1", split="val"),
        sample("c", steps=3, seed=2, group="w0"),
    ]
    data = join(parts, "mine")
    assert len(data) == 9
    assert data.trajectory_ids.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert data.groups.tolist() == [0, 1, 0]
    assert data.weights.tolist() == [0.5, 0.5, 1, 1, 1, 1, 1, 1, 1]
    assert data.splits == ("", "val", "")
    assert (data.features[2:6] == parts[1].trajectory.features).all()
    assert (data.actions[6:] == parts[2].trajectory.actions).all()
    assert data.warnings == ()


def test_unrecorded_worlds_are_said_and_equal_trajectories_stay_together() -> None:
    data = join([sample("a"), sample("b", seed=1), sample("a again")], "mine")
    assert data.groups.tolist() == [0, 1, 0]
    assert any("3 of 3 trajectories do not record their world" in w for w in data.warnings)
    assert data.splits == ()


def test_mixed_feature_counts_are_refused_each_by_name() -> None:
    parts = [sample("a"), sample("b", features=4), sample("c", features=5), sample("d")]
    with pytest.raises(UserError) as caught:
        join(parts, "mine")
    first, second = caught.value.problems
    assert first.startswith("b: features: expected 3, got 4 (missing [], unexpected ['extra_0'])")
    assert second.startswith("c: features: expected 3, got 5")
    assert first.endswith("as in a")


def test_other_differences_are_refused_too() -> None:
    mask = np.ones((5, 3), np.bool_)
    parts = [
        sample("a"),
        sample("renamed", action_names=["wait", "chat", "eat"]),
        sample("mapped", with_map=True),
        with_arrays("masked", action_mask=mask),
        sample("forced", forced_actions=[0]),
        sample("longer", action_names=["wait", "eat", "chat", "sleep"]),
    ]
    with pytest.raises(UserError) as caught:
        join(parts, "mine")
    text = "\n".join(caught.value.problems)
    assert "renamed: action 1 is 'chat', in a it is 'eat'" in text
    assert "mapped: map: expected None" in text
    assert "masked: action_mask: expected False" in text
    assert "forced: forced_actions: expected (), got (0,)" in text
    assert "a: 3 action_names of 4 actions" in text


def test_old_captures_complete_each_others_action_names() -> None:
    actions = np.array([0, 1, 3, 0, 0])
    names = make_sidecar()["feature_names"]
    first = with_arrays(
        "a", {"feature_names": names, "action_lookup": {"wait": 0, "eat": 1}}, actions=actions
    )
    second = with_arrays(
        "b", {"feature_names": names, "action_lookup": {"chat": 2, "wait": 0}}, actions=actions
    )
    third = with_arrays("c", {"feature_names": names, "action_lookup": {}}, actions=actions)
    spec = common_spec([first, second, third])
    assert spec.action_names == ("wait", "eat", "chat", "action_3")
    clash = with_arrays(
        "d", {"feature_names": names, "action_lookup": {"wait": 3}}, actions=actions
    )
    named = with_arrays("e", {"feature_names": names, "action_lookup": {"eat": 3}}, actions=actions)
    with pytest.raises(UserError, match="e: action 3 is 'eat', in d it is 'wait'"):
        common_spec([clash, named])


def test_float_maps_of_whole_numbers_become_bytes() -> None:
    grid = np.full((5, 2, 3, 3), 4.0, np.float32)
    data = join([with_arrays("a", map=grid)], "mine")
    assert data.map is not None
    assert data.map.dtype == np.uint8
    assert (data.map == 4).all()
    assert data.lane_spec.map_channels == ("channel_0", "channel_1")
    for bad in (0.5, -1.0, 300.0):
        with pytest.raises(UserError, match="b: map holds fractions or values outside"):
            join([with_arrays("b", map=np.full_like(grid, bad))], "mine")


def with_actions(name: str, actions: np.ndarray, **sidecar) -> Sample:
    return with_arrays(name, {"feature_names": ["a", "b", "c"], **sidecar}, actions=actions)


def test_continuous_actions_are_demonstrations_too() -> None:
    box = np.arange(10, dtype=np.float32).reshape(5, 2)
    bounds = {"action_low": [-1.0, "-inf"], "action_high": [1, "inf"]}
    data = join([with_actions("a", box, **bounds), with_actions("b", -box, **bounds)], "mine")
    assert data.actions.tolist() == [*box.tolist(), *(-box).tolist()]
    spec = data.lane_spec
    assert (spec.action_kind, spec.action_names) == ("box", ("action_0", "action_1"))
    assert (spec.action_low, spec.action_high) == ((-1.0, -math.inf), (1.0, math.inf))
    # bounds nobody recorded are infinite: not the same lane as one with bounds
    assert spec_of(with_actions("c", box).trajectory).action_low == (-math.inf, -math.inf)
    with pytest.raises(UserError, match=r"c: action space: expected box \[-1.0, -inf\] to"):
        join([with_actions("a", box, **bounds), with_actions("c", box)], "mine")


def test_actions_of_several_choices_are_demonstrations_too() -> None:
    choices = np.array([[0, 2], [1, 0], [1, 1], [0, 0], [0, 2]])
    named = with_actions("a", choices, action_sizes=[2, 3], action_names=list("vwxyz"))
    assert spec_of(named.trajectory).action_names == tuple("vwxyz")
    bare = spec_of(with_actions("b", choices, action_sizes=[2, 3]).trajectory)
    assert bare.action_names == tuple(f"action_{k}" for k in range(5))
    assert (bare.action_kind, bare.action_sizes) == ("multi_discrete", (2, 3))


def test_one_manifest_does_not_mix_kinds_of_actions() -> None:
    choices = np.zeros((5, 2), np.int64)
    parts = [
        with_actions("plain", np.zeros(5, np.int64)),
        with_actions("several", choices, action_sizes=[2, 3]),
        with_actions("flowing", np.zeros((5, 2), np.float32)),
        with_actions("plain too", np.ones(5, np.int64)),
    ]
    with pytest.raises(UserError) as caught:
        join(parts, "mine")
    end = ", but discrete actions in plain; one policy cannot have both"
    assert caught.value.problems == (
        f"several: multi-discrete actions of 2 and 3 choices{end}",
        f"flowing: continuous actions of 2 components{end}",
    )
    other = with_actions("other", choices, action_sizes=[2, 4])
    with pytest.raises(UserError, match="of 2 and 4 choices, but multi-discrete actions of 2 and"):
        join([parts[1], other], "mine")


def test_warnings_are_gathered_once() -> None:
    flat = [
        with_arrays(name, {**make_sidecar(), "group": name}, rewards=np.zeros(5, np.float32))
        for name in "abc"
    ]
    data = join(flat, "mine", ["from the manifest"])
    assert data.warnings[0] == "from the manifest"
    assert data.warnings[1].startswith("3 of 3 trajectories (first a): all rewards are the same")
    assert len(data.warnings) == 2


def test_several_environments_are_said() -> None:
    data = join([sample("a", env_id="x", group="1"), sample("b", env_id="y", group="2")], "mine")
    assert data.warnings == ("trajectories of several environments are mixed: x, y",)
