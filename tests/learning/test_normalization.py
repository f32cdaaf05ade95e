import numpy as np
import pytest

from journeyman.learning.normalization import (
    FeatureNormalizer,
    Normalizer,
    RewardNormalizer,
    RunningMoments,
)
from journeyman.policies.numpy_actor_critic import Whitening


def test_running_moments_equal_those_of_all_rows_at_once():
    rows = np.random.default_rng(0).normal(3.0, 2.0, (100, 4))
    moments = RunningMoments(4)
    for part in np.split(rows, [1, 30, 31, 77]):
        moments.update(part)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(moments.squares / moments.count, rows.var(axis=0), atol=1e-12)


def test_moments_survive_as_arrays():
    moments = RunningMoments(2)
    moments.update(np.array([[1.0, 2.0], [3.0, 5.0]]))
    again = RunningMoments.from_arrays(moments.arrays("feature"), "feature")
    again.update(np.array([[7.0, 7.0]]))
    moments.update(np.array([[7.0, 7.0]]))
    assert again.mean.tolist() == moments.mean.tolist()
    assert again.squares.tolist() == moments.squares.tolist()
    assert RunningMoments.from_arrays({}, "feature") is None


def test_whitening_freezes_what_the_normalizer_learned():
    normalizer = FeatureNormalizer(RunningMoments(1))
    normalizer.learn(np.array([[0.0], [4.0]], np.float32))
    # Mean 2, deviation 2: 6 is (6 - 2) / 2 = 2 deviations up; 1000 is kept within 10.
    rows = np.array([[6.0], [1000.0]], np.float32)
    np.testing.assert_allclose(normalizer(rows)[:, 0], [2.0, 10.0], atol=1e-5)
    frozen = Whitening.from_part(normalizer.moments.arrays("feature"))
    assert frozen(rows).tobytes() == normalizer(rows).tobytes()
    assert frozen(rows).dtype == np.float32
    assert normalizer.moments.count == 2.0
    assert Whitening.from_part({"return_count": np.array([3.0])}) is None


def test_rewards_are_divided_by_the_deviation_of_the_discounted_return():
    # gamma .5, rewards (2, -2), then (2, 2), no end: returns (2, -2), then (3, 1).
    # Of 2, -2, 3, 1: mean 1, variance ((1 + 9 + 4 + 0) / 4) = 3.5.
    normalizer = RewardNormalizer(RunningMoments(1), np.zeros(2), 0.5)
    nobody = np.zeros(2, np.bool_)
    normalizer(np.array([2.0, -2.0], np.float32), nobody)
    scaled = normalizer(np.array([2.0, 2.0], np.float32), nobody)
    np.testing.assert_allclose(scaled, 2.0 / np.sqrt(3.5), rtol=1e-5)
    normalizer(np.zeros(2, np.float32), np.array([True, False]))
    assert normalizer.returns_L.tolist() == [0.0, pytest.approx(0.5)]


def test_idle_lanes_leave_the_statistics_alone():
    # As above without the idle lanes: gamma .5; lane 1 idles in the second step, and its running
    # return waits at -2. Of 2, -2, 3: mean 1, variance (1 + 9 + 4) / 3.
    normalizer = RewardNormalizer(RunningMoments(1), np.zeros(2), 0.5)
    nobody = np.zeros(2, np.bool_)
    normalizer(np.array([2.0, -2.0], np.float32), nobody)
    idle = np.array([False, True])
    scaled = normalizer(np.array([2.0, 0.0], np.float32), nobody, idle)
    np.testing.assert_allclose(scaled, [2.0 / np.sqrt(14.0 / 3.0), 0.0], rtol=1e-5)
    assert normalizer.returns_L.tolist() == [3.0, -2.0]
    assert normalizer.moments.count == 3.0


def test_what_was_learned_too_early_is_taken_back():
    rows = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    normalizer, expected = (FeatureNormalizer(RunningMoments(2)) for _ in range(2))
    for found in (normalizer, expected):
        found.learn(rows[:2])
    before = normalizer.moments.copy()
    normalizer.learn(rows[2:])
    normalizer.relearn(before, rows[3:5])
    expected.learn(rows[3:5])
    for name, array in expected.moments.arrays("feature").items():
        assert normalizer.moments.arrays("feature")[name].tobytes() == array.tobytes()
    assert normalizer(rows).tobytes() == expected(rows).tobytes()


def test_no_rows_change_nothing():
    moments = RunningMoments(2)
    moments.update(np.zeros((0, 2)))
    assert (moments.count, moments.mean.tolist()) == (0.0, [0.0, 0.0])


def test_what_is_off_holds_nothing():
    off = Normalizer.start(
        {}, width=3, lanes=2, gamma=0.9, normalize_features=False, normalize_rewards=False
    )
    assert (off.features, off.rewards, off.arrays()) == (None, None, {})
