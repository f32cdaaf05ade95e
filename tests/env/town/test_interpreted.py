"""Compiled and interpreted rules give the same bits."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import hashlib, sys
import numpy as np
from support.town import town_settings
from journeyman.env.town.vector_env import TownVectorEnv

settings = town_settings(
    agents=4, grid=8, episode_ticks=260,
    **{"needs.start_low": 0.2, "needs.start_high": 0.7, "food.start": 1, "objects.fridge": 1,
       "objects.shower": 1, "objects.bed": 1,
       "jobs.shifts": [{"name": "grocer", "start": 40, "end": 160, "wage": 0.02}]},
    **{f"perturbations.{name}.per_day": 10.0
       for name in ("price_spike", "blackout", "outage", "arranged_meet")},
)
env = TownVectorEnv(settings, num_worlds=2, social_stage="C3")
obs, _ = env.reset(seed=11)
player, rng = env.demonstrator(), np.random.default_rng(0)
digest, happened = hashlib.sha256(), 0
for tick in range(300):
    mask = obs["action_mask"]
    chance = np.argmax(rng.random(mask.shape) * mask, axis=1)
    scripted = player.act(obs, rng).actions
    obs, rewards, *_, info = env.step(np.where(rng.random(8) < 0.03, chance, scripted))
    happened = happened + info["events"].sum(axis=0)
    for array in (*obs.values(), rewards, info["events"], info["reward_terms"], scripted):
        digest.update(array.tobytes())
for array in env.state().values():
    digest.update(array.tobytes())
print(int((happened > 0).sum()), digest.hexdigest())
"""


def played(**environment: str) -> list[str]:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_interpreter_gives_the_same_bits():
    kinds, compiled_digest = played()
    assert int(kinds) >= 12  # most kinds of event were part of it
    assert len(compiled_digest) == hashlib.sha256().digest_size * 2
    assert played(NUMBA_DISABLE_JIT="1") == [kinds, compiled_digest]
