import math

import numpy as np
import pytest

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
