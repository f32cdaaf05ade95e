"""What the demonstrator, a random and an idle player come to in each scenario of the town.

    python benchmarks/town_baselines.py [--quick] [--json benchmarks/results/town_baselines.json]
    python benchmarks/town_baselines.py --scenario neighbourhood --policy FILE.safetensors
    python -m journeyman.env.town_reference

Also how much objects and agents are in use, and what a trained policy makes of the town. The last
command brings the figures into docs/town.md. Same seed, same figures, on any machine.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy import stats

from journeyman.env.town.names import ACTION_NAMES, EVENT_NAMES, OBJECT_KINDS, TERM_SURVIVAL
from journeyman.env.town.scenarios import SCENARIOS, Layout, resolve_layout
from journeyman.env.town.vector_env import TownVectorEnv
from journeyman.errors import UserError
from journeyman.policies.protocol import Policy
from journeyman.policies.random import RandomPolicy
from journeyman.services.players import build_player
from journeyman.settings.env import TownSettings
from journeyman.settings.town_rules import DAY_TICKS

CONF = Path(__file__).resolve().parents[1] / "conf" / "env" / "town.yaml"
PLAYERS = ("demonstrator", "random", "idle")
COMPLETED = ("meal", "cooked", "shower", "sleep")
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)


def scenario_settings(scenario: str) -> TownSettings:
    """Returns the shipped settings with another scenario."""
    return TownSettings.model_validate({**yaml.safe_load(CONF.read_text()), "scenario": scenario})


def players(env: TownVectorEnv, policies: Sequence[Path]) -> dict[str, Policy | None]:
    """Returns who plays, by name; None is whoever only waits.

    Raises:
        UserError: if a checkpoint is missing, damaged or made for another observation.
    """
    trained = {path.stem: build_player(str(path), env.lane_spec) for path in policies}
    if len(trained) < len(policies) or trained.keys() & set(PLAYERS):
        raise UserError(f"--policy: files need names of their own (got {[*map(str, policies)]})")
    scripted: dict[str, Policy | None] = {
        "demonstrator": env.demonstrator(),
        "random": RandomPolicy(env.lane_spec),
        "idle": None,
    }
    return {**scripted, **trained}


class Counted:
    """What happened in a play, added up tick by tick.

    Attributes:
        rewards_TL: reward of each tick and lane.
        terms_R: sums of the reward's terms.
        events_E: sums of the events.
        intents_N: how often each intent was chosen.
        used_K: agent-ticks of using each kind of object.
        queueing: agent-ticks in queues.
        clipped: agent-ticks whose sum the bound cut.
    """

    def __init__(self, env: TownVectorEnv) -> None:
        self._clipping = env.reward_term_names.index("clipping")
        features = env.lane_spec.feature_names
        self._using = [features.index(f"using_{kind}") for kind in OBJECT_KINDS]
        self._queueing = [features.index(f"queueing_{kind}") for kind in OBJECT_KINDS]
        self._done = [env.event_names.index(name) for name in COMPLETED]
        self.rewards_TL = np.zeros((env.layout.episode_ticks, env.num_envs), np.float32)
        self.terms_R = np.zeros(len(env.reward_term_names))
        self.events_E = np.zeros(len(env.event_names))
        self.intents_N = np.zeros(len(env.lane_spec.action_names), np.int64)
        self.used_K = np.zeros(len(OBJECT_KINDS), np.int64)
        self.queueing = self.clipped = 0

    def add(self, tick: int, actions_L: NDArray[np.int64], stepped: tuple[Any, ...]) -> None:
        """Adds what ``step`` returned."""
        obs, rewards_L, _, _, info = stepped
        self.rewards_TL[tick] = rewards_L
        self.terms_R += info["reward_terms"].sum(axis=0, dtype=np.float64)
        self.events_E += info["events"].sum(axis=0)
        self.intents_N += np.bincount(actions_L, minlength=len(self.intents_N))
        self.clipped += int(np.count_nonzero(info["reward_terms"][:, self._clipping]))
        # As lanes that end were last; a use that is completed in the tick took all of it.
        ended = info["_final_obs"][:, None]
        seen = np.where(ended, info["final_obs"]["features"], obs["features"])
        used = (seen[:, self._using] > 0.0) | (info["events"][:, self._done] > 0.0)
        self.used_K += used.sum(axis=0)
        self.queueing += int(np.count_nonzero(seen[:, self._queueing]))


def play(settings: TownSettings, name: str, policies: Sequence[Path], **options: int) -> Counted:
    """Plays one episode in each of many worlds.

    Args:
        settings: the town.
        name: one of ``players``.
        policies: checkpoints of trained players.
        **options: ``episodes``, that is worlds, and ``seed``.
    """
    env = TownVectorEnv(settings, num_worlds=options["episodes"])
    player, rng = players(env, policies)[name], np.random.default_rng(options["seed"])
    obs, _ = env.reset(seed=options["seed"])
    counted, idle = Counted(env), np.zeros(env.num_envs, np.int64)
    for tick in range(env.layout.episode_ticks):
        actions = idle if player is None else player.act(obs, rng).actions
        stepped = env.step(actions)
        counted.add(tick, actions, stepped)
        obs = stepped[0]
    return counted


def figures(counted: Counted, layout: Layout, episodes: int) -> dict[str, Any]:
    """Returns the figures of a play.

    Returns:
        return_mean, return_interval (95 %, Student's t over episodes), reward_mean and
        survival_mean (a tick), events an agent-day by name, reward_quantiles, reward_sd,
        clipped_share (of agent-ticks), occupancy (share of the time of each kind of object in
        which it is used), time_shares (of agents' time) and intent_shares (of choices).
    """
    rewards_TL = counted.rewards_TL
    returns_W = rewards_TL.sum(axis=0, dtype=np.float64).reshape(episodes, -1).mean(axis=1)
    margin = stats.t.ppf(0.975, episodes - 1) * returns_W.std(ddof=1) / np.sqrt(episodes)
    ticks, days = rewards_TL.size, rewards_TL.size / DAY_TICKS
    world_ticks = ticks / layout.agents
    there = [sum(one == kind for one, _ in layout.objects) for kind in (1, 2, 3, 4)]
    events = dict(zip(EVENT_NAMES, counted.events_E, strict=True))
    spent = dict(zip(("eat", "cook", "shower", "sleep"), counted.used_K / ticks, strict=True))
    spent |= {"shift": events["shift_tick"] / ticks, "queue": counted.queueing / ticks}
    intents = dict(zip(ACTION_NAMES, counted.intents_N / ticks, strict=True))
    return {
        "return_mean": round(float(returns_W.mean()), 4),
        "return_interval": [
            round(float(returns_W.mean() + side * margin), 4) for side in (-1.0, 1.0)
        ],
        "reward_mean": round(float(rewards_TL.mean(dtype=np.float64)), 5),
        "survival_mean": round(float(counted.terms_R[TERM_SURVIVAL] / ticks), 5),
        "events": {name: round(float(count / days), 4) for name, count in events.items()},
        "reward_quantiles": [round(float(q), 4) for q in np.quantile(rewards_TL, QUANTILES)],
        "reward_sd": round(float(rewards_TL.std(dtype=np.float64)), 4),
        "clipped_share": round(counted.clipped / ticks, 6),
        "occupancy": {
            kind: round(float(used / (world_ticks * count)), 4)
            for kind, used, count in zip(OBJECT_KINDS, counted.used_K, there, strict=True)
            if count
        },
        "time_shares": {name: round(float(share), 4) for name, share in spent.items()},
        "intent_shares": {name: round(float(share), 4) for name, share in intents.items()},
    }


def line(scenario: str, name: str, row: dict[str, Any]) -> str:
    """Returns a line for the terminal."""
    low, high = row["return_interval"]
    in_use = " ".join(f"{kind} {100 * share:.0f}" for kind, share in row["occupancy"].items())
    spent = " ".join(f"{what} {100 * share:.1f}" for what, share in row["time_shares"].items())
    return (
        f"{scenario:>22} {name:>12} {row['return_mean']:8.2f} ({low:.2f}, {high:.2f}), a tick "
        f"{row['reward_mean']:.3f}; % in use: {in_use}; % of time: {spent}"
    )


def main() -> None:
    """Plays everything, prints a line for each player, and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 episodes, without the crowd")
    parser.add_argument("--episodes", type=int, default=100, help="worlds, an episode each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenario", action="append", choices=[*SCENARIOS], help="only these")
    parser.add_argument(
        "--policy",
        action="append",
        type=Path,
        default=[],
        metavar="FILE.safetensors",
        help="a checkpoint that plays as well, under its file's name, in --policy-scenario",
    )
    parser.add_argument("--policy-scenario", choices=[*SCENARIOS], default="neighbourhood")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    episodes = 10 if options.quick else options.episodes
    scenarios = options.scenario or [n for n in SCENARIOS if n != "crowd" or not options.quick]
    measured: dict[str, Any] = {"episodes": episodes, "seed": options.seed, "scenarios": {}}
    for scenario in scenarios:
        settings = scenario_settings(scenario)
        layout = resolve_layout(settings)
        policies = options.policy if scenario == options.policy_scenario else []
        measured["scenarios"][scenario] = {}
        for name in (*PLAYERS, *(path.stem for path in policies)):
            counted = play(settings, name, policies, episodes=episodes, seed=options.seed)
            row = figures(counted, layout, episodes)
            measured["scenarios"][scenario][name] = row
            print(line(scenario, name, row))
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n")
    for scenario, rows in measured["scenarios"].items():
        for name, row in rows.items():
            print(f"figure return_{scenario}_{name} {row['return_mean']}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(str(error)) from error
