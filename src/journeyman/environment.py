"""What a run ran on: versions, machine, threads, source."""

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

NVIDIA = Path("/proc/driver/nvidia/gpus")
PACKAGES = (
    "journeyman",
    "torch",
    "numpy",
    "numba",
    "llvmlite",
    "scipy",
    "gymnasium",
    "pettingzoo",
    "mpe2",
    "pymunk",
    "box2d",
    "box2d-py",
    "mujoco",
    "ale-py",
    "hydra-core",
    "omegaconf",
    "pydantic",
    "mlflow",
    "safetensors",
)

_PATIENCE_SECONDS = 10
_DIFF_LIMIT = 1_000_000


def describe_environment(*, torch_threads: int, town_threads: int) -> dict[str, Any]:
    """Returns versions, processor, threads and source state as JSON-able values.

    The uncommitted changes are included up to 1 MB, since a commit alone does not name the code
    that ran; ``git`` is None where the package is not in a checkout.
    """
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": processor(),
        "gpu": graphics_processors(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "torch_threads": torch_threads,
        "town_threads": town_threads,
        "packages": {name: _version(name) for name in PACKAGES},
        "git": git_state(Path(__file__).resolve().parents[2]),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """Returns the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def graphics_processors() -> str | None:
    """Returns the names of the GPUs, as their driver has them; None where there is none.

    Torch is not asked: it would have to be imported, and may not be installed.
    """
    names = []
    for about in sorted(NVIDIA.glob("*/information")):
        for line in about.read_text(errors="replace").splitlines():
            if line.startswith("Model:"):
                names.append(line.partition(":")[2].strip())
    if not names and shutil.which("nvidia-smi"):
        listed = _said("nvidia-smi", "--query-gpu=name", "--format=csv,noheader") or ""
        names = [line.strip() for line in listed.splitlines() if line.strip()]
    return ", ".join(names) or None


def git_state(folder: Path) -> dict[str, Any] | None:
    """Returns commit, status and diff of a checkout; None where it is none."""
    if not (folder / ".git").exists():
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    diff = _git(folder, "diff", "HEAD") or ""
    status = _git(folder, "status", "--porcelain") or ""
    return {
        "commit": commit.strip(),
        "dirty": bool(status.strip()),
        "status": status[:_DIFF_LIMIT],
        "diff": diff[:_DIFF_LIMIT],
    }


def _git(folder: Path, *arguments: str) -> str | None:
    return _said("git", "-C", str(folder), *arguments)


def _said(*command: str) -> str | None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
