"""``journeyman check-env`` as an author of an environment runs it."""

from pathlib import Path

from support.commands import journeyman

ENVIRONMENT = """
import gymnasium, numpy as np

class Count(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 1000, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number = 100 * DRAWN
        return np.array([self.number], np.float32), {}

    def step(self, action):
        self.number += action
        return np.array([self.number], np.float32), float(action), self.number % 10 == 9, False, {}

gymnasium.register("Count-v0", entry_point=Count)
"""


def test_a_sound_environment_passes_with_advice(tmp_path: Path) -> None:
    (tmp_path / "my_count.py").write_text(ENVIRONMENT.replace("DRAWN", "self.np_random.random()"))
    done = journeyman("check-env", "env=gymnasium", "env.id=my_count:Count-v0", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Count-v0: 1 lane a world"
    assert lines[-1] == "nothing wrong in 1000 steps of random play"
    assert any(line.startswith("advice: 1 of 1 features go beyond 10") for line in lines)
    assert not (tmp_path / "outputs").exists()


def test_a_faulty_one_fails_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "my_count.py").write_text(ENVIRONMENT.replace("DRAWN", "np.random.random()"))
    done = journeyman("check-env", "env=gymnasium", "env.id=my_count:Count-v0", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "wrong: the same seed and actions lead to something else at reset; draw" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 thing wrong in 1000 steps of random play"


def test_wrong_arguments_are_the_users_mistake(tmp_path: Path) -> None:
    done = journeyman("check-env", "env=gymnasium", "--steps", "0", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    done = journeyman("check-env", "env=gymnasium", "env.id=CartPool-v1", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean CartPole-v1?" in done.stderr
