"""The doctor says what is wrong, and finds nothing wrong where nothing is."""

import errno
import io
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from journeyman.doctor import Finding, examine, print_findings
from journeyman.doctor.caches import dataset_cache
from journeyman.doctor.machine import available_cores, threads
from journeyman.doctor.stores import store
from journeyman.doctor.versions import extras, packages
from journeyman.run_folder import held
from journeyman.settings.tracking import MlflowSettings
from journeyman.sweeps.record import JobRecord, SweepRecord
from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.protocol import RunInfo, RunStatus
from journeyman.tracking.sweep import SweepRun


def about(findings: list[Finding], subject: str) -> list[Finding]:
    return [finding for finding in findings if finding.subject == subject]


@pytest.fixture(autouse=True)
def _no_store_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_nothing_fails_on_a_machine_that_runs_these_tests(tmp_path: Path) -> None:
    findings = examine(tmp_path / "outputs", None)
    assert not [finding for finding in findings if finding.health == "fail"]
    assert about(findings, "tracking")[0].seen.endswith("is made by the first run")
    assert not (tmp_path / "outputs").exists()


class LeftOpen:
    """A store with a run at work, one whose process is gone, and a sweep whose driver is."""

    def __init__(self, outputs: Path) -> None:
        self.outputs = outputs
        self.at_work, self.killed = (self._job(name) for name in ("at work", "killed"))
        self.sweep, self.in_sweep = outputs / "sweep", self._job("sweep/0")
        (self.in_sweep.run_dir / "job.json").write_text("{}")
        gone = subprocess.Popen(["true"])
        gone.wait()
        record = SweepRecord.begun("grid", ["seed=0"], [JobRecord.planned(0, ["seed=0"])])
        driver = f"{socket.gethostname()}:{gone.pid}"
        record.model_copy(update={"driver": driver}).save(self.sweep)
        self.parent = SweepRun.open(
            mlflow_settings(),
            outputs=outputs,
            sweep_dir=self.sweep,
            name="sweep seed",
            tags={"run_dir": str(self.sweep)},
        )

    def _job(self, name: str) -> SimpleNamespace:
        folder = self.outputs / name
        tracker = MlflowTracker(mlflow_settings(), outputs=self.outputs)
        tags = {"run_dir": str(folder)}
        tracker.start(RunInfo(experiment="tests", name=name, run_dir=folder, tags=tags))
        return SimpleNamespace(run_dir=folder, tracker=tracker, run_id=tracker.run_id)

    def end(self) -> None:
        for job in (self.at_work, self.killed, self.in_sweep):
            job.tracker.finish(RunStatus.KILLED)
        self.parent.finish("stopped", {})


def mlflow_settings() -> MlflowSettings:
    return MlflowSettings(
        kind="mlflow",
        uri=None,
        experiment="tests",
        run_name=None,
        flush_seconds=1,
        flush_metrics=9,
        system_metrics=False,
        system_metrics_seconds=10.0,
    )


@pytest.fixture(scope="module")
def left_open(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeftOpen]:
    found = LeftOpen(tmp_path_factory.mktemp("left open") / "outputs")
    yield found
    found.end()


def look(left_open: LeftOpen, uri: str | None) -> None:
    """Asserts what is said of its runs: of a sweep and its job once."""
    with held(left_open.at_work.run_dir):
        findings = about(examine(left_open.outputs, uri), "open runs")
    at_work, sweep, killed = sorted(findings, key=lambda f: (f.health, f.seen[0] != "s"))
    assert (at_work.health, at_work.seen) == ("ok", "1 at work on this machine")
    assert sweep.health == killed.health == "warn"
    gone = "is RUNNING, but its process is gone"
    assert sweep.seen == f"sweep seed ({left_open.parent.run_id}) {gone}"
    assert sweep.advice == f"to go on with it: journeyman resume '{left_open.sweep}'"
    assert killed.seen == f"killed ({left_open.killed.run_id}) {gone}"
    assert killed.advice == f"to go on with it: journeyman resume '{left_open.killed.run_dir}'"


