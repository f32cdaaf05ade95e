"""How many agent-steps a second the town makes.

    python benchmarks/town.py [--quick] [--json benchmarks/results/town.json]
    python -m journeyman.env.town_reference

Plays the scripted demonstrator's intents, decided outside the clock, in two towns of each size: one
hands over hybrid observations, the other ticks alike and looks at nothing. Each size runs several
times in turn with the others; the best run counts, since other work on the machine only slows.
The last lines are the figures for 64 worlds of 8 agents. The second command brings all into
docs/town.md.
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

from journeyman.env.town.tick import BLIND, OBSERVE, TICK, Outputs
from journeyman.env.town.vector_env import TownVectorEnv
from journeyman.settings.env import TownSettings

CONF = Path(__file__).resolve().parents[1] / "conf" / "env" / "town.yaml"
SIZES = ((1, 2), (16, 8), (64, 8), (256, 8), (16, 64), (1, 512))
HEADLINE = (64, 8)
THREADS = tuple(sorted({1, min(2, numba.config.NUMBA_NUM_THREADS)}))
FIRST_USE = """
import sys, time
start = time.process_time()
import benchmark_town
imported = time.process_time()
benchmark_town.numba.set_num_threads(int(sys.argv[1]))
town = benchmark_town.town(64, 8)
town.step(town.demonstrator().act({}, None).actions)
print(imported - start, time.process_time() - imported)
"""
"""What a first run needs: worlds that begin and step, and the demonstrator who plays them.

