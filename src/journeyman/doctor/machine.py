"""The machine: cores, threads, device, disk, programs."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml

from journeyman.config_folder import CONF_DIR
from journeyman.doctor.finding import Finding
from journeyman.environment import processor
from journeyman.errors import UserError
from journeyman.folders import nearest_existing

LOW_DISK_GIB = 2.0
_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def available_cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cores() -> Iterator[Finding]:
    """Looks at cores and at what else they do."""
    count, load = available_cores(), os.getloadavg()[0]
    seen = f"{count} for this process, {processor()}; load {load:.1f}"
    if load > 0.75 * count:
        advice = "other work slows training; threads that wait for a busy core slow it most"
        yield Finding("cores", "warn", seen, f"{advice}: keep runtime.torch_threads=1")
    else:
        yield Finding("cores", "ok", seen)


def threads() -> Iterator[Finding]:
    """Looks at how many threads a run would use, and the libraries outside of runs."""
    import numpy as np  # noqa: F401  # its BLAS is what is looked at
    from threadpoolctl import threadpool_info

    count = available_cores()
    defaults = yaml.safe_load((CONF_DIR / "config.yaml").read_text())["runtime"]
    asked = {name: defaults[name] for name in ("torch_threads", "town_threads")}
    pools = ", ".join(f"{pool['internal_api']} {pool['num_threads']}" for pool in threadpool_info())
    said = ", ".join(f"runtime.{name}={number}" for name, number in asked.items())
    seen = f"{said} by default; a run keeps BLAS to torch_threads (outside of one: {pools})"
    if max(asked.values()) > count:
        advice = f"lower them to {count} or fewer"
        yield Finding("threads", "warn", seen, advice)
    else:
        yield Finding("threads", "ok", seen)
    for name in _VARIABLES:
        if name in os.environ:
            yield _variable(name, os.environ[name], count, asked["town_threads"])


def _variable(name: str, value: str, count: int, town_threads: int) -> Finding:
    seen = f"{name}={value}"
    if not value.isdigit() or int(value) < 1:
        return Finding("threads", "warn", f"{seen} is no number of threads", f"unset {name}")
    if int(value) > count:
        seen += f", with {count} cores: threads would wait for each other"
        return Finding("threads", "warn", seen, f"unset {name}, or set it to {count} or fewer")
    if name == "NUMBA_NUM_THREADS" and int(value) < town_threads:
        seen += f" is the most that runtime.town_threads={town_threads} can have"
        return Finding("threads", "warn", seen, f"unset {name}")
    return Finding("threads", "ok", seen)


def device() -> Iterator[Finding]:
    """Looks at what ``runtime.device=auto`` takes."""
    if importlib.util.find_spec("torch") is not None:
        from journeyman.learning.devices import describe_device

        yield Finding("device", "ok", describe_device())


def output_folder(outputs: Path) -> Iterator[Finding]:
    """Looks at where run folders go."""
    advice = "choose another with outputs=..."
    try:
        folder = nearest_existing(outputs)
    except UserError as error:
        yield Finding("outputs", "fail", str(error), advice)
        return
    free = shutil.disk_usage(folder).free / 2**30
    seen = f"{outputs}, {free:.1f} GiB free"
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("outputs", "fail", f"{outputs}: {folder} cannot be written to", advice)
    elif free < LOW_DISK_GIB:
        yield Finding("outputs", "warn", seen, "make room: checkpoints and metrics need it")
    else:
        yield Finding("outputs", "ok", seen)


def programs() -> Iterator[Finding]:
    """Looks at programs that a run may call."""
    for name, use in (("ffmpeg", "strategy.render=mp4"), ("git", "the commit in a run's record")):
        path = shutil.which(name)
        if path is None:
            yield Finding(name, "warn", f"not on the PATH: no {use}", f"install {name} to have it")
        else:
            yield Finding(name, "ok", path)