def test_runs_whose_process_is_gone_are_named_with_what_mends_them(left_open: LeftOpen) -> None:
    before = (left_open.outputs / "mlflow.db").stat().st_mtime_ns
    look(left_open, None)
    assert (left_open.outputs / "mlflow.db").stat().st_mtime_ns == before
    # What it said at its end waits in its folder: nothing is to be run.
    spool = left_open.killed.run_dir / "tracking_spool.jsonl"
    spool.write_text('{"tracking_uri": "x"}\n')
    advice = [f.advice for f in about(examine(left_open.outputs, None), "open runs")]
    spool.unlink()
    assert (
        f"what it could not deliver, its end included: journeyman sync '{left_open.killed.run_dir}'"
    ) in advice


def test_runs_of_elsewhere_are_stale_after_a_day(
    left_open: LeftOpen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a folder that is not here nobody can say whether somebody works in it."""
    moved = left_open.killed.run_dir.rename(left_open.outputs / "moved")
    try:
        for hours, expected in ((23, 0), (25, 1)):
            now = time.time() + 3600 * hours
            monkeypatch.setattr(
                "journeyman.doctor.stores.time",
                SimpleNamespace(time=lambda now=now: now, perf_counter=time.perf_counter),
            )
            findings = about(examine(left_open.outputs, None), "open runs")
            stale = [f for f in findings if "for over 24 h elsewhere" in f.seen]
            assert len(stale) == expected
    finally:
        moved.rename(left_open.killed.run_dir)
    assert left_open.killed.run_id in stale[0].seen


@pytest.mark.slow
def test_runs_left_open_on_a_server_are_found(left_open: LeftOpen) -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{left_open.outputs}/mlflow.db"),
        ],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=left_open.outputs,
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 200
        while next(store(left_open.outputs, uri)).health == "fail":
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.5)
        look(left_open, uri)
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_a_file_that_is_no_database_fails_with_advice(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database, whatever its name says" * 100)
    (finding,) = about(examine(tmp_path, None), "tracking")
    assert finding.health == "fail"
    assert "tracking" in finding.seen or "database" in finding.seen
    assert finding.advice


def test_a_database_without_tables_is_new(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    findings = examine(tmp_path, None)
    (finding,) = about(findings, "tracking")
    assert finding.health == "ok"
    assert finding.seen.endswith("is made by the first run")
    assert about(findings, "open runs") == []


def test_any_name_of_an_outputs_folder_will_do(left_open: LeftOpen, tmp_path: Path) -> None:
    """Those that mean something in a database's address are refused where it is resolved."""
    folder = tmp_path / "d 'one' [x] & ü;"
    folder.mkdir()
    for file in left_open.outputs.glob("mlflow.db*"):
        shutil.copy(file, folder)
    findings = examine(folder, None)
    (finding,) = about(findings, "tracking")
    assert (finding.health, ": 4 runs" in finding.seen) == ("ok", True), finding.seen
    assert {f.health for f in about(findings, "open runs")} == {"warn"}


@pytest.mark.parametrize("name", ["tracking.json", "status.json"])
def test_what_an_open_run_has_damaged_is_said(left_open: LeftOpen, name: str) -> None:
    path = left_open.killed.run_dir / name
    before = path.read_bytes() if path.exists() else None
    path.write_text("{")
    try:
        findings = about(examine(left_open.outputs, None), "open runs")
    finally:
        path.unlink() if before is None else path.write_bytes(before)
    (finding,) = (f for f in findings if left_open.killed.run_id in f.seen)
    assert finding.health == "warn"
    assert f"{path}" in f"{finding.seen} {finding.advice}"
    assert len(findings) > 1, "of the others it is told as ever"


def test_what_may_not_be_looked_into_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, real = tmp_path / "closed", Path.stat
    closed.mkdir()

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if closed in path.parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(closed / "kernels"))
    findings = examine(closed / "outputs", None)
    (outputs,) = about(findings, "outputs")
    assert (outputs.health, "Permission denied" in outputs.seen) == ("fail", True)
    assert outputs.advice == "choose another with outputs=..."
    (kernels,) = about(findings, "kernel cache")
    assert f"(not: {closed}/kernels/journeyman: cannot be looked at" in kernels.seen
    assert {"python", "dataset cache", "tracking", "git"} <= {f.subject for f in findings}


