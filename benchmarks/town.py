"""How many agent-steps a second the town makes.

    python benchmarks/town.py [--quick] [--json benchmarks/results/town.json]
    python -m journeyman.env.town_reference

Plays the scripted demonstrator's intents, decided outside the clock, hybrid observations
included. Each size runs several times in turn with the others; the best run counts, since other
work on the machine only slows. "Observing" is what looking at all worlds once takes of a step.
The last line is the figure for 64 worlds of 8 agents on all threads. The second command brings
the figures into docs/town.md.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numba
import numpy as np
import yaml

from journeyman.env.town.tick import OBSERVE
from journeyman.env.town.vector_env import TownVectorEnv
from journeyman.settings.env import TownSettings

CONF = Path(__file__).resolve().parents[1] / "conf" / "env" / "town.yaml"
SIZES = ((1, 2), (16, 8), (64, 8), (256, 8), (16, 64), (1, 512))
HEADLINE = (64, 8)
FIRST_USE = """
import time
start = time.perf_counter()
import benchmark_town
env = benchmark_town.town(1, 2)
benchmark_town.ticks_of(env, 2)
print(time.perf_counter() - start)
"""


def town(worlds: int, agents: int) -> TownVectorEnv:
    """Returns a neighbourhood of the size; objects and ground grow with its agents."""
    raw = yaml.safe_load(CONF.read_text())
    raw |= {"agents": agents, "grid": 24 if agents <= 8 else 64, "episode_ticks": 10_000}
    count = min(32, max(2, agents // 4))
    raw["objects"] = dict.fromkeys(raw["objects"], count)
    env = TownVectorEnv(TownSettings.model_validate(raw), num_worlds=worlds)
    env.reset(seed=0)
    return env


def ticks_of(env: TownVectorEnv, ticks: int) -> tuple[float, float]:
    """Plays; returns seconds spent in ``step``, and in looking at the same worlds again."""
    player, rng = env.demonstrator(), np.random.default_rng(0)
    stepping, looking = 0.0, 0.0
    for _ in range(ticks):
        actions = player.act({}, rng).actions
        start = time.perf_counter()
        env.step(actions)
        between = time.perf_counter()
        env._run(OBSERVE, actions)
        end = time.perf_counter()
        stepping, looking = stepping + between - start, looking + end - between
    return stepping, looking


def first_use(cache: str) -> float:
    """Returns the seconds a fresh process needs to import, build and step a town."""
    link = Path(cache) / "benchmark_town.py"
    if not link.exists():
        link.symlink_to(Path(__file__).resolve())
    env = {**os.environ, "NUMBA_CACHE_DIR": cache}
    env["PYTHONPATH"] = os.pathsep.join([cache, *filter(None, [env.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", FIRST_USE], env=env, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def bytes_per_lane(env: TownVectorEnv) -> tuple[float, float]:
    """Returns the bytes of state, and of handed-over and scratch arrays, for each lane."""
    state = sum(array.nbytes for array in env.town)
    outputs = sum(array.nbytes for buffer in env._buffers for array in buffer)
    return state / env.num_envs, outputs / env.num_envs


def rule_shares(seconds: float) -> dict[str, float]:
    """Returns the share of a 64 x 8 tick that each rule takes, on one thread.

    Each rule is compiled as a loop of its own and run over the worlds of a town under way; what
    a whole tick takes beyond their sum is shown as such. A rule that runs often on the same
    worlds may find less to do than in play, so that shares are estimates.
    """
    from journeyman.env.town.constants import Constants
    from journeyman.env.town.rules.affordances import decay_needs, progress_uses, restock
    from journeyman.env.town.rules.company import hold_chats, share_meals
    from journeyman.env.town.rules.employment import run_shifts
    from journeyman.env.town.rules.intents import act_all
    from journeyman.env.town.rules.perturbations import perturb
    from journeyman.env.town.rules.queues import serve_queues
    from journeyman.env.town.rules.relations import forget_rivalry
    from journeyman.env.town.state import world_of

    env = town(*HEADLINE)
    ticks_of(env, 300)
    actions = env.demonstrator().act({}, np.random.default_rng(0)).actions
    out, compiled = env._buffers[0], numba.njit(error_model="numpy", _nrt=False)
    rules: dict[str, Callable[..., Any]] = {
        "perturbations": lambda world, constants, acts: perturb(world, constants),
        "intents": lambda world, constants, acts: act_all(world, constants, acts, 0),
        "queues": lambda world, constants, acts: serve_queues(world, constants, 0),
        "uses": lambda world, constants, acts: progress_uses(world, constants),
        "needs": lambda world, constants, acts: decay_needs(world, constants),
        "shifts": lambda world, constants, acts: run_shifts(world, constants, 0),
        "chats": lambda world, constants, acts: hold_chats(world, constants, 0),
        "shared meals": lambda world, constants, acts: share_meals(world, constants, 0),
        "fading rivalry": lambda world, constants, acts: forget_rivalry(world, constants),
        "deliveries": lambda world, constants, acts: restock(world, constants),
    }

    def looped(rule: Callable[..., Any]) -> Callable[[], None]:
        def over_worlds(state: Any, tables: Any, acts: Any, books: Any) -> None:
            for w in range(state.worlds.shape[0]):
                rows = slice(w * state.agents.shape[1], (w + 1) * state.agents.shape[1])
                world = world_of(state, books.ledger[rows], books.events[rows], w)
                rule(world, Constants(tables.numbers[0], tables.affordances), acts[rows])

        run = compiled(over_worlds)
        return lambda: run(env.town, env.tables, actions, out)

    empty = fastest(looped(compiled(lambda world, constants, acts: None)), 0.3)
    loops = {name: looped(compiled(rule)) for name, rule in rules.items()}
    loops["observations"] = lambda: env._run(OBSERVE, actions)
    taken = {name: fastest(loop, seconds / len(loops)) for name, loop in loops.items()}
    for name in rules:  # less what looping over worlds takes without any rule
        taken[name] = max(0.0, taken[name] - empty)
    whole = fastest(lambda: env.step(actions), seconds / len(loops))
    taken["reward, ends, the call"] = max(0.0, whole - sum(taken.values()))
    total = sum(taken.values())
    return {name: spent / total for name, spent in sorted(taken.items(), key=lambda one: -one[1])}


def fastest(call: Callable[[], Any], seconds: float) -> float:
    """Returns the least seconds a call takes among those that fit into ``seconds``."""
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def measured_sizes(repetitions: int, lane_ticks: int) -> list[dict[str, Any]]:
    """Returns a row for each size and number of threads."""
    towns = {size: town(*size) for size in SIZES}
    threads_of = sorted({1, numba.config.NUMBA_NUM_THREADS})
    best: dict[tuple[int, int, int], tuple[float, float]] = {}
    for _ in range(repetitions):
        for size, env in towns.items():
            ticks = max(20, min(400, lane_ticks // env.num_envs))
            for threads in threads_of:
                numba.set_num_threads(threads)
                stepping, looking = (spent / ticks for spent in ticks_of(env, ticks))
                before = best.get((*size, threads), (float("inf"),) * 2)
                best[*size, threads] = min(before[0], stepping), min(before[1], looking)
    rows = []
    for (worlds, agents, threads), (stepping, looking) in best.items():
        state, outputs = bytes_per_lane(towns[worlds, agents])
        rows.append(
            {
                "worlds": worlds,
                "agents": agents,
                "threads": threads,
                "agent_steps_per_s": round(worlds * agents / stepping),
                "observing_share": round(min(1.0, looking / stepping), 4),
                "state_bytes_per_lane": round(state),
                "output_bytes_per_lane": round(outputs),
            }
        )
    return rows


def main() -> None:
    """Measures, prints a table, and the figure in the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, no compile time")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    repetitions, lane_ticks = (2, 20_000) if options.quick else (8, 100_000)
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, "
        f"numpy {np.__version__}, numba {numba.__version__}, gymnasium {gymnasium.__version__}"
    )
    print(machine)
    measured: dict[str, Any] = {"machine": machine}
    if not options.quick:
        with tempfile.TemporaryDirectory() as cache:
            measured["compile_s"] = round(first_use(cache), 2)
            measured["load_s"] = round(first_use(cache), 2)
        print(f"first use: {measured['compile_s']} s compiling, {measured['load_s']} s loading")
    measured["sizes"] = measured_sizes(repetitions, lane_ticks)
    print(f"{'worlds x agents':>16} {'threads':>8} {'agent-steps/s':>14} {'observing':>15}")
    for row in measured["sizes"]:
        size = f"{row['worlds']} x {row['agents']}"
        print(
            f"{size:>16} {row['threads']:>8} {row['agent_steps_per_s']:>14,} "
            f"{100 * row['observing_share']:>13.0f} %"
        )
    if not options.quick:
        numba.set_num_threads(1)
        measured["shares"] = {name: round(x, 4) for name, x in rule_shares(6.0).items()}
        for name, share in measured["shares"].items():
            print(f"{name:>24} {100 * share:5.1f} %")
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n")
    headline = {
        row["threads"]: row["agent_steps_per_s"]
        for row in measured["sizes"]
        if (row["worlds"], row["agents"]) == HEADLINE
    }
    print(f"figure agent_steps_per_s_64x8_hybrid_1_thread {headline[1]}")
    print(f"figure agent_steps_per_s_64x8_hybrid {headline[max(headline)]}")


if __name__ == "__main__":
    main()
