"""Our PPO as a user runs it: the training stage of a whole run of ``strategy=ppo``.

Its time is that of the stage: making lanes and network, rollouts, updates, metrics, the JSONL
log and checkpoints; the policy is played before and after it.
"""

import tempfile
from typing import Any

from worker import serve

from journeyman.composition import compose_settings
from journeyman.orchestrator import Orchestrator

CARTPOLE = ("env=gymnasium", "env.id=CartPole-v1", "policy=small")
TOWN = ("env=town", "env.agents=8", "env.episode_ticks=240", "policy=default")


def measure(
    lanes: int, steps: int, updates: int, *, town: bool = False, minibatch_size: int | None = None
) -> dict[str, Any]:
    """Trains for a number of updates; returns the transitions and the seconds they took.

    Args:
        lanes: side by side; of the town: worlds of 8 agents.
        steps: of each lane between two updates.
        updates: rollouts, each followed by its optimisation.
        town: practise in the town instead of CartPole-v1.
        minibatch_size: None: a quarter of a rollout.
    """
    size = lanes * steps // 4 if minibatch_size is None else minibatch_size
    settings = compose_settings(
        [
            "strategy=ppo",
            f"strategy.worlds={lanes}",
            f"strategy.rollout_ticks={steps}",
            f"strategy.updates={updates}",
            f"strategy.minibatch_size={size}",
            "strategy.epochs=4",
            "strategy.learning_rate=2.5e-4",
            "strategy.entropy_coef=0.01",
            "strategy.critic_warmup=0",
            "promotion=off",
            "tracking=none",
            "runtime.device=cpu",
            "evaluation.episodes=2",
            "evaluation.bootstrap_resamples=100",
            *(TOWN if town else CARTPOLE),
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        result = Orchestrator(settings, run_dir=folder).run_ppo().training
    return {"count": result.transitions, "wall": result.duration_sec}


if __name__ == "__main__":
    serve(measure)
