"""What the figures of a benchmark depend on."""

import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def circumstances(packages: Sequence[str], how: str) -> dict[str, Any]:
    """Returns command, machine, versions and commit, as they go into a file of results.

    Args:
        packages: whose versions count; those that are not installed are left out.
        how: what the machine was made to do at a time, e.g. ``1 thread each``.
    """
    script = Path(sys.argv[0]).resolve()
    inside = script.relative_to(ROOT) if script.is_relative_to(ROOT) else script.name
    return {
        "command": " ".join(["python", str(inside), *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {how}, "
        f"Python {platform.python_version()}",
        "versions": {package: version(package) for package in packages if installed(package)},
        "commit": commit(),
    }


def installed(package: str) -> bool:
    """Says whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


def commit() -> str:
    """Returns the commit checked out; empty where there is none."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip()