def test_a_look_that_fails_stops_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken() -> Iterator[Finding]:
        yield Finding("cores", "ok", "some")
        raise RuntimeError("no\nsensors")

    monkeypatch.setattr("journeyman.doctor.cores", broken)
    findings = examine(tmp_path, None)
    some, failed = about(findings, "cores")
    assert some.seen == "some"
    assert failed.health == "fail"
    assert failed.seen == "could not be looked at: RuntimeError: no sensors"
    assert about(findings, "git")


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
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, "/proc/nowhere")
    (finding,) = about(examine(tmp_path, None), "kernel cache")
    assert finding.health == "warn"
    assert "NUMBA_CACHE_DIR" in finding.advice


def test_versions_of_all_that_has_a_say(monkeypatch: pytest.MonkeyPatch) -> None:
    (seen,) = (f.seen for f in packages() if f.subject == "packages")
    for name in ("mlflow", "sqlalchemy", "numba", "scipy", "gymnasium", "pettingzoo", "hydra-core"):
        assert f"{name} {version(name)}" in seen
    present = {f.subject: f.seen for f in extras()}
    assert f"optuna {version('optuna')}" in present["extra optuna"]
    assert f"hydra-joblib-launcher {version('hydra-joblib-launcher')}" in present["extra joblib"]

    def other(package: str) -> str:
        if package in ("ray", "hydra-ray-launcher", "torch"):
            raise PackageNotFoundError(package)
        return "9.9" if package in ("scipy", "optuna") else version(package)

    monkeypatch.setattr("journeyman.doctor.versions.version", other)
    (misfit,) = (f for f in packages() if f.health != "ok")
    assert misfit.health == "warn"
    assert "scipy 9.9 is not what journeyman asks for" in misfit.seen
    assert misfit.advice.startswith("pip install 'scipy")
    found = {f.seen.partition(" ")[0]: f for f in extras() if f.health == "warn"}
    assert found["optuna"].subject == "packages"
    assert found["torch"].advice == "pip install 'journeyman[torch]'"
    (absent,) = (f.seen for f in extras() if f.subject == "extras")
    assert "ray (launch=ray)" in absent


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OMP_NUM_THREADS", "1", None),
        ("OPENBLAS_NUM_THREADS", "100000", "threads would wait for each other"),
        ("MKL_NUM_THREADS", "many", "is no number of threads"),
    ],
)
def test_threads_and_the_variables_that_change_them(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str | None
) -> None:
    for each in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(each, raising=False)
    (default,) = threads()
    assert default.health == "ok"
    assert "runtime.torch_threads=1, runtime.town_threads=1 by default" in default.seen
    monkeypatch.setenv(name, value)
    _, finding = threads()
    assert finding.health == ("ok" if said is None else "warn")
    assert finding.seen.startswith(f"{name}={value}")
    assert said is None or said in finding.seen
    assert said is None or f"unset {name}" in finding.advice
    assert available_cores() >= 1


def test_the_cache_of_captures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = dataset_cache(tmp_path)
    assert (finding.health, finding.advice) == ("ok", "")
    folder = tmp_path / ".cache" / "datasets"
    folder.mkdir(parents=True)
    (folder / "one.safetensors").write_bytes(bytes(3 << 20))
    (finding,) = dataset_cache(tmp_path)
    assert finding.seen == f"{folder}, 3 MiB in 1 files"
    monkeypatch.setattr("journeyman.doctor.caches.LARGE_CACHE_MIB", 2)
    (finding,) = dataset_cache(tmp_path)
    assert (finding.health, f"rm -r {folder}" in finding.advice) == ("warn", True)
    (finding,) = dataset_cache(Path("/proc"))
    assert finding.health == "warn"


def test_advice_follows_the_table() -> None:
    written = io.StringIO()
    findings = [
        Finding("git", "warn", "not on the PATH", "install git"),
        Finding("a", "ok", "[/b]"),
    ]
    print_findings(findings, Console(file=written, width=80))
    assert "[/b]" in written.getvalue(), "what is found is no markup"
    assert "- git: install git" in written.getvalue().splitlines()
