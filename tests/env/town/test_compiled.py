"""The cache of compiled code: what makes it anew, and what it leaves alone."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import journeyman.env.town
from journeyman.env.town.compiled import _NOT_COMPILED, sources_digest

TOWN = Path(journeyman.env.town.__file__).parent


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(TOWN, tmp_path / "town"))


@pytest.mark.parametrize("name", ["rules/places.py", "names.py", "maps.py", "rules/new.py"])
def test_what_kernels_are_made_of_compiles_them_anew(copy, name):
    before = sources_digest(copy)
    with (copy / name).open("a") as file:
        file.write("# edited\n")
    assert sources_digest(copy) != before


@pytest.mark.parametrize("name", sorted(_NOT_COMPILED))
def test_what_no_kernel_is_made_of_compiles_nothing(copy, name):
    before = sources_digest(copy)
    with (copy / name).open("a") as file:  # which must be there
        assert file.tell() > 0
        file.write("# edited\n")
    assert sources_digest(copy) == before


def imported(module):
    """Returns the town's modules that one of them imports, as paths below the town."""
    found = set()
    for node in ast.walk(ast.parse((TOWN / module).read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            path = name.removeprefix("journeyman.env.town").lstrip(".").replace(".", "/") + ".py"
            if name.startswith("journeyman.env.town.") and (TOWN / path).exists():
                found.add(path)
    return found


def test_nothing_that_a_kernel_imports_is_left_out():
    kernels, ahead = set(), {"tick.py", "scripted.py"}
    while ahead:
        kernels |= ahead
        ahead = set().union(*(imported(module) for module in ahead)) - kernels
    assert {"rules/queues.py", "observation.py", "names.py"} <= kernels
    assert not kernels & _NOT_COMPILED


STEPS_A_TOWN = """
from journeyman.env.town import compiled
from journeyman.env.town.shipped import shipped_settings
from journeyman.env.town.vector_env import TownVectorEnv
import numpy as np

env = TownVectorEnv(shipped_settings(agents=2, grid=10), num_worlds=1)
env.reset(seed=0)
_, rewards, *_ = env.step(np.zeros(2, np.int64))
print(compiled.CACHE_FOLDER, float(rewards.sum()) < 0.0)
"""


def stepped(tmp_path, **environment):
    """Steps a town in a process with these variables; returns its folder, and what it logged.

    Interpreted, where compiling is not what is looked at: it takes half a minute.
    """
    env = {name: value for name, value in os.environ.items() if not name.endswith("_CACHE_DIR")}
    env.pop("XDG_CACHE_HOME", None)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", STEPS_A_TOWN],
        env={**env, "HOME": str(tmp_path), "NUMBA_DISABLE_JIT": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder, fine = done.stdout.rsplit(maxsplit=1)
    assert fine == "True"
    return folder, done.stderr


@pytest.fixture
def blocked(tmp_path):
    """A path at which no folder can be made, whoever tries: root may write everywhere."""
    (tmp_path / "a-file").write_text("")
    return tmp_path / "a-file"


@pytest.mark.parametrize("usable", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"])
def test_folders_for_compiled_code_are_tried_in_turn(tmp_path, blocked, usable):
    names = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME")
    before = dict.fromkeys(names[: names.index(usable)], str(blocked))
    folder, logged = stepped(tmp_path, **before, **{usable: str(tmp_path / "free")})
    root = tmp_path / "free" / (".cache" if usable == "HOME" else "")
    assert Path(folder).parent == root / "journeyman"
    assert Path(folder).is_dir()
    assert logged == ""


def test_where_nothing_can_be_written_it_says_so_once_and_goes_on(tmp_path, blocked):
    nowhere = dict.fromkeys(("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"), str(blocked))
    folder, logged = stepped(tmp_path, **nowhere)
    assert folder == "None"
    assert logged.count("every process compiles it anew") == 1
    assert str(blocked) in logged


@pytest.mark.slow
def test_where_nothing_can_be_written_it_compiles_all_the_same(tmp_path, blocked):
    nowhere = dict.fromkeys(("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"), str(blocked))
    folder, logged = stepped(tmp_path, **nowhere, NUMBA_DISABLE_JIT="0")
    assert folder == "None"
    assert logged.count("every process compiles it anew") == 1
    assert not list(tmp_path.rglob("*.nbi"))
