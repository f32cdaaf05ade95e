"""What three agents earn in simple_spread that each go straight to a landmark of their own.

    pip install mpe2
    python benchmarks/spread_reference.py

Everybody works out the shortest assignment of agents to landmarks and goes to its own, less a
share of the velocity it has, and rests when near. It is no optimum, but what learned policies
may be held against: learning.py takes its figure for the task's reference.
"""

from itertools import permutations
from typing import Any

import numpy as np
from mpe2 import simple_spread_v3

REST, LEFT, RIGHT, DOWN, UP = range(5)
DAMPING, NEAR = 0.2, 0.05
EPISODES = 500


def choose(obs: Any) -> int:
    """Returns the action of an agent that sees (18,): its velocity, then its position,
    landmarks and other agents relative to it, and what others say."""
    velocity, landmarks_KX, others = obs[0:2], obs[4:10].reshape(3, 2), obs[10:14].reshape(2, 2)
    agents_AX = np.vstack([np.zeros(2), others])
    distances = np.linalg.norm(agents_AX[:, None] - landmarks_KX[None], axis=2)
    mine = min(permutations(range(3)), key=lambda p: distances[range(3), p].sum())[0]
    x, y = landmarks_KX[mine] - DAMPING * velocity
    if max(abs(x), abs(y)) < NEAR:
        return REST
    if abs(x) > abs(y):
        return LEFT if x < 0 else RIGHT
    return DOWN if y < 0 else UP


def main() -> None:
    """Plays, and prints the mean return of an agent with its standard error."""
    env = simple_spread_v3.parallel_env()
    returns = []
    for episode in range(EPISODES):
        observations, _ = env.reset(seed=episode)
        total = 0.0
        while env.agents:
            actions = {agent: choose(observations[agent]) for agent in env.agents}
            observations, rewards, *_ = env.step(actions)
            total += float(np.mean(list(rewards.values())))
        returns.append(total)
    error = np.std(returns, ddof=1) / np.sqrt(EPISODES)
    print(f"figure simple_spread_assignment_return {np.mean(returns):.2f}")
    print(f"figure simple_spread_assignment_standard_error {error:.2f}")


if __name__ == "__main__":
    main()
