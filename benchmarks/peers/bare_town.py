"""The least that PPO on the town's observations is: acting and updating with torch's own layers.

There is no town: observations, rewards and advantages are given. The network is the one of
``policy=default`` (an actor and a critic, each reading map and features), built of plain layers.

Legend: T steps, L lanes, B samples.
"""

import time
from typing import Any

import torch
from torch import Tensor, nn
from worker import serve

from journeyman.composition import compose_settings
from journeyman.env.build import lane_spec

EPOCHS, CLIP, ENTROPY, VALUE = 4, 0.2, 0.01, 0.5


class Body(nn.Module):
    """Map and features to 128 hidden units."""

    def __init__(self, features: int, cells: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(cells, 128), nn.Tanh())
        self.trunk = nn.Sequential(
            nn.Linear(features + 128, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh()
        )

    def forward(self, features: Tensor, grid: Tensor) -> Tensor:
        """Returns (B, 128)."""
        return self.trunk(torch.cat([features, self.encoder(grid.float())], dim=1))


def measure(lanes: int, steps: int, updates: int, minibatch_size: int) -> dict[str, Any]:
    """Acts and updates a number of times; returns the transitions and the seconds they took."""
    spec = lane_spec(compose_settings(["env=town", "env.agents=8"]).env)
    features, choices = len(spec.feature_names), len(spec.action_names)
    shape = spec.map_shape
    assert shape is not None
    actor, critic = (Body(features, shape[0] * shape[1] * shape[2]) for _ in range(2))
    policy_head, value_head = nn.Linear(128, choices), nn.Linear(128, 1)
    modules = nn.ModuleList([actor, critic, policy_head, value_head])
    optimizer = torch.optim.Adam(modules.parameters(), lr=2.5e-4, eps=1e-5, fused=True)
    size = lanes * steps
    seen = torch.randn(steps, lanes, features)
    grids = torch.randint(0, 2, (steps, lanes, *shape), dtype=torch.uint8)
    bias = torch.zeros(steps, lanes, choices).masked_fill_(
        torch.rand(steps, lanes, choices) < 0.5, -1e9
    )
    bias[:, :, 0] = 0.0
    advantages, returns = torch.randn(2, size)

    def act() -> tuple[Tensor, Tensor]:
        actions, log_probs = [], []
        with torch.inference_mode():
            for t in range(steps):
                logits = policy_head(actor(seen[t], grids[t])) + bias[t]
                all_log_probs = torch.log_softmax(logits, dim=1)
                chosen = torch.multinomial(all_log_probs.exp(), 1)
                actions.append(chosen)
                log_probs.append(all_log_probs.gather(1, chosen))
        return torch.cat(actions), torch.cat(log_probs).squeeze(1)

    def update(actions: Tensor, old_log_probs: Tensor) -> None:
        flat = (
            seen.view(size, -1),
            grids.view(size, *shape),
            bias.view(size, -1),
            actions,
            old_log_probs,
            advantages,
            returns,
        )
        for _ in range(EPOCHS):
            for rows in torch.randperm(size).split(minibatch_size):
                x, grid, forbidden, chosen, old, advantage, target = (part[rows] for part in flat)
                every = torch.log_softmax(policy_head(actor(x, grid)) + forbidden, dim=1)
                ratio = (every.gather(1, chosen).squeeze(1) - old).exp()
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                clipped = ratio.clamp(1.0 - CLIP, 1.0 + CLIP)
                policy = -torch.minimum(ratio * advantage, clipped * advantage).mean()
                value = 0.5 * (value_head(critic(x, grid)).squeeze(1) - target).square().mean()
                entropy = -(every.exp() * every).sum(dim=1).mean()
                optimizer.zero_grad()
                (policy + VALUE * value - ENTROPY * entropy).backward()
                nn.utils.clip_grad_norm_(modules.parameters(), 0.5)
                optimizer.step()

    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(updates):
        actions, log_probs = act()
        update(actions.clone(), log_probs.clone())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"count": size * updates, "wall": wall, "cpu": cpu}


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(measure)
