"""PPO in the manner of CleanRL's single file, written anew: everything is visible in one loop.

Separate actor and critic, a ``SyncVectorEnv`` with episode statistics, ``torch.distributions``
at every step and minibatch, Adam with epsilon 1e-5, advantages normalised in each minibatch,
gradients clipped, and KL and clip fraction measured in each minibatch. It logs nothing.

Legend: T steps, L lanes, B samples of a minibatch.
"""

import time
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical
from worker import serve

GAMMA, LAMBDA, CLIP, ENTROPY, VALUE, MAX_NORM = 0.99, 0.95, 0.2, 0.01, 0.5, 0.5
EPOCHS, MINIBATCHES = 4, 4


def linear(inputs: int, outputs: int, gain: float = 2.0**0.5) -> nn.Linear:
    """Returns a layer with orthogonal weights and a bias of 0."""
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class Agent(nn.Module):
    """An actor and a critic of 64 x 64 tanh units each."""

    def __init__(self, inputs: int, actions: int) -> None:
        super().__init__()
        bodies = [[linear(inputs, 64), nn.Tanh(), linear(64, 64), nn.Tanh()] for _ in range(2)]
        self.actor = nn.Sequential(*bodies[0], linear(64, actions, 0.01))
        self.critic = nn.Sequential(*bodies[1], linear(64, 1, 1.0))

    def value(self, observations: Tensor) -> Tensor:
        """Returns (B,) values."""
        return self.critic(observations).flatten()

    def choose(
        self, observations: Tensor, actions: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns actions, their log-probabilities, entropies and values, each (B,)."""
        policy = Categorical(logits=self.actor(observations))
        if actions is None:
            actions = policy.sample()
        return actions, policy.log_prob(actions), policy.entropy(), self.value(observations)


def one_lane() -> gymnasium.Env[Any, Any]:
    """Returns CartPole with episode statistics."""
    return gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.make("CartPole-v1"))


def measure(lanes: int, steps: int, updates: int) -> dict[str, Any]:
    """Trains for a number of updates; returns the transitions and the seconds they took."""
    same_step = gymnasium.vector.AutoresetMode.SAME_STEP
    env = gymnasium.vector.SyncVectorEnv([one_lane] * lanes, autoreset_mode=same_step)
    agent = Agent(int(np.prod(env.single_observation_space.shape)), env.single_action_space.n)
    optimizer = torch.optim.Adam(agent.parameters(), lr=2.5e-4, eps=1e-5)
    wall, cpu = time.perf_counter(), time.process_time()
    train(env, agent, optimizer, lanes, steps, updates)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    env.close()
    return {"count": lanes * steps * updates, "wall": wall, "cpu": cpu}


def train(
    env: gymnasium.vector.SyncVectorEnv,
    agent: Agent,
    optimizer: torch.optim.Adam,
    lanes: int,
    steps: int,
    updates: int,
) -> None:
    """The whole algorithm."""
    shape = (steps, lanes)
    observations = torch.zeros((*shape, *env.single_observation_space.shape))
    actions = torch.zeros(shape, dtype=torch.int64)
    log_probs, rewards, dones, values = (torch.zeros(shape) for _ in range(4))
    size, rng = lanes * steps, np.random.default_rng(0)
    following, _ = env.reset(seed=0)
    observation, done = torch.Tensor(following), torch.zeros(lanes)
    for _ in range(updates):
        for t in range(steps):
            observations[t], dones[t] = observation, done
            with torch.no_grad():
                actions[t], log_probs[t], _, values[t] = agent.choose(observation)
            following, reward, terminated, truncated, _ = env.step(actions[t].numpy())
            rewards[t] = torch.tensor(reward)
            observation = torch.Tensor(following)
            done = torch.Tensor(np.logical_or(terminated, truncated))
        with torch.no_grad():
            next_value = agent.value(observation)
            advantages = torch.zeros_like(rewards)
            carry = torch.zeros(lanes)
            for t in reversed(range(steps)):
                last = t == steps - 1
                alive = 1.0 - (done if last else dones[t + 1])
                ahead = next_value if last else values[t + 1]
                error = rewards[t] + GAMMA * ahead * alive - values[t]
                advantages[t] = carry = error + GAMMA * LAMBDA * alive * carry
            returns = advantages + values
        flat = [
            part.reshape(size, *part.shape[2:])
            for part in (observations, actions, log_probs, advantages, returns)
        ]
        order, fractions = np.arange(size), []
        for _ in range(EPOCHS):
            rng.shuffle(order)
            for start in range(0, size, size // MINIBATCHES):
                rows = order[start : start + size // MINIBATCHES]
                fractions.append(step(agent, optimizer, *(part[rows] for part in flat)))
        np.mean(fractions)


def step(
    agent: Agent,
    optimizer: torch.optim.Adam,
    observations: Tensor,
    actions: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    returns: Tensor,
) -> float:
    """Takes one gradient step on a minibatch; returns the clip fraction."""
    _, log_probs, entropies, values = agent.choose(observations, actions)
    log_ratio = log_probs - old_log_probs
    ratio = log_ratio.exp()
    with torch.no_grad():
        (-log_ratio).mean()
        ((ratio - 1.0) - log_ratio).mean()
        fraction = ((ratio - 1.0).abs() > CLIP).float().mean().item()
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    clipped = torch.clamp(ratio, 1.0 - CLIP, 1.0 + CLIP)
    policy_loss = torch.max(-advantages * ratio, -advantages * clipped).mean()
    value_loss = 0.5 * ((values - returns) ** 2).mean()
    loss = policy_loss - ENTROPY * entropies.mean() + VALUE * value_loss
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(agent.parameters(), MAX_NORM)
    optimizer.step()
    return fraction


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(measure)
