"""``journeyman doctor``: what is here, and what is wrong with it; changes nothing."""

import importlib.util
import os
import shutil
import sqlite3
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table

from journeyman.environment import describe_environment
from journeyman.errors import UserError
from journeyman.tracking.address import StoreAddress, check_store, resolve_address
from journeyman.tracking.spool import spools_below

Health = Literal["ok", "warn", "fail"]

LOW_DISK_GIB = 2.0
STALE_RUN_HOURS = 24.0
LARGE_CACHE_MIB = 1024
_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}
_TORCH = "pip install 'journeyman[torch]'"


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        subject: what was looked at.
        health: ``warn`` where a run works but not well, ``fail`` where none would.
        seen: what was found.
        advice: what to do about it; empty where nothing is to be done.
    """

    subject: str
    health: Health
    seen: str
    advice: str = ""


def examine(outputs: Path, uri: str | None) -> list[Finding]:
    """Looks at versions, machine, device, tracking store, caches and programs.

    Args:
        outputs: absolute outputs folder.
        uri: ``tracking.uri``; None: as a run without it would choose.
    """
    about = describe_environment(torch_threads=1, town_threads=1)
    looks: tuple[Callable[[], Iterable[Finding]], ...] = (
        lambda: _versions(about),
        lambda: _cores(about),
        _device,
        lambda: _outputs(outputs),
        lambda: _store(outputs, uri),
        lambda: _spools(outputs),
        _kernel_cache,
        _programs,
    )
    return [finding for look in looks for finding in look()]


def print_findings(findings: Iterable[Finding], console: Console) -> None:
    """Prints findings as a table, and what to do about them below it."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("looked at", no_wrap=True)
    table.add_column("found", overflow="fold")
    advice = []
    for finding in findings:
        table.add_row(
            f"[{_STYLES[finding.health]}]{finding.health}[/]", finding.subject, finding.seen
        )
        if finding.advice:
            advice.append(f"{finding.subject}: {finding.advice}")
    console.print(table)
    for line in advice:
        console.print(f"- {line}", markup=False, highlight=False, soft_wrap=True)


def _versions(about: Mapping[str, Any]) -> Iterable[Finding]:
    yield Finding("python", "ok", f"{about['python']} on {about['platform']}")
    packages = about["packages"]
    present = ", ".join(f"{name} {number}" for name, number in packages.items() if number)
    yield Finding("packages", "ok", present)
    missing = [name for name, number in packages.items() if number is None]
    if missing == ["torch"]:
        seen = "torch is not installed: bc, ppo and anneal cannot run"
        yield Finding("training", "warn", seen, _TORCH)
    elif missing:
        yield Finding(
            "packages", "fail", f"missing: {', '.join(missing)}", "install journeyman anew"
        )
    git = about["git"]
    if git is not None:
        dirty = ", with uncommitted changes (their diff is saved with each run)"
        yield Finding("source", "ok", f"commit {git['commit'][:12]}{dirty if git['dirty'] else ''}")


def _cores(about: Mapping[str, Any]) -> Iterable[Finding]:
    cores, load = about["cores"], os.getloadavg()[0]
    seen = f"{cores} for this process, {about['processor']}; load {load:.1f}"
    if load > 0.75 * cores:
        advice = "other work slows training; threads that wait for a busy core slow it most"
        yield Finding("cores", "warn", seen, f"{advice}: keep runtime.torch_threads=1")
    else:
        yield Finding("cores", "ok", seen)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        if name in os.environ:
            yield Finding("threads", "ok", f"{name}={os.environ[name]}")


def _device() -> Iterable[Finding]:
    if importlib.util.find_spec("torch") is not None:
        from journeyman.learning.devices import describe_device

        yield Finding("device", "ok", describe_device())


def _outputs(outputs: Path) -> Iterable[Finding]:
    folder = outputs
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    seen = f"{outputs}, {free:.1f} GiB free"
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        advice = "choose another with outputs=..."
        yield Finding("outputs", "fail", f"{outputs}: {folder} cannot be written to", advice)
    elif free < LOW_DISK_GIB:
        yield Finding("outputs", "warn", seen, "make room: checkpoints and metrics need it")
    else:
        yield Finding("outputs", "ok", seen)


def _store(outputs: Path, uri: str | None) -> Iterable[Finding]:
    try:
        address = resolve_address(uri, outputs)
        began = time.perf_counter()
        check_store(address)
        milliseconds = 1000.0 * (time.perf_counter() - began)
    except UserError as error:
        yield Finding("tracking", "fail", str(error), "or run with tracking=none")
        return
    if address.database is None:
        seen = f"{address.shown} (from {address.source}) answers in {milliseconds:.0f} ms"
        version = _server_version(address)
        yield Finding("tracking", "ok", seen + (f", MLflow {version}" if version else ""))
    elif not address.database.exists():
        seen = f"{address.database} (from {address.source}) is made by the first run"
        yield Finding("tracking", "ok", seen)
    else:
        yield from _database(address, address.database)


def _database(address: StoreAddress, database: Path) -> Iterable[Finding]:
    size = database.stat().st_size / 2**20
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            runs = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
            before = 1000.0 * (time.time() - 3600.0 * STALE_RUN_HOURS)
            stale = connection.execute(
                "SELECT run_uuid FROM runs WHERE status = 'RUNNING' AND start_time < ?", (before,)
            ).fetchall()
        except sqlite3.DatabaseError as error:
            advice = "choose another with tracking.uri, or restore a backup"
            yield Finding("tracking", "fail", f"{database}: {error}", advice)
            return
    if verdict != "ok":
        yield Finding("tracking", "fail", f"{database}: {verdict}", "restore a backup of it")
        return
    seen = f"{database} (from {address.source}): {runs} runs, {size:.1f} MiB, journal {mode}"
    yield Finding("tracking", "ok", seen)
    if stale:
        seen = f"{len(stale)} runs RUNNING for over {STALE_RUN_HOURS:.0f} h, first {stale[0][0]}"
        yield Finding("tracking", "warn", seen, "their processes were killed; rerun what they were")


def _server_version(address: StoreAddress) -> str | None:
    try:
        with urllib.request.urlopen(f"{address.uri}/version", timeout=4.0) as answer:
            return str(answer.read(100).decode().strip())
    except (OSError, ValueError):
        return None


def _spools(outputs: Path) -> Iterable[Finding]:
    runs = spools_below(outputs) if outputs.is_dir() else []
    if runs:
        seen = f"{len(runs)} runs have metrics the store did not take, first {runs[0]}"
        yield Finding("spools", "warn", seen, "they are delivered by: journeyman sync")


def _kernel_cache() -> Iterable[Finding]:
    base = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "journeyman"
    existing = folder
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        advice = "each process compiles the town anew; set NUMBA_CACHE_DIR to a folder of yours"
        yield Finding("kernel cache", "warn", f"{folder}: {error}", advice)
        return
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20
    seen = f"{folder}, {size:.0f} MiB"
    if size > LARGE_CACHE_MIB:
        advice = f"older versions' kernels are of no more use: rm -r {folder}"
        yield Finding("kernel cache", "warn", seen, advice)
    else:
        yield Finding("kernel cache", "ok", seen)


def _programs() -> Iterable[Finding]:
    for name, use in (("ffmpeg", "strategy.render=mp4"), ("git", "the commit in a run's record")):
        path = shutil.which(name)
        if path is None:
            yield Finding(name, "warn", f"not on the PATH: no {use}", f"install {name} to have it")
        else:
            yield Finding(name, "ok", path)
