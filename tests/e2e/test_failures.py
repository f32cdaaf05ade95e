"""What breaks in the middle ends the run with one line, exit code 1, and a whole checkpoint."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from journeyman.checkpoint import load_checkpoint
from support.commands import mlflow_client
from support.killing import Processes

BREAKING = '''
import gymnasium
import numpy as np
from gymnasium import spaces


class Breaking(gymnasium.Env):
    """Pays for the choice of 1; all of them together last ``after`` steps, then one breaks."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(2)
    made = 0

    def __init__(self, after, how="raise"):
        self.after, self.how = after, how

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        Breaking.made += 1
        seen, reward = np.zeros(2, np.float32), float(action)
        if Breaking.made > self.after:
            if self.how == "raise":
                raise ZeroDivisionError("the wheel came off")
            if self.how == "space":
                self.action_space = spaces.Discrete(2, start=5)
            if self.how == "reward":
                reward = float("nan")
            if self.how == "seen":
                seen = np.array([0.0, np.nan], np.float32)
            if self.how == "shape":
                seen = np.zeros(3, np.float32)
        assert self.action_space.contains(action), f"{action} is no action of {self.action_space}"
        return seen, reward, False, self.steps == 5, {}


gymnasium.register("e2e/Breaking-v0", Breaking)
'''

# The untrained policy is played first: 4 episodes of 5 steps, 20. An update takes 2 worlds of
# 8 steps, 16: 60 steps are two updates and half of a third.
COMMAND = (
    "strategy=ppo",
    "strategy.updates=9",
    "strategy.worlds=2",
    "strategy.rollout_ticks=8",
    "strategy.minibatch_size=16",
    "strategy.critic_warmup=0",
    "env=gymnasium",
    "env.id=breaking:e2e/Breaking-v0",
    "env.vectorization=sync",
    "policy=small",
    "evaluation.episodes=4",
    "promotion=off",
)
"""As it is by default, no checkpoint is due within the first 50 updates."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "breaking.py").write_text(BREAKING)
    return folder


@pytest.fixture(scope="module")
def processes(work: Path) -> Iterator[Processes]:
    started = Processes(work)
    yield started
    started.close()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise", ("the wheel came off",)),
        ("space", ("is no action of Discrete(2, start=5)",)),
        ("shape", ("(3,)", "(2,)")),
        ("reward", ("reward is nan",)),
        ("seen", ("obs_1 is nan",)),
    ],
)
def test_an_environment_that_breaks_in_the_middle(
    work: Path, processes: Processes, how: str, said: tuple[str, ...]
) -> None:
    folder = work / "outputs" / how
    code, stderr = processes.run(
        *COMMAND,
        f"env.kwargs={{after: 60, how: {how}}}",
        # A rollback is for numbers that run away: it must not play a broken environment again.
        f"strategy.on_nan={'raise' if how in ('reward', 'seen') else 'rollback'}",
        f"hydra.run.dir={folder}",
    )
    assert code == 1, stderr
    assert "Traceback" not in stderr
    assert "Error executing job" not in stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("journeyman: ")]
    assert line.startswith("journeyman: update 3: ")
    assert "rollback" not in line
    for named in ("Breaking-v0", "lane 0", "step", *said):
        assert named in line, line

    assert not (folder / "results.json").exists()
    latest = load_checkpoint(folder / "checkpoints" / "latest.safetensors")
    assert latest.state["counters"]["ppo_updates"] == 2
    assert latest.state["counters"]["env_steps"] == 32
    updates = [
        json.loads(line)
        for line in (folder / "metrics.jsonl").read_text().splitlines()
        if json.loads(line)["group"] == "ppo"
    ]
    assert [update["updates"] for update in updates] == [1, 2]

    client = mlflow_client(work / "outputs")
    experiment = client.get_experiment_by_name("journeyman")
    runs = client.search_runs([experiment.experiment_id])
    (job,) = [run for run in runs if run.data.tags.get("run_dir") == str(folder)]
    below = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == job.info.run_id]
    assert [run.info.status for run in (job, *below)] == ["FAILED"] * 2
