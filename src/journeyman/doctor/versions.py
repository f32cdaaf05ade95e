"""Versions of what is installed, against what this version asks for."""

import platform
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

import journeyman
from journeyman.doctor.finding import Finding
from journeyman.environment import git_state

_FEATURES = {
    "torch": "strategy=bc, ppo and anneal",
    "joblib": "launch=joblib",
    "ray": "launch=ray",
    "slurm": "launch=slurm",
    "optuna": "sweep=optuna",
    "postgres": "tracking.uri=postgresql://",
    "pettingzoo": "PettingZoo's own environments",
}
"""What an extra is for."""
_BESIDE = {"hydra-joblib-launcher": ("joblib",), "hydra-ray-launcher": ("ray",)}
"""Packages of an extra whose version says little without that of another."""


def packages() -> Iterator[Finding]:
    """Looks at Python and at everything that is needed in any case."""
    yield Finding("python", "ok", f"{sys.version.split()[0]} on {platform.platform()}")
    needed = [each for each in _requirements() if each.marker is None]
    names = ["journeyman", *(each.name for each in needed)]
    yield Finding("packages", "ok", _listed(names))
    missing = [each.name for each in needed if _version(each.name) is None]
    if missing:
        seen = f"missing: {', '.join(missing)}"
        yield Finding("packages", "fail", seen, "install journeyman anew")
    yield from _misfits(needed)


def extras() -> Iterator[Finding]:
    """Looks at what a user may do without."""
    absent = []
    for extra in _FEATURES:
        wanted = [each for each in _requirements() if _is_of(each, extra)]
        names = list(dict.fromkeys(each.name for each in wanted))
        if not names:
            continue
        if any(_version(name) is None for name in names):
            absent.append(extra)
            continue
        beside = [other for name in names for other in _BESIDE.get(name, ())]
        yield Finding(f"extra {extra}", "ok", _listed([*names, *beside]))
        yield from _misfits(wanted)
    if "torch" in absent:
        seen = "torch is not installed: bc, ppo and anneal cannot run"
        yield Finding("training", "warn", seen, "pip install 'journeyman[torch]'")
    others = [f"{extra} ({_FEATURES[extra]})" for extra in absent if extra != "torch"]
    if others:
        seen = f"not installed: {', '.join(others)}; pip install 'journeyman[NAME]' to have one"
        yield Finding("extras", "ok", seen)


def source() -> Iterator[Finding]:
    """Looks at the commit that runs."""
    state = git_state(Path(journeyman.__file__).resolve().parents[2])
    if state is not None:
        dirty = ", with uncommitted changes (their diff is saved with each run)"
        seen = f"commit {state['commit'][:12]}{dirty if state['dirty'] else ''}"
        yield Finding("source", "ok", seen)


def _requirements() -> list[Requirement]:
    try:
        return [Requirement(line) for line in requires("journeyman") or ()]
    except PackageNotFoundError:
        return []


def _is_of(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is not None and requirement.marker.evaluate({"extra": extra})


def _misfits(requirements: Iterable[Requirement]) -> Iterator[Finding]:
    for each in requirements:
        present = _version(each.name)
        if present is not None and not each.specifier.contains(present, prereleases=True):
            seen = f"{each.name} {present} is not what journeyman asks for ({each.specifier})"
            yield Finding("packages", "warn", seen, f"pip install '{each.name}{each.specifier}'")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"{name} {number}" for name in names if (number := _version(name)))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
