"""The lanes' interface: autoreset, buffers, seeds, masks, saving and restoring."""

import gymnasium
import numba
import numpy as np
import pytest

from journeyman.env.build import lane_spec, make_env
from journeyman.env.town.compiled import worth_threads
from journeyman.env.town.names import EVENT_NAMES
from journeyman.env.town.vector_env import TownVectorEnv
from journeyman.errors import UserError
from support.town import SCARCE, played_bits

WAIT, EAT, COOK, SHOWER, SLEEP, WORK, CHAT, AVOID, RELEASE = range(9)


def masked_random(obs, rng):
    mask = obs["action_mask"]
    return np.argmax(rng.random(mask.shape) * mask, axis=1)


def same(one, other, lanes=slice(None)):
    return all(np.array_equal(one[key][lanes], other[key][lanes]) for key in one)


@pytest.fixture
def small(settings):
    return settings(agents=3, episode_ticks=30, grid=10)


def test_it_is_a_gymnasium_vector_environment_of_the_promised_shapes(settings):
    env = make_env(settings(), num_worlds=3)
    spec = env.lane_spec
    assert env.num_envs == 24
    assert env.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.SAME_STEP
    assert spec == lane_spec(settings())
    assert spec.env_id == "town/neighbourhood"
    assert {"rivalry_max", "rivalry_avoid_count"} <= set(spec.feature_names)
    obs, _ = env.reset(seed=0)
    assert obs in env.observation_space
    assert obs["map"].shape == (24, *spec.map_shape)
    assert obs["features"].shape == (24, len(spec.feature_names))
    obs, rewards, terminated, truncated, info = env.step(np.zeros(24, np.int64))
    assert obs in env.observation_space
    for array in (rewards, terminated, truncated, info["_final_obs"]):
        assert array.shape == (24,)
    assert rewards.dtype == np.float32
    assert info["world_over"].shape == (3,)
    assert info["events"].shape == (24, len(env.event_names))
    assert info["reward_terms"].shape == (24, len(env.reward_term_names))


# What ends in the step -> terminated, truncated, final_obs, all of the lane; world_over.
@pytest.mark.parametrize(
    ("faints", "last_tick", "terminated", "truncated"),
    [
        (False, False, False, False),
        (True, False, True, False),
        (False, True, False, True),
        (True, True, True, True),
    ],
)
def test_what_ends_and_how(small, faints, last_tick, terminated, truncated):
    env = TownVectorEnv(small, num_worlds=2)
    env.reset(seed=0)
    env.town.worlds["tick"][0] = 29 if last_tick else 10
    if faints:
        env.town.agents["hunger"][0, 1] = 0.03
    obs, _, was_terminated, was_truncated, info = env.step(np.zeros(6, np.int64))
    assert list(was_terminated) == [False, terminated, False, False, False, False]
    assert list(was_truncated) == [truncated] * 3 + [False] * 3
    assert list(info["world_over"]) == [last_tick, False]
    np.testing.assert_array_equal(info["_final_obs"], was_terminated | was_truncated)
    progress = env.lane_spec.feature_names.index("episode_progress")
    for lane in np.flatnonzero(info["_final_obs"]):
        ended_at = 1.0 if last_tick else 11 / 30
        assert info["final_obs"]["features"][lane, progress] == pytest.approx(ended_at)
    assert obs["features"][0, progress] == pytest.approx(0.0 if last_tick else 11 / 30)


def test_a_new_episode_is_drawn_from_the_same_stream(small):
    env = TownVectorEnv(small, num_worlds=1)
    first = env.reset(seed=0)[0]["features"].copy()
    for _ in range(30):
        second = env.step(np.zeros(3, np.int64))[0]["features"].copy()
    again = env.reset(seed=0)[0]["features"].copy()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


def test_arrays_hold_until_the_second_next_step(small):
    env = TownVectorEnv(small, num_worlds=2)
    env.reset(seed=0)
    obs, rewards, *_ = env.step(np.full(6, EAT))
    kept = obs["features"].copy(), rewards.copy()
    env.step(np.full(6, WORK))
    np.testing.assert_array_equal(obs["features"], kept[0])
    np.testing.assert_array_equal(rewards, kept[1])
    third = env.step(np.full(6, WORK))[0]
    assert third["features"] is obs["features"]


