"""Environments vectorised by their own code, in every autoreset mode."""

from typing import Any

import numpy as np
import pytest

from journeyman.errors import UserError
from support.gym_envs import env_id
from support.gym_play import Make, play, same


def test_own_vectorised_code_with_next_step_autoreset_has_idle_steps(make_gymnasium: Make) -> None:
    env = make_gymnasium(env_id("NextStep"), vectorization="vector_entry_point")
    env.reset(seed=0)
    shown = play(env, 8)
    # Episodes last 3 steps; the fourth begins the next: E is the end, i the idle step.
    assert [bool(step["terminated"].all()) for step in shown] == [t == "E" for t in "..Ei..Ei"]
    assert [bool(step["idle"].all()) for step in shown] == [t == "i" for t in "..Ei..Ei"]
    assert (shown[3]["rewards"] == 0).all()
    assert (shown[2]["final.features"][:, 0] == 3).all()
    assert (shown[3]["features"][:, 0] == 0).all()


@pytest.mark.parametrize("name", ["SameStep", "Disabled"])
def test_own_vectorised_code_without_idle_steps(make_gymnasium: Make, name: str) -> None:
    env = make_gymnasium(env_id(name), vectorization="vector_entry_point")
    env.reset(seed=0)
    shown = play(env, 7)
    assert [bool(step["terminated"].all()) for step in shown] == [t == "E" for t in "..E..E."]
    assert not any(step["idle"].any() for step in shown)
    assert (shown[2]["final.features"][:, 0] == 3).all()
    assert (shown[2]["features"][:, 0] == 0).all()


def test_cart_poles_own_code_plays_as_single_ones_do(make_gymnasium: Make) -> None:
    """From the same start, given the same actions, up to the first end."""
    native = make_gymnasium("CartPole-v1", lanes=4, vectorization="vector_entry_point")
    single = make_gymnasium("CartPole-v1", lanes=4)
    single.reset(seed=2)
    native.reset(seed=2)
    assert native.state()["native"]
    starts = [lane.env.unwrapped.state for lane in single._seeded.crew._lanes]  # type: ignore[union-attr]
    native._native._env.state = np.array(starts).T  # type: ignore[union-attr]
    for step in range(60):
        actions = np.full(4, step % 2)
        a, b = single.step(actions), native.step(actions)
        assert np.array_equal(a[2], b[2])
        if a[2].any():
            ends = [one[4]["final_obs"]["features"][a[2]] for one in (a, b)]
            assert np.allclose(*ends, atol=1e-5)
            return
        assert np.allclose(a[0]["features"], b[0]["features"], atol=1e-5)
    pytest.fail("no pole fell")


def test_own_vectorised_code_plays_where_one_seed_is_given(make_gymnasium: Make) -> None:
    """Worlds with a seed each are single environments, so that each depends on its own alone."""
    env, single = make_gymnasium("CartPole-v1", vectorization="auto"), make_gymnasium("CartPole-v1")
    env.reset(seed=1)
    assert env.state()["native"]
    env.reset(seed=[4, 5])
    assert not env.state()["native"]
    single.reset(seed=[4, 5])
    assert same(play(env, 40), play(single, 40))
    native = make_gymnasium("CartPole-v1", vectorization="auto")
    native.reset(seed=1)
    with pytest.raises(UserError, match="saved under vector_entry_point"):
        single.restore(native.state())


@pytest.mark.parametrize(
    ("id_", "changes", "reason"),
    [
        ("Acrobot-v1", {}, "registered without a vector_entry_point"),
        ("CartPole-v1", {"wrappers": ["TimeAwareObservation"]}, "single environments only"),
        (env_id("Secretive"), {}, "its state cannot be saved: secrets is list"),
    ],
)
def test_own_vectorised_code_that_cannot_serve(
    make_gymnasium: Make, id_: str, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        make_gymnasium(id_, vectorization="vector_entry_point", **changes)
    env = make_gymnasium(id_, vectorization="auto", **changes)
    env.reset(seed=0)
    assert not env.state()["native"]
