"""Gymnasium environments as lanes: ends, seeds, spaces, wrappers, pictures."""

from pathlib import Path

import numpy as np
import pytest

from journeyman.data.storage import load_trajectory
from journeyman.env.build import event_names, lane_spec, make_env
from journeyman.env.gymnasium import GymnasiumEnv, gymnasium_lane_spec
from journeyman.errors import UserError
from journeyman.policies.random import RandomPolicy
from journeyman.services.rollout import capture_rollout, save_capture
from support.gym_envs import env_id
from support.gym_play import Make, play, same, settings_of


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_lane_that_ends_begins_anew_in_the_same_step(make_gymnasium: Make, way: str) -> None:
    env = make_gymnasium(env_id("Counter"), vectorization=way)
    obs, _ = env.reset(seed=3)
    drawn = obs["features"][:, 1].copy()
    ended = np.zeros(2, np.int64)
    steps = np.zeros(2, np.int64)
    for _ in range(40):
        obs, rewards, terminated, truncated, info = env.step(np.array([0, 1]))
        steps += 1
        # Counter: 10 times the action plus the steps made in the episode.
        assert rewards.tolist() == [steps[0], 10 + steps[1]]
        assert np.array_equal(info["_final_obs"], terminated)
        assert np.array_equal(info["world_over"], terminated)
        assert np.array_equal(info["reward_terms"][:, 0], rewards)
        assert info["events"].shape == (2, 0)
        assert "idle" not in info
        assert not truncated.any()
        for lane in range(2):
            if terminated[lane]:
                assert info["final_obs"]["features"][lane].tolist() == [steps[lane], drawn[lane]]
                steps[lane] = 0
                ended[lane] += 1
            new = obs["features"][lane, 1] != drawn[lane]
            assert new == terminated[lane], "the drawn number changes with the episode alone"
            assert obs["features"][lane, 0] == steps[lane]
        drawn = obs["features"][:, 1].copy()
    assert (ended >= 40 // 6).all()


def test_what_step_hands_over_holds_until_the_second_next_step(make_gymnasium: Make) -> None:
    env = make_gymnasium(env_id("Counter"))
    env.reset(seed=0)
    first = env.step(np.array([0, 0]))
    kept = first[0]["features"].copy(), first[1].copy()
    env.step(np.array([1, 1]))
    assert np.array_equal(first[0]["features"], kept[0])
    assert np.array_equal(first[1], kept[1])


@pytest.mark.parametrize("id_", ["CartPole-v1", "Acrobot-v1", "Pendulum-v1"])
def test_sync_and_async_play_the_same(make_gymnasium: Make, id_: str) -> None:
    shown = []
    for way in ("sync", "async"):
        env = make_gymnasium(id_, vectorization=way, max_episode_steps=12)
        env.reset(seed=8)
        shown.append(play(env, 40))
    assert same(*shown)
    assert sum(step["truncated"].sum() for step in shown[0]) >= 2


def test_a_world_depends_on_its_seed_alone(make_gymnasium: Make) -> None:
    """From an int: on it and the world's number; from a list: on the world's own."""
    few, many = (
        make_gymnasium(env_id("Counter"), lanes=2),
        make_gymnasium(env_id("Counter"), lanes=5),
    )
    for seeds in (4, [7, 9]):
        few.reset(seed=seeds)
        many.reset(seed=seeds if isinstance(seeds, int) else [*seeds, 1, 2, 3])
        for _ in range(30):
            a = few.step(np.zeros(2, np.int64))[0]["features"]
            b = many.step(np.zeros(5, np.int64))[0]["features"]
            assert np.array_equal(a, b[:2])
    many.reset(seed=[9, 7, 7, 0, 0])
    seen = many.step(np.zeros(5, np.int64))[0]["features"]
    assert np.array_equal(seen[1], seen[2])
    assert not np.array_equal(seen[0], seen[1])


def test_reset_without_a_seed_goes_on(make_gymnasium: Make) -> None:
    env = make_gymnasium(env_id("Counter"))
    with pytest.raises(ValueError, match="first reset needs a seed"):
        env.reset()
    began = [env.reset(seed=1)[0]["features"][:, 1].copy()]
    began += [env.reset()[0]["features"][:, 1].copy() for _ in range(2)]
    assert len({tuple(one) for one in began}) == 3
    again = env.reset(seed=1)[0]["features"][:, 1]
    assert np.array_equal(again, began[0])
    with pytest.raises(ValueError, match="3 seeds for 2 worlds"):
        env.reset(seed=[1, 2, 3])


def test_everything_that_can_be_flattened(make_gymnasium: Make) -> None:
    for way in ("sync", "async"):
        env = make_gymnasium(env_id("Motley"), vectorization=way)
        spec = env.lane_spec
        assert spec.feature_names == (
            *("bits.0", "bits.1", "hand.0=0", "hand.0=1", "hand.1=0", "hand.1=1", "hand.1=2"),
            *("pair.0", "pair.1=0", "pair.1=1", "suit=5", "suit=6", "suit=7"),
        )
        assert (spec.map_shape, spec.map_scale) == ((3, 4, 6), pytest.approx(1 / 255))
        assert spec.action_names == ("action_10", "action_11", "action_12")
        env.reset(seed=0)
        obs = env.step(np.array([0, 2]))[0]
        row = [1, 0, 0, 1, 0, 0, 1, 0.5, 0, 1, 0, 1, 0]  # after one step, see Motley
        assert obs["features"].tolist() == [row, row]
        assert obs["map"][0, :, 0, 0].tolist() == [1, 20, 30]
        assert obs["action_mask"].tolist() == [[False, True, True], [True, True, False]]
        for _ in range(4):  # truncated at 5 steps
            obs, _, terminated, truncated, info = env.step(obs["action_mask"].argmax(axis=1))
        assert truncated.all()
        assert not terminated.any()
        assert info["final_obs"]["map"][0, 0, 0, 0] == 5
        assert obs["map"][0, 0, 0, 0] == 0


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_picture_may_be_all_there_is_to_see(
    make_gymnasium: Make, way: str, tmp_path: Path
) -> None:
    """It is played, captured, kept and read back like any other environment."""
    env = make_gymnasium(env_id("Picture"), vectorization=way)
    assert env.lane_spec.feature_names == ()
    random = RandomPolicy(env.lane_spec)
    capture = capture_rollout(env, random, ticks=9, seed=0, rng=np.random.default_rng(0))
    assert capture.features.shape == (2, 9, 0)
    manifest = save_capture(capture, tmp_path)
    again = load_trajectory(manifest.with_name("rollout_sample_0001.npz"))
    # The lane's steps, pictured: 0 at the beginning of each episode.
    assert np.array_equal(again.map, capture.map[1])
    assert again.features.shape == (9, 0)
    assert again.map[1, 0, 0, 0] == 1


def test_a_mask_in_the_info(make_gymnasium: Make) -> None:
    for way in ("sync", "async"):
        env = make_gymnasium(env_id("Masked"), vectorization=way, max_episode_steps=4)
        assert (env.lane_spec.action_kind, env.lane_spec.action_sizes) == ("multi_discrete", (2, 3))
        obs, _ = env.reset(seed=0)
        assert obs["action_mask"].tolist() == [[True, False, False, True, False]] * 2
        for _ in range(4):
            obs, _, _, truncated, _ = env.step(np.array([[0, 1], [0, 1]]))
        assert truncated.all()


def test_box_actions_are_clipped_and_arrive_in_their_own_shape(make_gymnasium: Make) -> None:
    env = make_gymnasium(env_id("Reach"))
    assert env.lane_spec.feature_names == ("obs_0_0", "obs_1_0")
    env.reset(seed=0)
    seen = env.step(np.array([[9.0, 9.0], [-9.0, -9.0]], np.float32))[0]["features"]
    assert seen.tolist() == [[0.5, 9.0], [-1.0, -9.0]]


def test_frame_limit_truncates(make_gymnasium: Make) -> None:
    env = make_gymnasium(env_id("Counter"), max_episode_steps=2)
    env.reset(seed=0)
    _, _, terminated, truncated, _ = env.step(np.array([0, 0]))
    assert not truncated.any()
    _, _, terminated, truncated, _ = env.step(np.array([0, 0]))
    assert truncated.all()
    assert not terminated.any()
    native = make_gymnasium("CartPole-v1", vectorization="vector_entry_point", max_episode_steps=2)
    native.reset(seed=0)
    assert [bool(step["truncated"].all()) for step in play(native, 3)] == [False, True, False]


def test_wrappers_and_arguments_by_name(make_gymnasium: Make) -> None:
    env = make_gymnasium(
        env_id("Counter"),
        kwargs={"trouble": "array reward", "when": 2},
        wrappers=[
            "Doubled",
            {"name": "Doubled", "kwargs": {"factor": 5}},
            {"name": "FrameStackObservation", "kwargs": {"stack_size": 2}},
        ],
    )
    assert env.lane_spec.feature_names == ("obs_0_0", "obs_0_1", "obs_1_0", "obs_1_1")
    env.reset(seed=0)
    env.step(np.array([0, 0]))
    obs, rewards, *_ = env.step(np.array([0, 0]))
    assert rewards.tolist() == [20.0, 20.0]  # 2 steps, doubled, times 5
    assert obs["features"][:, [0, 2]].tolist() == [[1, 2], [1, 2]]


def test_lists_in_the_arguments_of_wrappers_are_tuples(make_gymnasium: Make) -> None:
    wrapper = {"name": "ReshapeObservation", "kwargs": {"shape": [2, 2]}}
    env = make_gymnasium("CartPole-v1", wrappers=[wrapper])
    assert env.lane_spec.feature_names == ("obs_0_0", "obs_0_1", "obs_1_0", "obs_1_1")


@pytest.mark.parametrize("way", ["sync", "async"])
def test_pictures_come_from_a_twin(make_gymnasium: Make, way: str) -> None:
    """Of the world's episode as it is now, whenever it is asked, in any order."""
    env = make_gymnasium(env_id("Painter"), vectorization=way)
    obs, _ = env.reset(seed=[1, 2])
    for step in range(20):
        for world in (0, 1, 1) if step % 3 == 0 else (step % 2,):
            steps, drawn = obs["features"][world]
            picture = env.render_world(world)
            assert picture.shape == (4, 6, 3)
            assert picture[0, 0].tolist() == [steps, int(255 * drawn), 0]
        obs, *_ = env.step(np.array([1, 0]))
    seen = env.restore(env.state())["features"][0]
    assert env.render_world(0)[0, 0, 0] == seen[0]


def test_what_draws_no_pictures_says_so(make_gymnasium: Make) -> None:
    env = make_gymnasium(env_id("Counter"))
    env.reset(seed=0)
    with pytest.raises(UserError, match="draws no pictures"):
        env.render_world(0)
    torn = make_gymnasium(env_id("Painter"), kwargs={"canvas": False})
    torn.reset(seed=0)
    with pytest.raises(UserError, match=r"render\(\) failed \(RuntimeError: no canvas"):
        torn.render_world(0)


def test_the_environment_is_built_from_its_settings() -> None:
    settings = settings_of("CartPole-v1", demonstrator="cartpole")
    env = make_env(settings, num_worlds=3)
    assert isinstance(env, GymnasiumEnv)
    assert lane_spec(settings) == env.lane_spec == gymnasium_lane_spec(settings)
    assert event_names(settings) == env.event_names == ()
    obs, _ = env.reset(seed=0)
    assert env.demonstrator().act(obs, np.random.default_rng(0)).actions.shape == (3,)
    with pytest.raises(UserError, match=r"no social rewards \(got stage C1"):
        make_env(settings, num_worlds=1, social_stage="C1")
    with pytest.raises(UserError, match="has no demonstrator"):
        make_env(settings_of("CartPole-v1"), num_worlds=1).demonstrator()
