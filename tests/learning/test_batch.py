"""Legend: B samples."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from journeyman.learning.batch import PracticeBatch, epoch_plan, minibatches
from support.training import ppo_settings


def batch_of(size, *, recorded=0, weights=False):
    """Samples whose features, actions and columns all say their own position."""
    position = torch.arange(size)
    return PracticeBatch(
        features=position.float()[:, None],
        grid=None,
        bias=None,
        actions=position,
        columns=position.float().repeat(5 if weights else 4, 1),
        recorded=recorded,
    )


@given(st.integers(1, 60), st.integers(2, 70), st.integers(0, 2**32))
def test_an_epoch_has_every_sample_once(size, minibatch_size, seed):
    settings = ppo_settings(minibatch_size=minibatch_size)
    batch = batch_of(size)
    order, ends = epoch_plan(batch, settings, np.random.default_rng(seed))
    dealt = list(minibatches(batch, order, ends))
    lengths = [len(part.actions) for part in dealt]
    assert sorted(torch.cat([part.actions for part in dealt]).tolist()) == list(range(size))
    assert all(length == minibatch_size for length in lengths[:-1])
    assert 1 <= lengths[-1] <= minibatch_size
    for part in dealt:
        assert part.features[:, 0].tolist() == part.actions.tolist() == part.columns[3].tolist()


@given(
    st.integers(1, 50),
    st.integers(1, 30),
    st.integers(2, 40),
    st.floats(0.05, 0.95),
    st.integers(0, 2**32),
)
def test_every_minibatch_draws_from_both(fresh, recorded, minibatch_size, share, seed):
    settings = ppo_settings(minibatch_size=minibatch_size, replay_share=share)
    batch = batch_of(fresh + recorded, recorded=recorded)
    order, ends = epoch_plan(batch, settings, np.random.default_rng(seed))
    parts = [part.actions.numpy() for part in minibatches(batch, order, ends)]
    every = np.concatenate(parts)
    assert sorted(every[every < fresh].tolist()) == list(range(fresh))
    counts = np.bincount(every[every >= fresh] - fresh, minlength=recorded)
    assert counts.max() - counts.min() <= 1
    beside = min(max(1, round(minibatch_size * share)), minibatch_size - 1)
    for part in parts:
        assert (part < fresh).any()
        assert (part >= fresh).any()
    for part in parts[:-1]:
        assert len(part) == minibatch_size
        assert (part >= fresh).sum() == beside


def test_the_order_is_fresh_each_epoch_and_comes_from_the_generator():
    settings, batch = ppo_settings(minibatch_size=8), batch_of(32, recorded=10)
    rng = np.random.default_rng(0)
    orders = [epoch_plan(batch, settings, rng)[0].tolist() for _ in range(2)]
    assert orders[0] != orders[1]
    assert epoch_plan(batch, settings, np.random.default_rng(0))[0].tolist() == orders[0]


@pytest.mark.parametrize("guided", [False, True])
def test_recorded_samples_follow_the_fresh_ones(guided):
    fresh, recorded = batch_of(3, weights=guided), replace(batch_of(2), label="diary")
    both = fresh.beside(recorded)
    assert both.actions.tolist() == [0, 1, 2, 0, 1]
    assert (both.recorded, both.label, len(both)) == (2, "rollout and diary", 5)
    # Recorded samples all count where some of the fresh ones do not.
    assert both.columns.shape == (5 if guided else 4, 5)
    assert both.columns[-1].tolist() == ([0, 1, 2, 1, 1] if guided else [0, 1, 2, 0, 1])