def test_world_3_of_64_is_world_3_of_4(settings):
    config = settings(**SCARCE)
    large, small = (TownVectorEnv(config, num_worlds=w, social_stage="C3") for w in (64, 4))
    views = [env.reset(seed=7)[0] for env in (large, small)]
    player, rng, events = large.demonstrator(), np.random.default_rng(0), 0.0
    lanes = slice(12, 16)
    for _ in range(300):
        slips = rng.random(large.num_envs) < 0.03
        chosen = np.where(slips, masked_random(views[0], rng), player.act(views[0], rng).actions)
        assert same(views[0], views[1], lanes)
        steps = [env.step(chosen[: env.num_envs]) for env in (large, small)]
        views = [step[0] for step in steps]
        infos = [step[4] for step in steps]
        for ours, theirs in zip(steps[0][1:4], steps[1][1:4], strict=True):
            np.testing.assert_array_equal(ours[lanes], theirs[lanes])
        for key in ("events", "reward_terms", "_final_obs"):
            np.testing.assert_array_equal(infos[0][key][lanes], infos[1][key][lanes])
        ended = 12 + np.flatnonzero(infos[0]["_final_obs"][lanes])
        assert same(infos[0]["final_obs"], infos[1]["final_obs"], ended)
        events = events + infos[0]["events"][lanes].sum(axis=0)
    assert np.count_nonzero(events) >= 12  # in this very world
    for name, array in small.state().items():
        np.testing.assert_array_equal(array[3], large.state()[name][3], err_msg=name)


def test_a_seed_a_world_gives_each_world_its_own(small):
    env = TownVectorEnv(small, num_worlds=2)
    pair = env.reset(seed=[5, 6])[0]["features"].copy()
    swapped = env.reset(seed=[6, 5])[0]["features"].copy()
    np.testing.assert_array_equal(pair[:3], swapped[3:])
    np.testing.assert_array_equal(pair[3:], swapped[:3])
    with pytest.raises(ValueError, match="3 seeds for 2 worlds"):
        env.reset(seed=[1, 2, 3])


def test_reset_without_a_seed_goes_on(small):
    env = TownVectorEnv(small, num_worlds=1)
    first = env.reset(seed=0)[0]["features"].copy()
    after = env.reset()[0]["features"].copy()
    env.reset(seed=0)
    np.testing.assert_array_equal(env.reset()[0]["features"], after)
    assert not np.array_equal(first, after)


SEEDS = tuple(range(100, 164))
ALONE = (4, 29, 63)
"""Worlds that play by themselves as well; what happens to them differs."""


@pytest.fixture(scope="module")
def alone():
    """What worlds that play by themselves come to, each on one thread."""
    return {w: played_bits("hybrid", [SEEDS[w]], ticks=300)[0] for w in ALONE}


@pytest.mark.parametrize("threads", [1, 2])
def test_neither_threads_nor_company_change_a_bit(alone, threads):
    """A world by itself is that world among 64, which 1 or 2 threads share, to every output."""
    if threads > numba.config.NUMBA_NUM_THREADS:
        pytest.skip("this machine has one core")
    before = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        assert worth_threads(64, 4 * 64) is (threads == 2)  # so that threads are made use of
        among = played_bits("hybrid", SEEDS, ticks=300)
    finally:
        numba.set_num_threads(before)
    for w, (kinds, digest) in alone.items():
        assert len(kinds) >= 12, (w, kinds)
        assert among[w] == (kinds, digest), w
    assert set().union(*(kinds for kinds, _ in among)) == set(EVENT_NAMES)
    assert len({digest for _, digest in among}) == 64


def test_a_bit_that_differs_would_be_found(alone, monkeypatch):
    kept = TownVectorEnv.step

    def step(self, actions):
        stepped = kept(self, actions)
        if stepped[4]["_final_obs"].any():  # something that is not part of the state
            stepped[4]["final_obs"]["map"][stepped[4]["_final_obs"]] ^= 1
        return stepped

    monkeypatch.setattr(TownVectorEnv, "step", step)
    (changed,) = played_bits("hybrid", [SEEDS[ALONE[0]]], ticks=300)
    assert changed[0] == alone[ALONE[0]][0]
    assert changed[1] != alone[ALONE[0]][1]


def test_restoring_in_the_middle_of_a_queue_goes_on_bit_for_bit(settings):
    env = TownVectorEnv(settings(scenario="queue_conflict"), num_worlds=3)
    obs, _ = env.reset(seed=1)
    town, rng = env.demonstrator(), np.random.default_rng(0)
    for _ in range(700):
        obs, *_ = env.step(town.act(obs, rng).actions)
        if (env.town.agents["queue"] >= 0).sum() >= 2:
            break
    assert (env.town.agents["queue"] >= 0).sum() >= 2
    saved = env.state()
    seen = {key: array.copy() for key, array in obs.items()}
    plans = [masked_random(obs, rng) for _ in range(100)]
    first = [env.step(plan)[1].copy() for plan in plans]
    last = {key: array.copy() for key, array in env.step(plans[0])[0].items()}
    other = TownVectorEnv(settings(scenario="queue_conflict"), num_worlds=3)
    assert same(other.restore(saved), seen)
    for plan, rewards in zip(plans, first, strict=True):
        np.testing.assert_array_equal(other.step(plan)[1], rewards)
    assert same(other.step(plans[0])[0], last)