Both keep one core busy, whose time is taken: other work on the machine moves it less.
"""


class BlindTown(TownVectorEnv):
    """A town that ticks and looks at nothing, except at what lanes that end saw last."""

    def _run(self, mode: int, actions_L: Any) -> Outputs:
        return super()._run(BLIND if mode == TICK else mode, actions_L)


def town(worlds: int, agents: int, kind: type[TownVectorEnv] = TownVectorEnv) -> TownVectorEnv:
    """Returns a neighbourhood of the size; objects and ground grow with its agents."""
    raw = yaml.safe_load(CONF.read_text())
    raw |= {"agents": agents, "grid": 24 if agents <= 8 else 64, "episode_ticks": 10_000}
    count = min(32, max(2, agents // 4))
    raw["objects"] = dict.fromkeys(raw["objects"], count)
    env = kind(TownSettings.model_validate(raw), num_worlds=worlds)
    env.reset(seed=0)
    return env


def ticks_of(env: TownVectorEnv, ticks: int) -> float:
    """Plays; returns the seconds a tick spent in ``step``."""
    player, rng = env.demonstrator(), np.random.default_rng(0)
    stepping = 0.0
    for _ in range(ticks):
        actions = player.act({}, rng).actions
        start = time.perf_counter()
        env.step(actions)
        stepping += time.perf_counter() - start
    return stepping / ticks


def first_use(cache: str, threads: int) -> tuple[float, float]:
    """Returns the seconds a fresh process needs to import, and of a core then to play a town."""
    link = Path(cache) / "benchmark_town.py"
    if not link.exists():
        link.symlink_to(Path(__file__).resolve())
    env = {**os.environ, "NUMBA_CACHE_DIR": cache}
    env["PYTHONPATH"] = os.pathsep.join([cache, *filter(None, [env.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", FIRST_USE, str(threads)],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    importing, using = map(float, done.stdout.split())
    return importing, using


def bytes_per_lane(env: TownVectorEnv) -> tuple[float, float]:
    """Returns the bytes of state, and of handed-over and scratch arrays, for each lane."""
    state = sum(array.nbytes for array in env.town)
    outputs = sum(array.nbytes for buffer in env._buffers for array in buffer)
    return state / env.num_envs, outputs / env.num_envs


def rule_shares(seconds: float) -> dict[str, float]:
    """Returns the share of a 64 x 8 tick that each rule takes, on one thread.

    Each rule is compiled as a loop of its own and run over the worlds of a town under way; what
    a whole tick takes beyond their sum, checking the actions and calling the kernel, is shown as
    such. A rule that runs often on the same worlds may find less to do than in play, so that
    shares are estimates.
    """
    from journeyman.env.town.constants import constants_of
    from journeyman.env.town.rules.affordances import decay_needs, progress_uses, restock
    from journeyman.env.town.rules.company import hold_chats, share_meals
    from journeyman.env.town.rules.employment import run_shifts
    from journeyman.env.town.rules.intents import act_all
    from journeyman.env.town.rules.perturbations import perturb
    from journeyman.env.town.rules.queues import serve_queues
    from journeyman.env.town.rules.relations import forget_rivalry
    from journeyman.env.town.state import world_of
    from journeyman.env.town.tick import finish_lane, go_on

    env = town(*HEADLINE)
    ticks_of(env, 300)
    actions = env.demonstrator().act({}, np.random.default_rng(0)).actions
    out, compiled = env._buffers[0], numba.njit(error_model="numpy", _nrt=False)

    def reward(world: Any, constants: Any, acts: Any, books: Any, w: int) -> None:
        for a in range(world.agents.shape[0]):
            finish_lane(world, constants, a, False, books, w * world.agents.shape[0] + a)

    def clear(world: Any, constants: Any, acts: Any, books: Any, w: int) -> None:
        world.ledger[:] = 0.0
        world.events[:] = 0.0

    rules: dict[str, Callable[..., Any]] = {
        "perturbations": lambda world, constants, acts, books, w: perturb(world, constants),
        "intents": lambda world, constants, acts, books, w: act_all(world, constants, acts, 0),
        "queues": lambda world, constants, acts, books, w: serve_queues(world, constants, 0),
        "uses": lambda world, constants, acts, books, w: progress_uses(world, constants),
        "needs": lambda world, constants, acts, books, w: decay_needs(world, constants),
        "shifts": lambda world, constants, acts, books, w: run_shifts(world, constants, 0),
        "chats": lambda world, constants, acts, books, w: hold_chats(world, constants, 0),
        "shared meals": lambda world, constants, acts, books, w: share_meals(world, constants, 0),
        "fading rivalry": lambda world, constants, acts, books, w: forget_rivalry(world, constants),
        "deliveries": lambda world, constants, acts, books, w: restock(world, constants),
        "reward and who ends": reward,
        "going home": lambda world, constants, acts, books, w: go_on(
            world, constants, TICK, books, w
        ),
        "clearing the books": clear,
    }

    def looped(rule: Callable[..., Any]) -> Callable[[], None]:
        def over_worlds(state: Any, tables: Any, acts: Any, books: Any) -> None:
            for w in range(state.worlds.shape[0]):
                rows = slice(w * state.agents.shape[1], (w + 1) * state.agents.shape[1])
                world = world_of(state, books.ledger[rows], books.events[rows], w)
                rule(world, constants_of(tables), acts[rows], books, w)

        run = compiled(over_worlds)
        return lambda: run(env.town, env.tables, actions, out)

    empty = fastest(looped(compiled(lambda world, constants, acts, books, w: None)), 0.3)
    loops = {name: looped(compiled(rule)) for name, rule in rules.items()}
    loops["observations"] = lambda: env._run(OBSERVE, actions)
    taken = {name: fastest(loop, seconds / len(loops)) for name, loop in loops.items()}
    for name in rules:  # less what looping over worlds takes without any rule
        taken[name] = max(0.0, taken[name] - empty)
    whole = fastest(lambda: env.step(actions), seconds / len(loops))
    taken["the call, and what is not told apart"] = max(0.0, whole - sum(taken.values()))
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
    kinds = (TownVectorEnv, BlindTown)
    towns = {(*size, kind): town(*size, kind) for size in SIZES for kind in kinds}
    best: dict[tuple[int, int, int, type], float] = {}
    for _ in range(repetitions):
        for (worlds, agents, kind), env in towns.items():
            ticks = max(20, min(400, lane_ticks // env.num_envs))
            for threads in THREADS:
                numba.set_num_threads(threads)
                key = worlds, agents, threads, kind
                best[key] = min(best.get(key, float("inf")), ticks_of(env, ticks))
    rows = []
    for worlds, agents, threads in sorted({key[:3] for key in best}, key=_in_order):
        seeing, blind = (best[worlds, agents, threads, kind] for kind in kinds)
        state, outputs = bytes_per_lane(towns[worlds, agents, TownVectorEnv])
        rows.append(
            {
                "worlds": worlds,
                "agents": agents,
                "threads": threads,
                "agent_steps_per_s": round(worlds * agents / seeing),
                "blind_agent_steps_per_s": round(worlds * agents / blind),
                "state_bytes_per_lane": round(state),
                "output_bytes_per_lane": round(outputs),
            }
        )
    return rows


def _in_order(key: tuple[int, int, int]) -> tuple[int, int]:
    return SIZES.index(key[:2]), key[2]


def measured_first_use() -> dict[str, Any]:
    """Returns and prints what compiling and loading take, by number of threads."""
    compiling, loading = {}, {}
    for threads in THREADS:
        with tempfile.TemporaryDirectory() as cache:
            _, compiling[str(threads)] = first_use(cache, threads)
            importing, loading[str(threads)] = first_use(cache, threads)
        print(
            f"first use on {threads} thread(s): {compiling[str(threads)]:.1f} s of a core to "
            f"compile; from then on {loading[str(threads)]:.2f} s to load what was compiled, after "
            f"{importing:.2f} s of imports"
        )
    return {"compile_s": compiling, "load_s": loading, "import_s": importing}


def measured_shares() -> dict[str, Any]:
    """Returns and prints the share of a tick that each rule takes."""
    numba.set_num_threads(1)
    shares = {name: round(share, 4) for name, share in rule_shares(6.0).items()}
    for name, share in shares.items():
        print(f"{name:>40} {100 * share:5.1f} %")
    return {"shares": shares}


def renew(part: str, path: Path) -> None:
    """Measures one part anew and leaves the others in the file as they were."""
    measured = json.loads(path.read_text())
    measured |= measured_first_use() if part == "first-use" else measured_shares()
    path.write_text(json.dumps(measured, indent=1) + "\n")


def main() -> None:
    """Measures, prints a table, and the figure in the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, no compile time")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument(
        "--only", choices=("first-use", "shares"), help="renew these alone in the file of --json"
    )
    options = parser.parse_args()
    if options.only and not options.json:
        parser.error("--only renews a part of a file: give it with --json")
    if options.only:
        renew(options.only, options.json)
        return
    repetitions, lane_ticks = (2, 20_000) if options.quick else (8, 100_000)
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, "
        f"numpy {np.__version__}, numba {numba.__version__}, gymnasium {gymnasium.__version__}"
    )
    print(machine)
    measured: dict[str, Any] = {"machine": machine}
    if not options.quick:
        measured |= measured_first_use()
    measured["sizes"] = measured_sizes(repetitions, lane_ticks)
    print(f"{'worlds x agents':>16} {'threads':>8} {'agent-steps/s':>14} {'unobserved':>14}")
    for row in measured["sizes"]:
        size = f"{row['worlds']} x {row['agents']}"
        print(
            f"{size:>16} {row['threads']:>8} {row['agent_steps_per_s']:>14,} "
            f"{row['blind_agent_steps_per_s']:>14,}"
        )
    row = next(row for row in measured["sizes"] if (row["worlds"], row["agents"]) == HEADLINE)
    print(
        f"bytes a lane at {HEADLINE[0]} x {HEADLINE[1]}: {row['state_bytes_per_lane']} of state, "
        f"{row['output_bytes_per_lane']} of outputs"
    )
    if not options.quick:
        measured |= measured_shares()
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
