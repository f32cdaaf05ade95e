"""What a Gymnasium environment may do wrong, and what is said of it."""

import doctest
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from journeyman import errors
from journeyman.env import async_lanes, lane
from journeyman.env.gymnasium import GymnasiumEnv, gymnasium_lane_spec
from journeyman.env.wrappers import register_wrapper, wrapper_names
from journeyman.errors import TrainingError, UserError
from support.gym_envs import env_id
from support.gym_play import settings_of


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize(
    ("trouble", "what"),
    [
        ("raise", r"the environment failed in step \(RuntimeError: the box is locked: 100%s\)"),
        ("raise in lines", r"RuntimeError: the box is locked by two locks and a bolt\)$"),
        ("nan reward", "reward is nan"),
        ("nan observation", "observation: obs_1 is nan"),
        ("shape", r"observation: the observation has shape \(3,\), its space says \(2,\)"),
        ("scalar", r"has shape \(\), its space says \(2,\)"),
        ("text", "which is no number"),
    ],
)
def test_trouble_in_a_step_is_named(way: str, trouble: str, what: str) -> None:
    """Lane 1 of 2 is left alone, so that lane 0 is the one to be named."""
    settings = settings_of(
        env_id("Counter"), vectorization=way, kwargs={"trouble": trouble, "when": 2}
    )
    env = GymnasiumEnv(settings, num_worlds=2)
    env.reset(seed=0)
    env.step(np.array([0, 0]))
    where = r"^journeyman-test/Counter-v0: lane [01], step 2 of its episode 0: "
    with pytest.raises(TrainingError, match=f"{where}.*{what}") as caught:
        env.step(np.array([0, 0]))
    if way == "sync" and trouble == "raise":
        assert isinstance(caught.value.__cause__, RuntimeError)
    env.close()


def test_a_process_that_ends_is_named_by_its_lanes() -> None:
    """Of three lanes on two cores the last one has a process of its own."""
    settings = settings_of(
        env_id("Counter"), vectorization="async", kwargs={"trouble": "exit", "when": 2}
    )
    env = GymnasiumEnv(settings, num_worlds=3)
    env.reset(seed=0)
    env.step(np.zeros(3, np.int64))
    said = r"^journeyman-test/Counter-v0: the process of lanes? .* ended \(exit code 7\).* in step$"
    with pytest.raises(TrainingError, match=said):
        env.step(np.zeros(3, np.int64))
    with pytest.raises(ResetNeeded, match="after a failure"):
        env.step(np.zeros(3, np.int64))
    env.reset(seed=0)  # by new processes
    env.step(np.zeros(3, np.int64))
    env.close()


@pytest.mark.parametrize("doing", ["step", "reset", "close"])
def test_a_process_that_is_killed_is_named_wherever_that_is_noticed(
    doing: str, caplog: pytest.LogCaptureFixture
) -> None:
    env = GymnasiumEnv(settings_of(env_id("Counter"), vectorization="async"), num_worlds=2)
    env.reset(seed=0)
    processes = env._seeded.crew._env.processes  # type: ignore[union-attr]
    first = processes[0]
    first.kill()
    first.join()
    last = 1 if len(processes) == 1 else 0
    lanes = "lanes 0 to 1" if last else "lane 0"
    said = f"journeyman-test/Counter-v0: the process of {lanes} ended (signal 9) in {doing}"
    if doing == "close":  # all work is done by then: it is said, and spoils nothing
        env.close()
        assert [record.getMessage() for record in caplog.records] == [said]
    else:
        with pytest.raises(TrainingError, match=f"^{re.escape(said)}$"):
            _ = env.step(np.zeros(2, np.int64)) if doing == "step" else env.reset(seed=1)
        env.close()
        assert caplog.records == []
    assert not any(process.is_alive() for process in processes)


def test_the_lane_in_trouble_is_the_one_that_is_named() -> None:
    """Motley raises where an action is taken that its mask closed."""
    for way in ("sync", "async"):
        env = GymnasiumEnv(settings_of(env_id("Motley"), vectorization=way), num_worlds=3)
        env.reset(seed=0)
        with pytest.raises(TrainingError, match=r"lane 2, step 1 .*11 is closed"):
            env.step(np.array([0, 0, 1]))
        env.close()


def test_trouble_in_the_last_step_is_in_the_episode_that_ends() -> None:
    kwargs = {"trouble": "nan observation", "when": 3}
    env = GymnasiumEnv(
        settings_of(env_id("Counter"), kwargs=kwargs, max_episode_steps=3), num_worlds=1
    )
    env.reset(seed=0)
    env.step(np.array([0]))
    env.step(np.array([0]))
    with pytest.raises(TrainingError, match="step 3 of its episode 0: observation: obs_1 is nan"):
        env.step(np.array([0]))


