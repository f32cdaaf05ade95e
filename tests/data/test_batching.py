from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from journeyman.data.batching import (
    Bucket,
    baseline_metrics,
    batch_summary,
    plan_batches,
    stack,
)
from support.trajectories import make_trajectory

SHAPES = [
    Bucket.of(make_trajectory(steps, features=features, with_map=with_map))
    for steps, features, with_map in [(2, 3, False), (4, 3, False), (4, 5, False), (4, 3, True)]
]

files_of_buckets = st.lists(
    st.lists(st.sampled_from(SHAPES), min_size=1, max_size=5), min_size=1, max_size=20
)


@given(
    files=files_of_buckets,
    batch_size=st.integers(1, 7),
    seed=st.none() | st.integers(0, 2**32 - 1),
)
def test_every_trajectory_is_in_exactly_one_batch(files, batch_size, seed) -> None:
    rng = None if seed is None else np.random.default_rng(seed)
    plan = plan_batches(files, batch_size=batch_size, drop_last=False, rng=rng)
    refs = [ref for batch in plan for ref in batch]
    everything = [(f, k) for f, buckets in enumerate(files) for k in range(len(buckets))]
    assert sorted(refs) == everything
    assert all(0 < len(batch) <= batch_size for batch in plan)


@given(files=files_of_buckets, batch_size=st.integers(1, 7), seed=st.integers(0, 2**32 - 1))
def test_batches_are_homogeneous_and_files_stay_together(files, batch_size, seed) -> None:
    plan = plan_batches(
        files, batch_size=batch_size, drop_last=False, rng=np.random.default_rng(seed)
    )
    for batch in plan:
        assert len({files[f][k] for f, k in batch}) == 1
    for bucket in SHAPES:
        order = [f for batch in plan for f, k in batch if files[f][k] == bucket]
        runs = [f for i, f in enumerate(order) if i == 0 or order[i - 1] != f]
        assert len(runs) == len(set(runs))


@given(files=files_of_buckets, batch_size=st.integers(1, 7), seed=st.integers(0, 2**32 - 1))
def test_drop_last_leaves_out_only_what_does_not_fill_a_batch(files, batch_size, seed) -> None:
    plan = plan_batches(
        files, batch_size=batch_size, drop_last=True, rng=np.random.default_rng(seed)
    )
    assert all(len(batch) == batch_size for batch in plan)
    flat = [bucket for buckets in files for bucket in buckets]
    assert len(plan) == sum(flat.count(bucket) // batch_size for bucket in SHAPES)
    refs = [ref for batch in plan for ref in batch]
    assert len(set(refs)) == len(refs)


def test_without_a_generator_the_order_is_the_files() -> None:
    a, b = SHAPES[:2]
    plan = plan_batches([[a], [b], [a, a], [b]], batch_size=2, drop_last=False, rng=None)
    assert plan == [((0, 0), (2, 0)), ((2, 1),), ((1, 0), (3, 0))]


def test_shuffling_reaches_files_lanes_and_buckets() -> None:
    files = [[SHAPES[i % 2]] for i in range(40)] + [[SHAPES[0]] * 10]

    def plan(seed: int) -> list:
        rng = np.random.default_rng(seed)
        return plan_batches(files, batch_size=2, drop_last=False, rng=rng)

    assert plan(1) == plan(1)
    assert plan(1) != plan(2)
    order = [ref for batch in plan(1) for ref in batch]
    assert [k for f, k in order if f == 40] != list(range(10))
    lengths = [files[f][k].timesteps for f, k in order]
    switches = sum(a != b for a, b in pairwise(lengths))
    assert switches > 4  # bucket after bucket would switch once


def test_buckets_part_what_cannot_be_stacked_or_means_something_else() -> None:
    first = Bucket.of(make_trajectory())
    assert first == Bucket.of(make_trajectory(seed=3, agent_id="other"))
    assert first != Bucket.of(make_trajectory(6))
    assert first != Bucket.of(make_trajectory(features=4))
    assert first != Bucket.of(make_trajectory(with_map=True))
    assert first != Bucket.of(make_trajectory(feature_names=["x", "y", "z"]))


def test_a_batch_is_its_trajectories_stacked() -> None:
    trajectories = [make_trajectory(with_map=True, seed=i) for i in range(3)]
    batch = stack(trajectories, ["a", "b", "c"])
    assert len(batch) == 3
    assert batch.names == ("a", "b", "c")
    assert batch.features.shape == (3, 5, 3)
    assert batch.map is not None
    assert batch.map.shape == (3, 5, 2, 3, 3)
    assert batch.value_preds.shape == (3, 6)
    assert batch.action_mask is None
    for i, trajectory in enumerate(trajectories):
        assert (batch.features[i] == trajectory.features).all()
        assert (batch.actions[i] == trajectory.actions).all()
    with pytest.raises(ValueError, match="read-only"):
        batch.rewards[0, 0] = 1


@pytest.mark.parametrize("lengths", [(), (4, 5)])
def test_a_batch_of_several_buckets_or_none_is_refused(lengths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"one bucket, got {len(lengths)}"):
        stack([make_trajectory(n) for n in lengths], [str(n) for n in lengths])


def test_the_summary_of_a_batch() -> None:
    batch = stack([make_trajectory(4, seed=i) for i in range(2)], ["a", "b"])
    summary = batch_summary(batch, 7)
    rewards = [float(r) for i in range(2) for r in make_trajectory(4, seed=i).rewards]
    rivalry = [float(f[1]) for i in range(2) for f in make_trajectory(4, seed=i).features]
    assert summary == {
        "batch": 7,
        "batch_size": 2,
        "timesteps": 4,
        "feature_dim": 3,
        "reward_mean": pytest.approx(sum(rewards) / 8),
        "reward_sum": pytest.approx(sum(rewards)),
        "conflict.rivalry_max_mean": pytest.approx(sum(rivalry) / 8),
        "conflict.rivalry_max_max": max(rivalry),
        "conflict.rivalry_avoid_count_mean": summary["conflict.rivalry_avoid_count_mean"],
        "conflict.rivalry_avoid_count_max": summary["conflict.rivalry_avoid_count_max"],
    }


def test_conflict_figures_need_their_features() -> None:
    batch = stack([make_trajectory(feature_names=["x", "y", "z"])], ["a"])
    assert not [name for name in batch_summary(batch, 0) if name.startswith("conflict.")]


def test_baselines_average_and_add_up() -> None:
    pooled = baseline_metrics(
        [
            {"reward_mean": 1.0, "reward_sum": 10.0, "chat_total": 3.0},
            {"reward_mean": 2.0, "reward_sum": 20.0},
        ]
    )
    # means over the samples that have the metric: (1 + 2) / 2, (10 + 20) / 2, 3 / 1
    assert pooled == {
        "sample_count": 2,
        "reward_mean": 1.5,
        "reward_sum": 30.0,
        "reward_sum_mean": 15.0,
        "chat_total": 3.0,
        "chat_total_mean": 3.0,
    }
    assert baseline_metrics([]) == {"sample_count": 0}