def test_another_towns_state_is_refused_and_nothing_changes(settings, small):
    env, other = TownVectorEnv(small, num_worlds=2), TownVectorEnv(settings(), num_worlds=2)
    env.reset(seed=0)
    other.reset(seed=0)
    before = env.state()
    with pytest.raises(ValueError, match="this town has"):
        env.restore(other.state())
    with pytest.raises(ValueError, match="names differ"):
        env.restore({})
    assert all(np.array_equal(before[name], array) for name, array in env.state().items())


def test_the_mask_says_what_is_open(stage):
    town = stage(**{"objects.stove": 0, "objects.shower": 1})
    names = town.env.lane_spec.action_names

    def open_to(agent, obs):
        return {names[action] for action in np.flatnonzero(obs["action_mask"][agent])}

    town.put(0, at=town.object(3))
    town.put(1, at=town.object(3))
    town.put(2, tile=(0, 0))
    obs = town.step()["obs"]
    free = {"wait", "eat", "shower", "sleep", "work", "chat", "avoid"}
    assert open_to(0, obs) == free  # no stove: no cooking
    town.agents["chat_ready"][1] = 100
    town.step(SHOWER)
    obs = town.step(WAIT, SHOWER)["obs"]
    assert open_to(0, obs) == {"wait", "release"}
    assert open_to(1, obs) == {"wait", "release"}
    town.agents["chat_ready"][1] = 0
    town.put(2, at=town.object(3))
    obs = town.step()["obs"]
    assert open_to(1, obs) == {"wait", "release", "chat"}


def test_a_masked_intent_is_carried_out_as_wait(settings):
    envs = [TownVectorEnv(settings(), num_worlds=2) for _ in range(2)]
    views = [env.reset(seed=0)[0] for env in envs]
    rng = np.random.default_rng(0)
    masked = 0
    for _ in range(300):
        actions = rng.integers(0, 9, 16)
        mask = views[0]["action_mask"][np.arange(16), actions]
        masked += int((~mask).sum())
        views = [
            envs[0].step(actions)[0],
            envs[1].step(np.where(mask, actions, WAIT))[0],
        ]
        assert same(*views)
    assert masked > 300  # release alone is masked in every ninth


def test_alone_there_is_nobody_to_chat_with_or_avoid(settings):
    env = TownVectorEnv(settings(agents=1), num_worlds=1)
    obs, _ = env.reset(seed=0)
    assert not obs["action_mask"][0, [CHAT, AVOID]].any()


def test_misuse_is_named(small):
    env = TownVectorEnv(small, num_worlds=2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(6, np.int64))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="must be \\(6,\\)"):
        env.step(np.zeros(5, np.int64))
    with pytest.raises(ValueError, match=r"in \[0, 9\)"):
        env.step(np.full(6, 9))
    with pytest.raises(UserError, match="C9"):
        env.set_social_stage("C9")
    with pytest.raises(ValueError, match="num_worlds"):
        TownVectorEnv(small, num_worlds=0)


def test_the_social_stage_changes_rewards_alone(settings):
    envs = [TownVectorEnv(settings(), num_worlds=2, social_stage=stage) for stage in ("OFF", "C3")]
    views = [env.reset(seed=0)[0] for env in envs]
    rng = np.random.default_rng(0)
    differed = False
    for _ in range(200):
        actions = masked_random(views[0], rng)
        steps = [env.step(actions) for env in envs]
        views = [step[0] for step in steps]
        assert same(*views)
        differed |= not np.array_equal(steps[0][1], steps[1][1])
    assert differed


def test_what_one_sees_does_not_tell_the_coming_action(settings):
    envs = [TownVectorEnv(settings(), num_worlds=1) for _ in range(2)]
    for env in envs:
        env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(50):
        actions = rng.integers(0, 8, 8)
        before = [env.restore(env.state()) for env in envs]
        assert same(*before)
        envs[0].step(actions)
        after = envs[0].restore(envs[0].state())
        last = envs[0].lane_spec.feature_names.index("last_action_wait")
        np.testing.assert_array_equal(
            after["features"][:, last : last + 9].argmax(axis=1),
            envs[0].town.agents["last_action"][0],
        )
        envs[1].restore(envs[0].state())


@pytest.mark.parametrize("bad", [-1, 9, 1 << 40])
def test_an_action_that_does_not_exist_is_refused_and_nothing_happens(small, bad):
    env = TownVectorEnv(small, num_worlds=2)
    env.reset(seed=0)
    before = env.state()
    actions = np.zeros(env.num_envs, np.int64)
    actions[-1] = bad
    with pytest.raises(ValueError, match=r"in \[0, 9\)"):
        env.step(actions)
    for name, array in env.state().items():
        np.testing.assert_array_equal(array, before[name])