def test_trouble_in_reset_is_found_before_any_work() -> None:
    settings = settings_of(env_id("Counter"), kwargs={"trouble": "reset"})
    with pytest.raises(UserError, match=r"failed in reset .RuntimeError: the box is locked"):
        gymnasium_lane_spec(settings)


@pytest.mark.parametrize("module", [lane, async_lanes, errors])
def test_examples_of_messages_are_right(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def test_actions_that_do_not_exist() -> None:
    env = GymnasiumEnv(settings_of("CartPole-v1"), num_worlds=2)
    env.reset(seed=0)
    env.step(np.array([0, 0]))
    where = "CartPole-v1: lane 1, step 2 of its episode 0"
    with pytest.raises(TrainingError, match=f"{where}: action 2 does not exist"):
        env.step(np.array([0, 2]))
    box = GymnasiumEnv(settings_of("Pendulum-v1"), num_worlds=1)
    box.reset(seed=0)
    with pytest.raises(TrainingError, match=r"action \[nan\] is not finite"):
        box.step(np.full((1, 1), np.nan, np.float32))


def test_a_mask_that_leaves_nothing_to_do() -> None:
    env = GymnasiumEnv(settings_of(env_id("Masked"), kwargs={"shut": 1}), num_worlds=2)
    env.reset(seed=0)
    with pytest.raises(TrainingError, match=r"lane 0, step 1 .*action_mask allows no action"):
        env.step(np.array([[0, 1], [0, 1]]))


@pytest.mark.parametrize(
    ("id_", "changes", "message"),
    [
        ("CartPol-v1", {}, r"got CartPol-v1; did you mean CartPole-v\d"),
        ("CartPole", {}, r"got CartPole; did you mean CartPole-v\d"),
        ("Unheard/Of-v9", {}, "module:Name-v0 imports one's own"),
        ("no_such_module:Of-v9", {}, "env.id=no_such_module cannot be imported"),
        ("CartPole-v1", {"kwargs": {"gravitas": 1}}, "cannot be built .TypeError.*gravitas"),
        ("CartPole-v1", {"wrappers": ["ClipRewards"]}, "wrappers.0: .*did you mean ClipReward"),
        ("CartPole-v1", {"wrappers": ["TimeLimit"]}, "use env.max_episode_steps"),
        ("CartPole-v1", {"wrappers": ["NormalizeReward"]}, "use normalize_rewards"),
        ("CartPole-v1", {"wrappers": ["ObservationWrapper"]}, "no such wrapper"),
        ("CartPole-v1", {"wrappers": ["AtariPreprocessing"]}, "AtariPreprocessing cannot be put"),
        (env_id("Odd"), {}, "name is Text"),
    ],
)
def test_settings_that_describe_no_environment(
    id_: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        gymnasium_lane_spec(settings_of(id_, **changes))


def test_every_problem_of_the_wrappers_is_said() -> None:
    with pytest.raises(UserError) as caught:
        gymnasium_lane_spec(settings_of("CartPole-v1", wrappers=["RecordVideo", "Nothing"]))
    assert [problem[:16] for problem in caught.value.problems] == [
        "env.wrappers.0: ",
        "env.wrappers.1: ",
    ]


def test_wrappers_are_found_by_name() -> None:
    assert {"ClipReward", "FrameStackObservation", "Doubled"} <= set(wrapper_names())
    assert not {"RecordVideo", "NormalizeObservation", "TransformReward"} & set(wrapper_names())
    register_wrapper("Unchanged", lambda env: env)
    assert "Unchanged" in wrapper_names()
    assert gymnasium_lane_spec(settings_of("CartPole-v1", wrappers=["Unchanged"])).env_id


def test_an_environment_in_the_working_folder_is_found(tmp_path: Path) -> None:
    """As the installed command would find it: the folder itself is not on Python's path."""
    (tmp_path / "my_maze.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "class Maze(CartPoleEnv): pass\n"
        "gymnasium.register('Maze-v0', entry_point=Maze, max_episode_steps=5)\n"
    )
    code = (
        "import sys\n"
        "from journeyman.composition import compose_settings\n"
        "from journeyman.env.build import make_env\n"
        "import numpy as np\n"
        "if __name__ == '__main__':\n"
        "    sys.path.remove('')\n"
        "    s = compose_settings(['env=gymnasium', 'env.id=my_maze:Maze-v0',\n"
        "        'env.vectorization=async', 'env.kwargs={sutton_barto_reward: true}']).env\n"
        "    env = make_env(s, num_worlds=2)\n"
        "    env.reset(seed=0)\n"
        "    print([bool(env.step(np.zeros(2, np.int64))[3].all()) for _ in range(5)])\n"
        "    env.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[False, False, False, False, True]"
    assert done.stderr == ""
