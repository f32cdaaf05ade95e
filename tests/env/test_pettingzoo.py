"""Parallel environments as lanes: leaving and coming agents, seeds, errors, restoring."""

from typing import Any

import numpy as np
import pytest

from journeyman.env.build import lane_spec, make_env
from journeyman.env.pettingzoo import PettingZooEnv
from journeyman.errors import TrainingError, UserError
from journeyman.policies.random import RandomPolicy
from journeyman.settings.external_env import PettingZooSettings


def settings(module: str = "support.relay_env", **changes: Any) -> PettingZooSettings:
    kwargs = {"max_episode_steps": None, "demonstrator": None, "rebuild": False}
    given = {name: changes.pop(name) for name in kwargs if name in changes}
    return PettingZooSettings(
        kind="pettingzoo", module=module, kwargs=changes or None, **{**kwargs, **given}
    )


def relay(worlds: int = 1, **changes: Any) -> PettingZooEnv:
    return PettingZooEnv(settings(**changes), num_worlds=worlds)


def right(obs) -> np.ndarray:
    """The action that earns 1: the number seen, the last of the features."""
    return obs["features"][:, -1].astype(np.int64)


def played(env: PettingZooEnv, steps: int, act=right, seed: Any = 0):
    """Yields (observation before, outcome) of each step."""
    obs, _ = env.reset(seed=seed)
    for _ in range(steps):
        outcome = env.step(act(obs))
        yield obs, outcome
        obs = outcome[0]


def test_lanes_are_the_agents_of_all_worlds():
    env = relay(2)
    assert (env.num_worlds, env.num_envs, env.agents) == (
        2,
        6,
        ("runner_0", "runner_1", "runner_2"),
    )
    spec = env.lane_spec
    assert spec.env_id == "pettingzoo/relay_env"
    assert (spec.feature_names, spec.action_kind) == (("obs_0", "obs_1"), "discrete")
    assert lane_spec(settings()) == spec
    assert isinstance(make_env(settings(), num_worlds=1), PettingZooEnv)


def test_who_leaves_is_idle_until_the_world_begins_anew():
    # lengths 3, 5, 8: runner 0 acts in steps 1-3, runner 1 in 1-5, runner 2 in 1-8. With every
    # number named rightly the rewards are 1 for whoever acts and 0 for whoever is gone.
    env = relay()
    steps = list(played(env, 16))
    for number, (_, (obs, rewards, terminated, truncated, info)) in enumerate(steps):
        t = number % 8 + 1
        there = np.array([t <= 3, t <= 5, t <= 8])
        np.testing.assert_array_equal(rewards, there.astype(np.float32))
        np.testing.assert_array_equal(terminated, [t == 3, t == 5, False])
        np.testing.assert_array_equal(truncated, [False, False, t == 8])
        np.testing.assert_array_equal(info["_final_obs"], terminated | truncated)
        np.testing.assert_array_equal(info["world_over"], [t == 8])
        if there.all():
            assert "idle" not in info
        else:
            np.testing.assert_array_equal(info["idle"], ~there)
        # who ended sees its last observation, at time t; who is gone sees zeros
        np.testing.assert_allclose(info["final_obs"]["features"][terminated | truncated, 0], t / 10)
        if t < 8:
            gone = np.array([t >= 3, t >= 5, False])
            assert (obs["features"][gone] == 0).all()
            np.testing.assert_allclose(obs["features"][~gone, 0], t / 10)
        else:
            assert (obs["features"][:, 0] == 0).all()  # time 0 of the next episode


def test_who_comes_later_is_idle_until_then():
    # Runner 1 comes after step 2, so that it acts in steps 3 to 5.
    env = relay(arrivals=[0, 2, 0])
    idle = [outcome[4].get("idle", np.zeros(3, np.bool_)) for _, outcome in played(env, 8)]
    np.testing.assert_array_equal(
        np.array(idle)[:, 1], [True, True, False, False, False, True, True, True]
    )
    rewards = sum(outcome[1] for _, outcome in played(env, 8))
    np.testing.assert_array_equal(rewards, [3, 3, 8])


