import math

import numpy as np
import pytest
from scipy import stats

from journeyman.env.protocol import LaneSpec
from journeyman.policies.random import RandomPolicy
from support.signal_env import SignalEnv


def observe(mask: list[list[bool]] | None, lanes: int = 0) -> dict[str, np.ndarray]:
    obs = {"features": np.zeros((len(mask) if mask else lanes, 2), np.float32)}
    return obs if mask is None else {**obs, "action_mask": np.array(mask)}


@pytest.fixture
def policy() -> RandomPolicy:
    return RandomPolicy(SignalEnv().lane_spec)  # four actions


def test_only_allowed_actions_are_drawn_and_each_equally_often(policy: RandomPolicy) -> None:
    lanes = 6000
    obs = observe([[True, False, True, True]] * lanes)
    step = policy.act(obs, np.random.default_rng(0))
    counts = np.bincount(step.actions, minlength=4)
    assert counts[1] == 0
    # 2000 expected each, deviation sqrt(6000 * 1/3 * 2/3) = 36.5: five deviations
    assert np.abs(counts[[0, 2, 3]] - 2000).max() < 183
    # three allowed actions: log(1/3)
    assert step.log_probs == pytest.approx(math.log(1 / 3), abs=1e-6)
    assert step.log_probs.dtype == np.float32
    assert step.actions.dtype == np.int64
    assert np.isnan(step.values).all()


def test_a_forced_lane_has_log_probability_zero(policy: RandomPolicy) -> None:
    step = policy.act(observe([[False, False, True, False]]), np.random.default_rng(0))
    assert step.actions.tolist() == [2]
    assert step.log_probs.tolist() == [0.0]


def test_without_a_mask_every_action_is_open(policy: RandomPolicy) -> None:
    step = policy.act(observe(None, lanes=400), np.random.default_rng(0))
    assert set(step.actions.tolist()) == {0, 1, 2, 3}
    assert step.log_probs == pytest.approx(math.log(1 / 4), abs=1e-6)


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_generator_alone_decides(policy: RandomPolicy, deterministic: bool) -> None:
    obs = observe([[True] * 4] * 50)
    first, again, other = (
        policy.act(obs, np.random.default_rng(seed), deterministic=deterministic).actions
        for seed in (3, 3, 4)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_a_lane_without_any_action_is_named(policy: RandomPolicy) -> None:
    with pytest.raises(ValueError, match="lane 1: the mask allows no action"):
        policy.act(observe([[True] * 4, [False] * 4]), np.random.default_rng(0))


def test_it_says_what_it_is(policy: RandomPolicy) -> None:
    assert policy.label == "random"
    assert policy.is_stub is True


def test_each_component_of_a_multi_discrete_action_is_uniform_over_what_is_allowed() -> None:
    spec = LaneSpec(
        env_id="test",
        feature_names=("x", "y"),
        action_names=("left", "right", "a", "b", "c"),
        action_kind="multi_discrete",
        action_sizes=(2, 3),
        has_action_mask=True,
    )
    lanes = 6000
    player = RandomPolicy(spec)
    step = player.act(observe([[True, True, True, False, True]] * lanes), np.random.default_rng(0))
    assert step.actions.shape == (lanes, 2)
    assert step.actions.dtype == np.int64
    # 6000 lanes over the four pairs that are allowed: 1500 expected each, deviation
    # sqrt(6000 * 1/4 * 3/4) = 33.5, five of them 168
    pairs = np.bincount(3 * step.actions[:, 0] + step.actions[:, 1], minlength=6)
    assert pairs[[1, 4]].tolist() == [0, 0]
    assert np.abs(pairs[[0, 2, 3, 5]] - 1500).max() < 168
    assert step.log_probs == pytest.approx(math.log(1 / 2) + math.log(1 / 2), abs=1e-6)
    free = player.act(observe(None, lanes=9), np.random.default_rng(0))
    assert free.log_probs == pytest.approx(math.log(1 / 2) + math.log(1 / 3), abs=1e-6)
    closed = observe([[True, True, True, True, True], [True, True, False, False, False]])
    with pytest.raises(ValueError, match="lane 1: the mask allows no action"):
        player.act(closed, np.random.default_rng(0))


def test_a_box_action_follows_the_density_it_names() -> None:
    # bounded on both sides, below, above, not at all, and unable to vary
    inf = math.inf
    spec = LaneSpec(
        env_id="test",
        feature_names=("x", "y"),
        action_names=("u", "v", "w", "z", "fixed"),
        action_kind="box",
        action_low=(-1.0, 2.0, -inf, -inf, 0.5),
        action_high=(3.0, inf, -1.0, inf, 0.5),
    )
    step = RandomPolicy(spec).act(observe(None, lanes=4000), np.random.default_rng(0))
    assert step.actions.dtype == np.float32
    assert (step.actions[:, 4] == 0.5).all()
    drawn = [
        stats.uniform(-1.0, 4.0),
        stats.expon(2.0),
        stats.expon(1.0),  # of the negated component
        stats.norm(),
    ]
    columns = step.actions[:, :4].T * [[1.0], [1.0], [-1.0], [1.0]]
    for law, column in zip(drawn, columns, strict=True):
        assert stats.kstest(column, law.cdf).pvalue > 1e-3
    expected = sum(law.logpdf(column) for law, column in zip(drawn, columns, strict=True))
    np.testing.assert_allclose(step.log_probs, expected, atol=1e-5)
