"""What a run ran on: versions, machine, threads, source."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "journeyman",
    "torch",
    "numpy",
    "numba",
    "scipy",
    "gymnasium",
    "hydra-core",
    "omegaconf",
    "pydantic",
    "mlflow",
    "safetensors",
)

_GIT_SECONDS = 10
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
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
