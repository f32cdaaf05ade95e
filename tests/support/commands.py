"""The command line as its user runs it: a process of its own, in a folder of its own."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

TINY = (
    "debug=fast",
    "env.scenario=kitchen_breakfast",
    "env.episode_ticks=60",
    "dataset.ticks=60",
    "dataset.worlds=4",
    "strategy.ppo.worlds=4",
    "strategy.ppo.rollout_ticks=16",
    "anneal.guardrails.bc_accuracy.threshold=0.0",
    "anneal.guardrails.bc_accuracy.min_over_majority=0.0",
)
"""The default pipeline at its smallest."""


def journeyman(
    *arguments: str, cwd: Path, timeout: float = 120.0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m journeyman`` and returns what it said."""
    return subprocess.run(
        [sys.executable, "-m", "journeyman", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "MLFLOW_TRACKING_URI": "", **environment},
    )


def run_folders(outputs: Path) -> list[Path]:
    """Returns the run folders below an outputs folder, oldest first."""
    found = [
        path.parent for path in outputs.rglob("environment.json") if "artifacts" not in path.parts
    ]
    return sorted(found, key=lambda folder: folder.stat().st_mtime)


def without_torch(folder: Path) -> dict[str, str]:
    """Returns the environment of a process in which torch is not to be found."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'torch':\n"
        "            raise ModuleNotFoundError('torch is blocked', name=name)\n"
        "sys.meta_path.insert(0, NoTorch())\n"
    )
    return {"PYTHONPATH": str(folder)}


def mlflow_client(outputs: Path) -> Any:
    """Opens the embedded store of an outputs folder, quietly."""
    with warnings.catch_warnings():
        # MLflow's own mapping uses a loader that SQLAlchemy 2.1 deprecates.
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy")
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{outputs / 'mlflow.db'}")
