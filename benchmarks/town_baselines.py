"""What the demonstrator, a random and an idle player come to in each scenario of the town.

    python benchmarks/town_baselines.py [--json benchmarks/results/town_baselines.json]
    python -m journeyman.env.town_reference

The second command brings the figures into docs/town.md. Same seed, same figures, on any machine.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import stats

from journeyman.env.town.scenarios import SCENARIOS
from journeyman.env.town.vector_env import TownVectorEnv
from journeyman.settings.env import TownSettings

CONF = Path(__file__).resolve().parents[1] / "conf" / "env" / "town.yaml"
PLAYERS = ("demonstrator", "random", "idle")
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)


def scenario_settings(scenario: str) -> TownSettings:
    """Returns the shipped settings with another scenario."""
    return TownSettings.model_validate({**yaml.safe_load(CONF.read_text()), "scenario": scenario})


def play(settings: TownSettings, player: str, *, episodes: int, seed: int) -> dict[str, Any]:
    """Plays one episode in each of ``episodes`` worlds.

    Returns:
        return_mean, return_interval (95 %, Student's t over episodes), events an agent-day by
        name, reward_quantiles, reward_sd, clipped_share (of agent-ticks), and activity shares.
    """
    env = TownVectorEnv(settings, num_worlds=episodes)
    obs, _ = env.reset(seed=seed)
    demonstrator, rng = env.demonstrator(), np.random.default_rng(seed)
    ticks = env.layout.episode_ticks
    rewards_TL = np.zeros((ticks, env.num_envs), np.float32)
    events_E = np.zeros(len(env.event_names))
    chosen_N = np.zeros(env.single_action_space.n, np.int64)
    clipping, clipped = env.reward_term_names.index("clipping"), 0
    for tick in range(ticks):
        if player == "demonstrator":
            actions = demonstrator.act(obs, rng).actions
        elif player == "random":
            actions = np.argmax(rng.random(obs["action_mask"].shape) * obs["action_mask"], axis=1)
        else:
            actions = np.zeros(env.num_envs, np.int64)
        chosen_N += np.bincount(actions, minlength=len(chosen_N))
        obs, rewards_TL[tick], _, _, info = env.step(actions)
        events_E += info["events"].sum(axis=0)
        clipped += int(np.count_nonzero(info["reward_terms"][:, clipping]))
    returns_W = rewards_TL.sum(axis=0, dtype=np.float64).reshape(episodes, -1).mean(axis=1)
    margin = stats.t.ppf(0.975, episodes - 1) * returns_W.std(ddof=1) / np.sqrt(episodes)
    days = rewards_TL.size / 1440
    actions_of = dict(zip(env.lane_spec.action_names, chosen_N / chosen_N.sum(), strict=True))
    return {
        "return_mean": round(float(returns_W.mean()), 4),
        "return_interval": [
            round(float(returns_W.mean() + side * margin), 4) for side in (-1.0, 1.0)
        ],
        "events": {
            name: round(float(count / days), 4)
            for name, count in zip(env.event_names, events_E, strict=True)
        },
        "reward_quantiles": [round(float(q), 4) for q in np.quantile(rewards_TL, QUANTILES)],
        "reward_sd": round(float(rewards_TL.std(dtype=np.float64)), 4),
        "clipped_share": round(clipped / rewards_TL.size, 6),
        "activity_shares": {name: round(float(share), 4) for name, share in actions_of.items()},
    }


def main() -> None:
    """Plays everything, prints a line for each player, and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=100, help="worlds, an episode each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    measured: dict[str, Any] = {"episodes": options.episodes, "seed": options.seed, "scenarios": {}}
    for scenario in SCENARIOS:
        settings = scenario_settings(scenario)
        measured["scenarios"][scenario] = {}
        for player in PLAYERS:
            row = play(settings, player, episodes=options.episodes, seed=options.seed)
            measured["scenarios"][scenario][player] = row
            low, high = row["return_interval"]
            print(f"{scenario:>22} {player:>12} {row['return_mean']:8.2f} ({low:.2f}, {high:.2f})")
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
