import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from journeyman.errors import UserError
from journeyman.learning.devices import resolve_device


def test_cpu_is_always_there():
    assert resolve_device("cpu") == torch.device("cpu")


def test_auto_is_the_gpu_with_most_free_memory_else_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda i: ((5, 9, 7)[i], 10))
    assert resolve_device("auto") == torch.device("cuda", 1)


@pytest.mark.parametrize("name", ["cuda:7", "cuda", "mps", "abacus"])
def test_an_absent_device_is_the_users_to_mend(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=name):
        resolve_device(name)


def test_learning_on_a_gpu_can_be_tried_where_little_is_installed():
    """Imports what ``test_cuda`` does, with the larger libraries out of reach."""
    tree = ast.parse(Path(__file__).with_name("test_cuda.py").read_text())
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    absent = ("hydra", "omegaconf", "mlflow", "numba", "gymnasium", "pettingzoo", "scipy", "rich")
    code = [
        "import sys",
        f"sys.modules |= dict.fromkeys({absent})",
        f"sys.path[:0] = {[*sys.path]!r}",
        *map(ast.unparse, imports),
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
