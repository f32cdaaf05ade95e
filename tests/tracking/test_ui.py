"""MLflow's page: what is refused, and a real server started and stopped."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager

import pytest

from journeyman.errors import UserError
from journeyman.tracking.address import check_reachable
from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.protocol import RunStatus
from journeyman.tracking.ui import chart_link, serve_ui
from support.memory_store import wait_for


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_link_leads_to_the_charts():
    assert chart_link(5000, "7") == (
        "http://127.0.0.1:5000/#/experiments/7/runs"
        "?workflowType=machine_learning&compareRunsMode=CHART"
    )


def test_no_database_and_a_busy_port_are_the_users_to_mend(tmp_path):
    with pytest.raises(UserError, match=r"no MLflow database .*mlflow\.db yet"):
        serve_ui(tmp_path, port=free_port(), experiment=None)
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} cannot be used"):
            serve_ui(tmp_path, port=port, experiment=None)


SERVE = """
import sys
from pathlib import Path
from journeyman.errors import UserError
from journeyman.tracking.ui import serve_ui
try:
    serve_ui(Path(sys.argv[1]), port=int(sys.argv[2]), experiment=sys.argv[3] or None)
except UserError as error:
    print(error)
    sys.exit(2)
"""


@contextmanager
def served(outputs, port, experiment):
    """A process that serves the page; a test that fails does not leave its servers running."""
    with subprocess.Popen(
        [sys.executable, "-u", "-c", SERVE, str(outputs), str(port), experiment],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            # It ends its own server on SIGTERM; `with` waits for it and closes the pipe.
            process.terminate()


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
            return True
    except urllib.error.URLError:
        return False


def stored_points(path):
    with closing(sqlite3.connect(path)) as database:
        return database.execute("select count(*) from metrics").fetchone()[0]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_page_is_served_and_closed_with_all_its_processes(
    number, tracker, run_info, outputs, tmp_path
):
    report = tmp_path / "report.html"
    report.write_text("<p>done</p>")
    tracker.start(run_info())
    tracker.artifact(report)
    tracker.finish(RunStatus.FINISHED)
    port = free_port()
    began = time.perf_counter()
    with served(outputs, port, "") as process:
        line = process.stdout.readline()
        print(f"{time.perf_counter() - began:.1f} s until the link was printed")
        # without a name: the experiment of the last run
        assert line == f"The curves: {chart_link(port, tracker.experiment_id)}\n"
        assert process.stdout.readline() == "Ctrl-C ends it.\n"
        page = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{page}/", timeout=10) as answer:
            assert b"<html" in answer.read()
        # artifacts of the embedded store are served
        with urllib.request.urlopen(
            f"{page}/get-artifact?path=report.html&run_uuid={tracker.run_id}", timeout=10
        ) as answer:
            assert answer.read() == b"<p>done</p>"
        os.kill(process.pid, number)
        rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert rest == "The page is closed; nothing was changed.\n"
    assert not answers(port)


@pytest.mark.slow
def test_an_unknown_experiment_ends_the_server_again(tracker, run_info, outputs):
    tracker.start(run_info())
    tracker.finish(RunStatus.FINISHED)
    port = free_port()
    with served(outputs, port, "no such experiment") as process:
        text, _ = process.communicate(timeout=60)
    assert re.search("there is no experiment 'no such experiment'", text)
    assert process.returncode == 2
    assert not answers(port)


@pytest.mark.slow
def test_a_server_is_logged_to_and_its_end_spools(settings, run_info, outputs, tmp_path, capsys):
    report = tmp_path / "report.html"
    report.write_text("<p>done</p>")
    # A first local run makes the database.
    local = MlflowTracker(settings(), outputs=tmp_path / "served")
    local.start(run_info(run_dir=tmp_path / "local"))
    local.finish(RunStatus.FINISHED)
    port = free_port()
    with served(tmp_path / "served", port, "") as process:
        assert process.stdout.readline().startswith("The curves:")
        uri = f"http://127.0.0.1:{port}"
        check_reachable(settings(uri=uri), tmp_path)
        info = run_info(experiment="over http")
        tracker = MlflowTracker(settings(uri=uri), outputs=tmp_path, finish_patience_seconds=1.0)
        tracker.start(info)
        for step in range(100):
            tracker.log("ppo", {f"m{index}": float(step) for index in range(20)}, step)
        with tracker.stage("00-ppo", {"updates": 100}) as stage:
            stage.figures({"loss": 0.5})
        tracker.artifact(report, "reports")
        # What was stored by hand does not wait for the metrics.
        wait_for(lambda: stored_points(tmp_path / "served" / "mlflow.db") == 100 * 20 + 1)
        # The server keeps its artifacts beside the embedded ones.
        stored = tmp_path / "served" / "artifacts"
        assert [path.read_text() for path in stored.rglob("report.html")] == ["<p>done</p>"]
    tracker.log("ppo", {"m0": 100.0}, 100)
    began = time.perf_counter()
    tracker.finish(RunStatus.FINISHED)
    assert time.perf_counter() - began < 20.0
    lines = (info.run_dir / "tracking_spool.jsonl").read_text().splitlines()
    assert len(lines) == 3  # where to, the last metric, the end
    assert capsys.readouterr().out == ""  # MLflow prints links at the end of a run otherwise