def test_a_frame_limit_truncates_whoever_is_there():
    env = relay(max_episode_steps=4)
    *_, (_, (_, _, terminated, truncated, info)) = played(env, 4)
    # Runner 0 left at step 3; runners 1 and 2 would have gone on.
    np.testing.assert_array_equal(terminated, [False, False, False])
    np.testing.assert_array_equal(truncated, [False, True, True])
    assert info["world_over"].all()


def test_who_terminates_at_the_limit_is_not_truncated():
    env = relay(max_episode_steps=3)
    *_, (_, (_, _, terminated, truncated, _)) = played(env, 3)
    np.testing.assert_array_equal(terminated, [True, False, False])
    np.testing.assert_array_equal(truncated, [False, True, True])


def numbers(env: PettingZooEnv, seed: Any, steps: int = 20) -> np.ndarray:
    """(steps, worlds, agents) numbers seen, under fixed actions."""
    seen = [o["features"][:, 1] for o, _ in played(env, steps, lambda o: right(o) * 0, seed)]
    return np.array(seen).reshape(steps, env.num_worlds, 3)


def test_a_worlds_play_depends_on_seed_and_number_alone():
    two, five = numbers(relay(2), 7), numbers(relay(5), 7)
    np.testing.assert_array_equal(two, five[:, :2])
    assert not np.array_equal(five[:, 0], five[:, 1])
    assert not np.array_equal(two, numbers(relay(2), 8))
    # A list names each world's seed, wherever the world stands.
    listed, swapped = numbers(relay(2), [3, 4]), numbers(relay(2), [4, 3])
    np.testing.assert_array_equal(listed, swapped[:, ::-1])


def test_episodes_of_a_world_differ_and_reset_without_a_seed_goes_on():
    env = relay()
    both = numbers(env, 5, 16)
    assert not np.array_equal(both[:8], both[8:])
    third = np.array([o["features"][:, 1] for o, _ in played(env, 8, lambda o: right(o) * 0, None)])
    assert not np.array_equal(third, both[:8, 0])
    np.testing.assert_array_equal(numbers(env, 5, 16), both)


def test_wrong_numbers_of_seeds_and_actions_are_refused():
    env = relay(2)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.zeros(6, np.int64))
    with pytest.raises(ValueError, match="the first reset needs a seed"):
        env.reset()
    with pytest.raises(ValueError, match="3 seeds for 2 worlds"):
        env.reset(seed=[1, 2, 3])
    env.reset(seed=0)
    with pytest.raises(ValueError, match="actions for 6 lanes are needed, got 5"):
        env.step(np.zeros(5, np.int64))
    with pytest.raises(ValueError, match="at least 1"):
        relay(0)


@pytest.mark.parametrize("action", ["discrete", "multi_discrete", "box"])
@pytest.mark.parametrize("steps", [0, 4, 11])
def test_a_restored_environment_goes_on_with_the_same_bits(action, steps):
    rng = np.random.default_rng(1)

    def act(obs):
        if action == "box":
            return rng.normal(size=(6, 2)).astype(np.float32)  # beyond the bounds, at times
        shape = (6, 2) if action == "multi_discrete" else (6,)
        return rng.integers(0, 2, shape)

    env = relay(2, action=action)
    obs, _ = env.reset(seed=3)
    for _ in range(steps):
        obs, *_ = env.step(act(obs))
    state = {name: array.copy() for name, array in env.state().items()}
    other = relay(2, action=action)
    other.reset(seed=99)
    restored = other.restore(state)
    np.testing.assert_array_equal(restored["features"], obs["features"])
    for _ in range(15):
        actions = act(obs)
        ours, theirs = env.step(actions), other.step(actions)
        for mine, copy in zip(ours[:4], theirs[:4], strict=True):
            np.testing.assert_equal(mine, copy)
        np.testing.assert_equal(ours[4], theirs[4])


def test_a_state_of_other_worlds_is_refused():
    env = relay(2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="pettingzoo/relay_env: a state of"):
        relay(3).restore(env.state())


