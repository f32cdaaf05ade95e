"""Legend: T steps, L lanes."""

import numpy as np
import pytest

from journeyman.learning.gae import generalised_advantages


def column(*values):
    return np.array(values, np.float32)[:, None]


def flags(*values):
    return np.array(values, np.bool_)[:, None]


def test_closed_form_without_an_end():
    # gamma .5, lambda .5; values 1, 2; the state after the last step is worth 4.
    # delta_1 = 3 + .5 * 4 - 2 = 3;          A_1 = 3
    # delta_0 = 1 + .5 * 2 - 1 = 1;          A_0 = 1 + .25 * 3 = 1.75
    found = generalised_advantages(
        column(1, 3),
        column(1, 2),
        column(2, 4),
        flags(0, 0),
        flags(0, 0),
        gamma=0.5,
        gae_lambda=0.5,
    )
    np.testing.assert_allclose(found.advantages[:, 0], [1.75, 3.0], atol=1e-6)
    np.testing.assert_allclose(found.returns[:, 0], [2.75, 5.0], atol=1e-6)


def test_termination_has_no_future_even_if_the_next_value_is_not_a_number():
    # delta_0 = 1 - 1 = 0 and nothing crosses the end; delta_1 = 3 + 2 - 2 = 3 as before.
    found = generalised_advantages(
        column(1, 3),
        column(1, 2),
        column(np.nan, 4),
        flags(1, 0),
        flags(0, 0),
        gamma=0.5,
        gae_lambda=0.5,
    )
    np.testing.assert_allclose(found.advantages[:, 0], [0.0, 3.0], atol=1e-6)


def test_truncation_bootstraps_but_no_advantage_crosses_it():
    # The final observation is worth 6: delta_0 = 1 + .5 * 6 - 1 = 3 and A_0 = delta_0.
    found = generalised_advantages(
        column(1, 3),
        column(1, 2),
        column(6, 4),
        flags(0, 0),
        flags(1, 0),
        gamma=0.5,
        gae_lambda=0.5,
    )
    np.testing.assert_allclose(found.advantages[:, 0], [3.0, 3.0], atol=1e-6)


def test_lambda_one_gives_discounted_returns():
    # gamma .9: R_2 = 3 + .9 * 10 = 12; R_1 = 2 + .9 * 12 = 12.8; R_0 = 1 + .9 * 12.8 = 12.52.
    found = generalised_advantages(
        column(1, 2, 3),
        column(5, 6, 7),
        column(6, 7, 10),
        flags(0, 0, 0),
        flags(0, 0, 0),
        gamma=0.9,
        gae_lambda=1.0,
    )
    np.testing.assert_allclose(found.returns[:, 0], [12.52, 12.8, 12.0], rtol=1e-6)


def test_an_idle_step_has_no_advantage_and_cuts():
    # gamma .5, lambda .5. Step 0 is truncated, its final observation worth 6; step 1 is idle
    # (the lane began anew); 2 and 3 are a new episode; before 5 the lane pauses unannounced.
    # delta_0 = 1 + 3 - 1 = 3 = A_0. A_1 = 0 though the idle row holds NaN.
    # delta_3 = 3 + .5 * 4 - 2 = 3 and step 4 is idle: A_3 = 3;
    # delta_2 = 1 + .5 * 2 - 1 = 1; A_2 = 1 + .25 * 3 = 1.75. A_5 = 2 + .5 * 2 - 1 = 2.
    found = generalised_advantages(
        column(1, np.nan, 1, 3, 100, 2),
        column(1, np.nan, 1, 2, 50, 1),
        column(6, np.nan, 2, 4, 70, 2),
        flags(0, 0, 0, 0, 0, 0),
        flags(1, 0, 0, 0, 0, 0),
        gamma=0.5,
        gae_lambda=0.5,
        idle_TL=flags(0, 1, 0, 0, 1, 0),
    )
    expected = [3.0, 0.0, 1.75, 3.0, 0.0, 2.0]
    np.testing.assert_allclose(found.advantages[:, 0], expected, atol=1e-6)
    real = [0, 2, 3, 5]
    np.testing.assert_allclose(found.returns[real, 0], [4.0, 2.75, 5.0, 3.0], atol=1e-6)


def slow_reference(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """The definition: sum over k of (gamma lambda)^k delta_{t+k} until the first end."""
    steps, lanes = rewards.shape
    advantages = np.zeros((steps, lanes))
    for lane in range(lanes):
        for t in range(steps):
            weight = 1.0
            for k in range(t, steps):
                future = 0.0 if terminated[k, lane] else gamma * next_values[k, lane]
                advantages[t, lane] += weight * (rewards[k, lane] + future - values[k, lane])
                if terminated[k, lane] or truncated[k, lane]:
                    break
                weight *= gamma * gae_lambda
    return advantages


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_definition(seed):
    rng = np.random.default_rng(seed)
    rewards, values, next_values = rng.standard_normal((3, 12, 5)).astype(np.float32)
    terminated, truncated = rng.random((2, 12, 5)) < 0.2
    found = generalised_advantages(
        rewards, values, next_values, terminated, truncated, gamma=0.97, gae_lambda=0.9
    )
    expected = slow_reference(rewards, values, next_values, terminated, truncated, 0.97, 0.9)
    np.testing.assert_allclose(found.advantages, expected, atol=1e-5)
    np.testing.assert_allclose(found.returns, found.advantages + values, atol=1e-6)
    assert found.advantages.dtype == found.returns.dtype == np.float32
