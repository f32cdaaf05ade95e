"""The cache of compiled code: what makes it anew, and what it leaves alone."""

import ast
import shutil
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
