"""The town under Gymnasium: its id, its checks, its wrappers, and what importing it costs."""

import os
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils import env_checker
from gymnasium.utils.passive_env_checker import check_action_space, check_observation_space
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers.vector import NormalizeReward, RecordEpisodeStatistics

import journeyman.env.town.registration
from journeyman.errors import UserError

ENV_ID = "journeyman/Town-v0"
VARIANTS = ["hybrid", "full", "compact"]


def make(**options):
    return gymnasium.make_vec(ENV_ID, **{"num_envs": 16, **options})


@pytest.mark.parametrize("variant", VARIANTS)
def test_gymnasiums_checks_pass(variant):
    env = make(vectorization_mode="vector_entry_point", observation={"variant": variant})
    assert env.num_envs == 16
    assert isinstance(env.metadata["autoreset_mode"], AutoresetMode)
    for space in (env.single_observation_space, env.observation_space):
        check_observation_space(space)
        env_checker.check_space_limit(space, "observation")
    check_action_space(env.single_action_space)
    env_checker.check_space_limit(env.action_space, "action")
    assert env.observation_space == batch_space(env.single_observation_space, 16)
    assert env.action_space == batch_space(env.single_action_space, 16)
    env_checker.check_seed_deprecation(env)
    env_checker.check_reset_return_info_deprecation(env)
    env_checker.check_reset_return_type(env)
    env_checker.check_reset_options(env)
    env.close()
    env.close()


def test_reset_and_step_keep_gymnasiums_contracts():
    env = make(episode_ticks=6)
    env.action_space.seed(0)
    obs, info = env.reset(seed=0)
    assert isinstance(info, dict)
    for tick in range(1, 14):
        assert obs in env.observation_space
        for name, array in obs.items():
            assert array.dtype == env.observation_space[name].dtype
        obs, rewards, terminated, truncated, info = env.step(env.action_space.sample())
        assert rewards.shape == terminated.shape == truncated.shape == (16,)
        assert np.issubdtype(rewards.dtype, np.floating)
        assert terminated.dtype == truncated.dtype == np.bool_
        assert truncated.all() == (tick % 6 == 0)
        np.testing.assert_array_equal(info["_final_obs"], terminated | truncated)
        assert info["final_obs"] in env.observation_space


def rollout(env, seed):
    env.action_space.seed(3)
    seen = [env.reset(seed=seed)]
    for _ in range(20):
        seen.append(env.step(env.action_space.sample()))
    return seen


def test_a_seed_gives_the_same_play_and_another_does_not():
    first, again, other = (rollout(make(), seed) for seed in (1, 1, 2))
    assert env_checker.data_equivalence(first, again, exact=True)
    assert not env_checker.data_equivalence(first, other, exact=True)


def test_nothing_handed_over_is_written_to_again():
    env = make(episode_ticks=4)
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    calls, copies = [obs], [{key: array.copy() for key, array in obs.items()}]
    for _ in range(6):
        obs, *_, info = env.step(env.action_space.sample())
        for given in (obs, info["final_obs"]):
            calls.append(given)
            copies.append({key: array.copy() for key, array in given.items()})
    assert env_checker.data_equivalence(calls, copies, exact=True)
    arrays = [id(array) for given in calls for array in given.values()]
    assert len(set(arrays)) == len(arrays)


def test_gymnasiums_wrappers_work_on_it():
    env = RecordEpisodeStatistics(NormalizeReward(make(episode_ticks=5)))
    env.reset(seed=0)
    for _ in range(5):
        *_, info = env.step(np.zeros(16, np.int64))
    assert list(info["episode"]["l"]) == [5] * 16


def test_overrides_are_those_of_the_settings():
    env = make(
        num_envs=6,
        scenario="queue_conflict",
        social_stage="C2",
        copy=False,
        needs={"respawn": 0.4},
        **{"observation.personality": False},
    )
    assert env.unwrapped.settings.scenario == "queue_conflict"
    assert env.unwrapped.settings.needs.respawn == 0.4
    assert env.unwrapped.settings.needs.hunger_decay == 0.0025  # the rest is as shipped
    assert env.unwrapped.social_stage == "C2"
    assert env.single_observation_space["features"].shape == (106,)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"num_envs": 12}, "multiple of 8 .got 12."),
        ({"num_envs": 0}, "multiple of 8"),
        ({"agentz": 3}, "env.agentz: there is no such setting"),
        (
            {"objects": {"sofa": 1}},
            "env.objects.sofa: there is no such setting .allowed fridge, stove, shower, bed.",
        ),
        ({"observation": {"variant": "blurred"}}, "env.observation.variant: .*'blurred'"),
        ({"grid": 2}, "env.grid: .*got 2"),
        ({"needs.respawn": 7}, "env.needs.respawn: "),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(options, reason):
    with pytest.raises(UserError, match=reason):
        make(**options)


def test_an_unknown_render_mode_is_refused():
    with pytest.raises(ValueError, match="'hologram' is unknown"):
        make(render_mode="hologram")


def run(script, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_no_import_is_needed_where_the_id_names_the_module():
    name = f"{journeyman.env.town.registration.__name__}:{ENV_ID}"
    script = f"import gymnasium; print(gymnasium.make_vec({name!r}, num_envs=8).num_envs)"
    assert run(script) == ["8"]


def test_after_gymnasium_the_package_registers_itself_and_loads_no_compiler():
    script = (
        "import sys, gymnasium, journeyman.env.town;"
        f"print({ENV_ID!r} in gymnasium.registry, 'numba' in sys.modules);"
        f"print(gymnasium.make_vec({ENV_ID!r}, num_envs=8).num_envs)"
    )
    assert run(script) == ["True", "False", "8"]


def test_before_gymnasium_it_takes_the_registration_module():
    script = (
        "import journeyman.env.town, gymnasium;"
        f"print({ENV_ID!r} in gymnasium.registry);"
        "import journeyman.env.town.registration;"
        f"print(gymnasium.make_vec({ENV_ID!r}, num_envs=8).num_envs)"
    )
    assert run(script) == ["False", "8"]


def test_the_package_alone_loads_nothing_heavy():
    script = (
        "import sys, journeyman, journeyman.env.town;"
        "heavy = {'numba', 'gymnasium', 'pettingzoo', 'PIL', 'torch', 'mlflow', 'numpy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert run(script) == ["[]"]


def test_drawing_is_loaded_with_the_first_picture():
    script = (
        "import sys, journeyman.env.town.vector_env, journeyman.strategies.evaluate;"
        "print('PIL' in sys.modules)"
    )
    assert run(script) == ["False"]


def test_a_second_process_compiles_nothing():
    script = (
        "import time; from journeyman.env.town.registration import make_vector_env;"
        "from journeyman.env.town.tick import run_serial;"
        "env = make_vector_env(8); began = time.process_time(); env.reset(seed=0);"
        "spent = time.process_time() - began;"
        "print(sum(run_serial.stats.cache_misses.values()), spent)"
    )
    run(script)
    misses, seconds = run(script)
    assert misses == "0"
    assert float(seconds) < 1.0