def test_an_environment_that_draws_elsewhere_cannot_be_restored():
    env = relay(trouble="entropy", rebuild=True)
    env.reset(seed=0)

    def restore_often():
        for _ in range(50):  # now and then it draws the same few numbers again
            env.restore(env.state())

    with pytest.raises(UserError, match=r"the same seed and actions .*; draw all chance from the"):
        restore_often()


def test_what_an_environment_carries_over_is_gone_where_it_is_built_anew():
    # Its numbers, of three, depend on how often it has shown itself: 8 times in an episode of 7.
    options = {"trouble": "carry", "lengths": [3, 5, 7]}
    for rebuild in (True, False):
        env = relay(rebuild=rebuild, **options)
        list(played(env, 10))
        if rebuild:
            restored = relay(rebuild=True, **options).restore(env.state())
            np.testing.assert_array_equal(restored["features"], env._last["features"])
        else:
            with pytest.raises(UserError, match=r"set env\.rebuild=true"):
                relay(**options).restore(env.state())


def test_masks_come_from_observations_or_infos():
    for place in ("observation", "info"):
        env = relay(mask_in=place)
        assert env.lane_spec.has_action_mask
        for obs, (*_, info) in played(env, 8):
            idle = info.get("idle", np.zeros(3, np.bool_))
            allowed = np.arange(3) <= obs["features"][:, [-1]]
            np.testing.assert_array_equal(obs["action_mask"][~idle], allowed[~idle])
            assert obs["action_mask"][idle].all()


def test_box_actions_are_clipped():
    # The environment asserts that what it is given lies in its space.
    env = relay(action="box")
    assert (env.lane_spec.action_low, env.lane_spec.action_high) == ((-1.0, -1.0), (1.0, 1.0))
    env.reset(seed=0)
    env.step(np.array([[5.0, -5.0]] * 3, np.float32))


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("raise", "step 2: step failed with RuntimeError: the track is flooded, and it rains$"),
        ("nan", r"world 1, episode 0, step 2: runner_1 got reward nan, which is no finite"),
        ("no_reward", "step 2: runner_1 acted and got no reward"),
        ("flag", "step 2: runner_1 got terminated 1, which is neither True nor False"),
        ("vanish", "step 2: runner_1 left the agents without being terminated or truncated"),
        ("stranger", r"step 2: agents \['spectator'\] are not among possible_agents"),
        ("no_obs", "step 2: runner_1 got no observation"),
        ("shape", r"step 2: runner_1 got an observation that is not of its space: .*\(4,\)"),
        ("nan_obs", "step 2: runner_1 sees a number that is not finite in obs_1"),
    ],
)
def test_trouble_is_named_with_its_place(trouble, said):
    env = relay(2, trouble=trouble)
    env._worlds[0].env.trouble = None
    obs, _ = env.reset(seed=0)
    obs, *_ = env.step(right(obs))
    with pytest.raises(TrainingError, match=f"^pettingzoo/relay_env, .*{said}"):
        env.step(right(obs))


def test_a_mask_that_allows_nothing_is_named():
    env = relay(mask_in="info", trouble="mask")
    obs, _ = env.reset(seed=0)
    obs, *_ = env.step(right(obs))
    with pytest.raises(TrainingError, match="runner_0 may do nothing"):
        env.step(right(obs))


def test_impossible_actions_are_named():
    env = relay(2)
    env.reset(seed=0)
    with pytest.raises(TrainingError, match=r"world 1, .* runner_2 was given an impossible action"):
        env.step(np.array([0, 0, 0, 0, 0, 3]))


def test_agents_must_share_their_spaces():
    with pytest.raises(UserError) as refusal:
        relay(trouble="spaces")
    assert str(refusal.value) == (
        "pettingzoo/relay_env: all agents share one policy, so they need one observation space: "
        "runner_0 has Box(-10.0, 10.0, (2,), float32), runner_1 has Box(-10.0, 10.0, (3,), "
        "float32); give parallel_env a wrapper that pads them to one shape, as "
        "pad_observations_v0 and pad_action_space_v0 of SuperSuit do"
    )


