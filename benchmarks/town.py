"""How many agent-steps a second the town makes, hybrid observations included.

    python benchmarks/town.py [--quick] [--json FILE]

Plays the scripted demonstrator's intents, decided outside the clock. Each size runs several
times in turn with the others; the best run counts, since other work on the machine only slows.
The last line is the figure for 64 worlds of 8 agents on all threads.
"""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

import gymnasium
import numba
import numpy as np
from omegaconf import OmegaConf

from journeyman.env.town.vector_env import TownVectorEnv
from journeyman.settings.env import TownSettings

CONF = Path(__file__).resolve().parents[1] / "conf" / "env" / "town.yaml"
SIZES = ((1, 2), (1, 8), (16, 8), (64, 8), (256, 8), (16, 64))
HEADLINE = (64, 8)


def town(worlds: int, agents: int) -> TownVectorEnv:
    """Returns a neighbourhood of the size, well past the start of an episode."""
    config = OmegaConf.load(CONF)
    config.agents, config.grid = agents, 24 if agents <= 8 else 64
    config.episode_ticks = 10_000
    container = OmegaConf.to_container(config)
    env = TownVectorEnv(TownSettings.model_validate(container), num_worlds=worlds)
    env.reset(seed=0)
    return env


def measure(env: TownVectorEnv, ticks: int) -> float:
    """Returns agent-steps a second over ``ticks`` ticks."""
    player, rng = env.demonstrator(), np.random.default_rng(0)
    spent, obs = 0.0, {}
    for _ in range(ticks):
        actions = player.act(obs, rng).actions
        start = time.perf_counter()
        env.step(actions)
        spent += time.perf_counter() - start
    return env.num_envs * ticks / spent


def main() -> None:
    """Measures, prints a table, and the figure in the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    repetitions, ticks = (3, 200) if options.quick else (10, 700)

    most = numba.config.NUMBA_NUM_THREADS
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    print(f"numpy {np.__version__}, numba {numba.__version__}, gymnasium {gymnasium.__version__}")
    start = time.perf_counter()
    towns = {size: town(*size) for size in SIZES}
    for env in towns.values():
        measure(env, 2)
    print(f"first use (compiled anew or loaded): {time.perf_counter() - start:.1f} s\n")

    best: dict[tuple[int, int, int], float] = {}
    for _ in range(repetitions):
        for (worlds, agents), env in towns.items():
            for threads in sorted({1, most}):
                numba.set_num_threads(threads)
                speed = measure(env, ticks if env.num_envs >= 64 else 2 * ticks)
                key = (worlds, agents, threads)
                best[key] = max(speed, best.get(key, 0.0))
    print(f"{'worlds x agents':>16} {'threads':>8} {'agent-steps/s':>14}")
    for (worlds, agents, threads), speed in best.items():
        print(f"{f'{worlds} x {agents}':>16} {threads:>8} {speed:>14,.0f}")

    figures = {
        "agent_steps_per_s_64x8_hybrid_1_thread": best[(*HEADLINE, 1)],
        "agent_steps_per_s_64x8_hybrid": best[(*HEADLINE, most)],
    }
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    for name, value in figures.items():
        print(f"figure {name} {value:.0f}")


if __name__ == "__main__":
    main()
