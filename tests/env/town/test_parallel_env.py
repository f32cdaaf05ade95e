"""One world under PettingZoo: its own tests, and that it is the vector environment's world."""

import warnings

import gymnasium
import numpy as np
import pytest
from pettingzoo.utils.conversions import parallel_to_aec

from journeyman.env.town import parallel_env
from journeyman.env.town.shipped import shipped_settings
from journeyman.env.town.vector_env import TownVectorEnv
from journeyman.errors import UserError

with warnings.catch_warnings():
    # Where pygame is installed, its tests import an environment in the way that it deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import parallel_api_test, parallel_seed_test, render_test

SMALL = {"agents": 3, "grid": 10, "episode_ticks": 60}


@pytest.mark.parametrize("variant", ["hybrid", "full", "compact"])
def test_pettingzoos_api_test_passes(variant):
    parallel_api_test(parallel_env(observation={"variant": variant}, **SMALL), num_cycles=100)


def test_pettingzoos_api_test_passes_where_agents_faint():
    needs = {"start_low": 0.04, "start_high": 0.06}
    parallel_api_test(parallel_env(needs=needs, **SMALL), num_cycles=100)


def test_pettingzoos_seed_test_passes():
    parallel_seed_test(lambda: parallel_env(**SMALL), num_cycles=50)


def test_pettingzoos_render_test_passes(capsys):
    def pictures(*, render_mode):
        return parallel_to_aec(parallel_env(render_mode=render_mode, **SMALL))

    render_test(pictures)
    assert "hunger" in capsys.readouterr().out  # mode "human" prints


def test_it_is_a_world_of_the_vector_environment():
    one, lanes = parallel_env(**SMALL), TownVectorEnv(shipped_settings(**SMALL), num_worlds=2)
    obs, _ = one.reset(seed=3)
    expected, _ = lanes.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(60):
        for a, agent in enumerate(one.possible_agents):
            for key, array in obs[agent].items():
                np.testing.assert_array_equal(array, expected[key][a])
            assert obs[agent] in one.observation_space(agent)
        intents = rng.integers(0, 9, 6)
        obs, rewards, terminated, truncated, infos = one.step(
            {agent: int(intents[a]) for a, agent in enumerate(one.possible_agents)}
        )
        expected, pay, ended, cut, info = lanes.step(intents)
        assert list(rewards.values()) == pay[:3].tolist()
        assert list(terminated.values()) == ended[:3].tolist()
        assert list(truncated.values()) == cut[:3].tolist()
        for agent, told in infos.items():
            assert sum(told["reward_terms"].values()) == pytest.approx(rewards[agent], abs=1e-6)
        if cut[0]:
            expected = info["final_obs"]
    assert all(truncated.values())
    assert one.agents == []
    for a, agent in enumerate(one.possible_agents):
        np.testing.assert_array_equal(obs[agent]["features"], expected["features"][a])


def test_who_faints_leaves_with_the_last_observation_and_the_others_go_on():
    env = parallel_env(**SMALL)
    env.reset(seed=0)
    env.world.town.agents["hunger"][0, 1] = 0.03
    actions = dict.fromkeys(env.agents, 0)
    obs, rewards, terminated, truncated, infos = env.step(actions)
    hunger = env.world.lane_spec.feature_names.index("need_hunger")
    assert env.agents == ["agent_0", "agent_2"]
    assert terminated == {"agent_0": False, "agent_1": True, "agent_2": False}
    assert not any(truncated.values())
    assert obs["agent_1"]["features"][hunger] == pytest.approx(0.0275)
    assert rewards["agent_1"] < -1.0
    assert infos["agent_1"]["events"]["faint"] == 1.0
    assert infos["agent_1"]["reward_terms"]["faint"] == -1.0
    assert env.scripted_actions().keys() == set(env.agents)
    obs, *_ = env.step(dict.fromkeys(env.agents, 0))
    assert obs.keys() == {"agent_0", "agent_2"}
    env.reset()
    assert env.agents == env.possible_agents


def test_the_demonstrator_plays_well():
    returns = {}
    for player in ("scripted", "idle"):
        env = parallel_env(scenario="kitchen_breakfast", episode_ticks=300)
        env.reset(seed=1)
        total = 0.0
        while env.agents:
            actions = env.scripted_actions() if player == "scripted" else {}
            _, rewards, *_ = env.step({agent: actions.get(agent, 0) for agent in env.agents})
            total += sum(rewards.values())
        returns[player] = total
    assert returns["scripted"] > returns["idle"] + 10


def test_misuse_is_named():
    env = parallel_env(**SMALL)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step({})
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"wrong or missing: .'agent_2'"):
        env.step({"agent_0": 0, "agent_1": 0})
    with pytest.raises(ValueError, match=r"in \[0, 9\)"):
        env.step(dict.fromkeys(env.agents, 9))
    with pytest.raises(ValueError, match="'hologram' is unknown"):
        parallel_env(render_mode="hologram")
    with pytest.raises(UserError, match=r"env\.agentz"):
        parallel_env(agentz=3)
    with pytest.raises(UserError, match="C9"):
        parallel_env(social_stage="C9")