@pytest.mark.parametrize(
    ("module", "changes", "said"),
    [
        (
            "support.gone",
            {},
            r"env.module=support.gone cannot be imported \(ModuleNotFoundError: .*\)$",
        ),
        ("support.relay_emv", {}, r"did you mean support\.relay_env\?"),
        ("support.town", {}, "env.module=support.town defines no parallel_env"),
        ("support.relay_env", {"track": 3}, r"parallel_env\(track=3\) failed with TypeError"),
        ("support.relay_env", {"lengths": []}, "it has no possible_agents"),
    ],
)
def test_what_cannot_be_built_is_refused(module, changes, said):
    with pytest.raises(UserError, match=said):
        lane_spec(settings(module, **changes))


def test_a_file_in_the_working_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "my_relay_of_a_test.py").write_text("from support.relay_env import parallel_env\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in __import__("sys").path if path])
    assert lane_spec(settings("my_relay_of_a_test")).env_id == "pettingzoo/my_relay_of_a_test"


def test_there_are_no_social_rewards_and_no_demonstrator_unless_set():
    env = relay()
    env.set_social_stage("OFF")
    with pytest.raises(UserError, match="no social rewards"):
        env.set_social_stage("C1")
    with pytest.raises(UserError, match=r"set env\.demonstrator to"):
        env.demonstrator()


def test_a_world_is_drawn_as_it_is():
    env = relay(2)
    steps = list(played(env, 4))
    assert len(steps) == 4
    picture = env.render_world(1)
    assert picture.shape == (5, 7, 3)
    assert picture[0, :, 0].tolist() == [255, 255, 0, 0, 0, 0, 0]  # runner 0 left at step 3
    assert picture[1, 0, 0] == 4
    before = picture[2, 1, 0]
    assert before == steps[-1][1][0]["features"][4, 1]  # runner 1 of world 1 sees its number
    _, rewards, *_ = env.step(right(steps[-1][1][0]))
    assert rewards[4] == 1.0
    assert env.render_world(1)[1, 0, 0] == 5


def test_what_cannot_draw_itself_says_so(monkeypatch):
    monkeypatch.setattr("support.relay_env.Relay.metadata", {"render_modes": ["human"]})
    env = relay()
    env.reset(seed=0)
    with pytest.raises(UserError, match=r"its render modes are \['human'\]"):
        env.render_world(0)


def test_closing_closes_every_world():
    env = relay(2)
    env.close()
    assert all(world.env.closed for world in env._worlds)


def test_the_town_is_a_parallel_environment_too():
    kwargs = {"agents": 3, "episode_ticks": 30, "needs.energy_decay": 0.2}
    env = PettingZooEnv(settings("journeyman.env.town", **kwargs), num_worlds=2)
    policy, rng = RandomPolicy(env.lane_spec), np.random.default_rng(0)
    obs, _ = env.reset(seed=0)
    assert (obs["map"].shape, obs["action_mask"].shape) == ((6, *env.lane_spec.map_shape), (6, 9))
    over, idle = 0, 0
    for _ in range(60):
        obs, rewards, *_, info = env.step(policy.act(obs, rng).actions)
        over += int(info["world_over"].sum())
        idle += int(info.get("idle", np.zeros(6)).sum())
        assert (rewards[info.get("idle", np.zeros(6, np.bool_))] == 0).all()
    assert over >= 2
    assert idle > 0  # so fast a decay of energy makes agents faint, and they do not come back


@pytest.mark.parametrize(
    ("module", "kwargs"),
    [
        ("mpe2.simple_spread_v3", {"max_cycles": 10}),
        ("pettingzoo.butterfly.knights_archers_zombies_v11", {"max_cycles": 30}),
    ],
)
def test_environments_of_others(module, kwargs):
    pytest.importorskip(module)
    env = PettingZooEnv(settings(module, rebuild=True, **kwargs), num_worlds=2)
    policy, rng = RandomPolicy(env.lane_spec), np.random.default_rng(0)
    obs, _ = env.reset(seed=0)
    over = 0
    for _ in range(40):
        obs, _, _, _, info = env.step(policy.act(obs, rng).actions)
        over += int(info["world_over"].sum())
    assert over >= 2
    other = PettingZooEnv(settings(module, rebuild=True, **kwargs), num_worlds=2)
    restored = other.restore(env.state())
    np.testing.assert_array_equal(restored["features"], obs["features"])
