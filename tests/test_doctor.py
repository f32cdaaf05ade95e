"""The doctor says what is wrong, and finds nothing wrong where nothing is."""

import io
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from journeyman.doctor import Finding, examine, print_findings


def about(findings: list[Finding], subject: str) -> list[Finding]:
    return [finding for finding in findings if finding.subject == subject]


def store_with_runs(path: Path, *runs: tuple[str, str, float]) -> None:
    """Writes the one table of MLflow's that the doctor reads: id, status, hours since start."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE runs (run_uuid TEXT, status TEXT, start_time INTEGER)")
        for name, status, hours in runs:
            began = int(1000 * (time.time() - 3600 * hours))
            connection.execute("INSERT INTO runs VALUES (?, ?, ?)", (name, status, began))


@pytest.fixture(autouse=True)
def _no_store_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_nothing_fails_on_a_machine_that_runs_these_tests(tmp_path: Path) -> None:
    findings = examine(tmp_path / "outputs", None)
    assert not [finding for finding in findings if finding.health == "fail"]
    assert about(findings, "tracking")[0].seen.endswith("is made by the first run")
    assert not (tmp_path / "outputs").exists()


def test_a_stale_run_is_named_and_a_fresh_one_is_not(tmp_path: Path) -> None:
    # RUNNING for 30 hours is past the 24 allowed; for 1 hour is not; FINISHED is never stale
    store_with_runs(
        tmp_path / "mlflow.db",
        ("old", "RUNNING", 30),
        ("new", "RUNNING", 1),
        ("done", "FINISHED", 90),
    )
    seen, stale = about(examine(tmp_path, None), "tracking")
    assert (seen.health, stale.health) == ("ok", "warn")
    assert "3 runs" in seen.seen
    assert stale.seen == "1 runs RUNNING for over 24 h, first old"


def test_a_file_that_is_no_database_fails_with_advice(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database, whatever its name says" * 100)
    (finding,) = about(examine(tmp_path, None), "tracking")
    assert finding.health == "fail"
    assert "tracking" in finding.seen or "database" in finding.seen
    assert finding.advice


def test_a_server_that_is_away_fails(tmp_path: Path) -> None:
    (finding,) = about(examine(tmp_path, "http://127.0.0.1:9"), "tracking")
    assert finding.health == "fail"
    assert "gave no answer" in finding.seen


def test_spools_are_counted(tmp_path: Path) -> None:
    run = tmp_path / "2026-01-01" / "run"
    run.mkdir(parents=True)
    (run / "tracking_spool.jsonl").write_text('{"tracking_uri": "http://127.0.0.1:9"}\n')
    (finding,) = about(examine(tmp_path, None), "spools")
    assert finding.health == "warn"
    assert str(run) in finding.seen


@pytest.mark.skipif(os.geteuid() != 0, reason="needs /proc, where even root cannot write")
def test_a_cache_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/nowhere")
    (finding,) = about(examine(tmp_path, None), "kernel cache")
    assert finding.health == "warn"
    assert "NUMBA_CACHE_DIR" in finding.advice


def test_advice_follows_the_table() -> None:
    written = io.StringIO()
    findings = [Finding("git", "warn", "not on the PATH", "install git"), Finding("a", "ok", "b")]
    print_findings(findings, Console(file=written, width=80))
    assert "- git: install git" in written.getvalue().splitlines()
