"""Compiled and interpreted rules give the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from journeyman.env.town.names import EVENT_NAMES
from support.town import played_bits

SEEDS, TICKS = [122, 123], 300
"""Two worlds in which everything there is to happen happens."""

INTERPRETED = f"""
import json
from support.town import played_bits
bits = played_bits({{variant!r}}, {SEEDS}, ticks={TICKS})
print(json.dumps([(sorted(kinds), digest) for kinds, digest in bits]))
"""


@pytest.mark.parametrize("variant", ["hybrid", "full", "compact"])
def test_the_interpreter_gives_the_same_bits(variant):
    compiled = played_bits(variant, SEEDS, ticks=TICKS)
    assert frozenset().union(*(kinds for kinds, _ in compiled)) == set(EVENT_NAMES)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", INTERPRETED.format(variant=variant)],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "NUMBA_DISABLE_JIT": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert [(frozenset(k), digest) for k, digest in json.loads(done.stdout)] == compiled
