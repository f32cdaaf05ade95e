"""What breaks in the middle ends the run with one line, exit code 1, and a whole checkpoint."""

import json
from pathlib import Path

from journeyman.checkpoint import load_checkpoint
from support.commands import journeyman, mlflow_client, run_folders

BREAKING = '''
import gymnasium
import numpy as np
from gymnasium import spaces


class Breaking(gymnasium.Env):
    """Pays for the choice of 1; all of them together last ``after`` steps, then one breaks."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(2)
    made = 0

    def __init__(self, after):
        self.after = after

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        Breaking.made += 1
        if Breaking.made > self.after:
            raise ZeroDivisionError("the wheel came off")
        return np.zeros(2, np.float32), float(action), False, self.steps == 5, {}


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
    "env.kwargs={after: 60}",
    "env.vectorization=sync",
    "policy=small",
    "evaluation.episodes=4",
    "promotion=off",
    "checkpoint.every=1",
)


def test_an_environment_that_breaks_in_the_middle(tmp_path: Path) -> None:
    (tmp_path / "breaking.py").write_text(BREAKING)
    # A rollback is for numbers that run away: it must not play a broken environment again.
    done = journeyman(*COMMAND, "strategy.on_nan=rollback", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("journeyman: ")]
    assert line.startswith("journeyman: update 3: ")
    assert "rollback" not in line
    for named in ("Breaking-v0", "lane 0", "step 1", "the wheel came off"):
        assert named in line, line

    (folder,) = run_folders(tmp_path / "outputs")
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

    client = mlflow_client(tmp_path / "outputs")
    experiment = client.get_experiment_by_name("journeyman")
    assert {run.info.status for run in client.search_runs([experiment.experiment_id])} == {"FAILED"}
