"""The tracking store: whether it can be used, and runs in it that nobody works on any more."""

import json
import shlex
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from journeyman.doctor.finding import Finding
from journeyman.errors import UserError
from journeyman.run_folder import FINISHED, is_held, status_of
from journeyman.sweeps.record import JOB_FILE, SweepRecord, process_lives
from journeyman.tracking.address import StoreAddress, check_store, resolve_address
from journeyman.tracking.identity import RunIdentity
from journeyman.tracking.left_open import OpenRun, open_runs
from journeyman.tracking.mlflow_server import NO_ANSWER, ask
from journeyman.tracking.schema import deleted_experiments
from journeyman.tracking.spool import spools_below

STALE_RUN_HOURS = 24.0
EXPERIMENT = "journeyman"
"""The ``tracking.experiment`` that runs are in unless they say otherwise."""
_SHOWN = 5
_SECONDS = 4.0


def store(outputs: Path, uri: str | None) -> Iterator[Finding]:
    """Looks at whether the store answers, and is whole."""
    try:
        address = resolve_address(uri, outputs)
        began = time.perf_counter()
        check_store(address, EXPERIMENT)
        milliseconds = 1000.0 * (time.perf_counter() - began)
    except UserError as error:
        yield Finding("tracking", "fail", str(error), "or run with tracking=none")
        return
    if address.database is None:
        seen = f"{address.shown} (from {address.source}) answers in {milliseconds:.0f} ms"
        version = _server_version(address) if address.is_server else None
        yield Finding("tracking", "ok", seen + (f", MLflow {version}" if version else ""))
        if address.is_server:
            yield from _deleted(_deleted_on_server(address))
    elif _is_new(address.database):
        seen = f"{address.database} (from {address.source}) is made by the first run"
        yield Finding("tracking", "ok", seen)
    else:
        yield _database(address, address.database)
        try:
            with _reading(address.database) as connection:
                names = deleted_experiments(lambda query: connection.execute(query).fetchall())
        except sqlite3.DatabaseError:  # of which `_database` has said so
            return
        yield from _deleted(names)


def runs_left_open(outputs: Path, uri: str | None) -> Iterator[Finding]:
    """Looks for runs that are RUNNING in the store, while no process works on them."""
    try:
        address = resolve_address(uri, outputs)
        check_store(address)
        if address.database is not None and _is_new(address.database):
            return
        runs = open_runs(address)
    except UserError as error:
        # Of a store that does not answer `store` has said so.
        if "cannot be used" in str(error):
            yield Finding("open runs", "warn", str(error))
        return
    at_work, gone, unknown = 0, [], []
    for run in runs:
        try:
            lives = _is_worked_on(run)
        except (UserError, OSError) as error:
            yield Finding("open runs", "warn", f"{run.name} ({run.run_id}) is RUNNING; {error}")
            continue
        if lives:
            at_work += 1
        elif lives is False:
            gone.append(run)
        elif time.time() - run.began > 3600.0 * STALE_RUN_HOURS:
            unknown.append(run)
    if at_work:
        yield Finding("open runs", "ok", f"{at_work} at work on this machine")
    yield from _gone(gone)
    if unknown:
        first = f"{unknown[0].name} ({unknown[0].run_id}) in {unknown[0].run_dir}"
        seen = f"{len(unknown)} RUNNING for over {STALE_RUN_HOURS:.0f} h elsewhere, first {first}"
        advice = "if nobody works on them: journeyman resume FOLDER where their folders are"
        yield Finding("open runs", "warn", seen, advice)


def spools(outputs: Path) -> Iterator[Finding]:
    """Looks for what stores did not take."""
    runs = spools_below(outputs) if outputs.is_dir() else []
    if runs:
        seen = f"{len(runs)} runs have metrics the store did not take, first {runs[0]}"
        yield Finding("spools", "warn", seen, "they are delivered by: journeyman sync")


def _is_worked_on(run: OpenRun) -> bool | None:
    """Says whether a process works on a run; None where that cannot be known from here."""
    folder = run.run_dir
    identity = RunIdentity.read(folder) if folder is not None and folder.is_dir() else None
    if folder is None or identity is None or identity.run_id != run.run_id:
        return None
    if run.kind == "sweep":
        driver = SweepRecord.read(folder).driver_process
        return None if driver is None else process_lives(driver)
    return is_held(folder)


def _gone(runs: Iterable[OpenRun]) -> Iterator[Finding]:
    """Says of each folder how its runs are mended: once, of a sweep and its jobs together."""
    told: dict[str, OpenRun] = {}
    for run in sorted(runs, key=lambda run: run.kind != "sweep"):
        try:
            told.setdefault(_remedy(run), run)
        except (UserError, OSError) as error:
            told.setdefault(str(error), run)
    for advice, run in list(told.items())[:_SHOWN]:
        seen = f"{run.name} ({run.run_id}) is RUNNING, but its process is gone"
        yield Finding("open runs", "warn", seen, advice)
    if len(told) > _SHOWN:
        seen = f"{len(told) - _SHOWN} more are RUNNING, and their processes gone"
        yield Finding("open runs", "warn", seen, "look again when these are mended")


def _remedy(run: OpenRun) -> str:
    assert run.run_dir is not None
    folder = run.run_dir
    in_sweep = (folder / JOB_FILE).is_file()
    if spools_below(folder):
        return f"what it could not deliver, its end included: journeyman sync {_quoted(folder)}"
    if run.kind == "job" and status_of(folder) == FINISHED and not in_sweep:
        return f"it is finished in {folder}; set it so on the MLflow page"
    return f"to go on with it: journeyman resume {_quoted(folder.parent if in_sweep else folder)}"


def _quoted(folder: Path) -> str:
    return shlex.quote(str(folder))


def _reading(database: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True))


def _is_new(database: Path) -> bool:
    """Says whether a database is not there yet, or nothing is in it: the first run fills it."""
    if not database.exists():
        return True
    try:
        with _reading(database) as connection:
            return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None
    except sqlite3.DatabaseError:
        return False  # what is wrong with it is said by who reads on


def _database(address: StoreAddress, database: Path) -> Finding:
    size = database.stat().st_size / 2**20
    try:
        with _reading(database) as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            runs = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
    except sqlite3.DatabaseError as error:
        advice = "choose another with tracking.uri, or restore a backup"
        return Finding("tracking", "fail", f"{database}: {error}", advice)
    if verdict != "ok":
        return Finding("tracking", "fail", f"{database}: {verdict}", "restore a backup of it")
    seen = f"{database} (from {address.source}): {runs} runs, {size:.1f} MiB, journal {mode}"
    return Finding("tracking", "ok", seen)


def _server_version(address: StoreAddress) -> str | None:
    try:
        return ask(address, "/version", seconds=_SECONDS)[:100].decode().strip()
    except NO_ANSWER:
        return None


def _deleted_on_server(address: StoreAddress) -> list[str]:
    path, wanted = "/api/2.0/mlflow/experiments/search", {"view_type": "DELETED_ONLY"}
    try:
        found = ask(address, path, seconds=_SECONDS, body={**wanted, "max_results": 1000})
        return [str(each["name"]) for each in json.loads(found).get("experiments", [])]
    except NO_ANSWER:
        return []


def _deleted(names: Sequence[str]) -> Iterator[Finding]:
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        seen = f"deleted, though still there: experiment {', '.join(names[:_SHOWN])}{more}"
        advice = "a run with such a tracking.experiment is refused: restore it, or use another name"
        yield Finding("tracking", "warn", seen, advice)
