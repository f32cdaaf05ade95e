"""A Gymnasium environment taken up again goes on bit for bit, or says why it cannot."""

import numpy as np
import pytest

from journeyman.env.gymnasium import GymnasiumEnv
from journeyman.errors import UserError
from support.gym_envs import env_id
from support.gym_play import Make, play, same

WAYS = [
    ("CartPole-v1", "sync"),
    ("CartPole-v1", "async"),
    ("CartPole-v1", "vector_entry_point"),
    ("Acrobot-v1", "auto"),
    ("Pendulum-v1", "sync"),
    ("MountainCarContinuous-v0", "async"),
    ("FrozenLake-v1", "sync"),
    (env_id("Counter"), "async"),
    (env_id("NextStep"), "vector_entry_point"),
    (env_id("SameStep"), "vector_entry_point"),
    (env_id("Disabled"), "vector_entry_point"),
]


@pytest.mark.parametrize(("id_", "way"), WAYS)
def test_a_restored_state_goes_on_bit_for_bit(make_gymnasium: Make, id_: str, way: str) -> None:
    env = make_gymnasium(id_, lanes=3, vectorization=way)
    env.reset(seed=5)
    play(env, 70)  # more rows than the log begins with
    saved = {name: array.copy() for name, array in env.state().items()}
    seen = {k: v.copy() for k, v in env.step(_zeros(env))[0].items()}
    expected = play(env, 30, seed=1)

    other = make_gymnasium(id_, lanes=3, vectorization=way)
    for one in (env, other):  # back to an earlier moment, and in a new process's place
        one.restore(saved)
        assert {name: array.tolist() for name, array in one.state().items()} == {
            name: array.tolist() for name, array in saved.items()
        }
        now = one.step(_zeros(one))[0]
        assert all(np.array_equal(now[name], seen[name]) for name in seen)
        assert same(play(one, 30, seed=1), expected)


def _zeros(env: GymnasiumEnv) -> np.ndarray:
    return np.zeros((env.num_envs, *env.lane_spec.action_shape), env.lane_spec.action_dtype)


def test_restore_shows_what_was_seen(make_gymnasium: Make) -> None:
    env = make_gymnasium(env_id("Motley"))
    env.reset(seed=0)
    obs = env.step(np.array([0, 2]))[0]
    kept = {name: array.copy() for name, array in obs.items()}
    state = env.state()
    env.step(np.array([1, 1]))
    again = env.restore(state)
    assert kept.keys() == again.keys() == {"features", "map", "action_mask"}
    assert all(np.array_equal(kept[name], again[name]) for name in kept)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_an_environment_that_no_seed_reaches_is_not_resumed(make_gymnasium: Make, way: str) -> None:
    env = make_gymnasium(env_id("Unseeded"), vectorization=way)
    env.reset(seed=0)
    play(env, 2)
    with pytest.raises(UserError, match=r"not deterministic given its seed.*Unseeded-v0: lane 0"):
        env.restore(env.state())


def test_an_episode_that_ends_elsewhere_is_not_resumed(make_gymnasium: Make) -> None:
    short, long = (make_gymnasium(env_id("Reach"), max_episode_steps=limit) for limit in (3, 9))
    long.reset(seed=0)
    play(long, 5)
    with pytest.raises(UserError, match="step 3 of its episode 0: the episode ends here"):
        short.restore(long.state())
