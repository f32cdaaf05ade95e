"""A real MLflow server that can be killed and brought back, behind a proxy that can fail."""

import http.client
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from support.cartpole import PRACTICE
from support.commands import run_folders

START_SECONDS = 300.0
PPO = (*PRACTICE, "tracking.flush_seconds=0.3")
QUICK = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "4"}


def free_port() -> int:
    """Returns a TCP port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class MlflowServer:
    """``mlflow server`` on a SQLite store in a folder.

    Args:
        folder: of the store and its artifacts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, on the same port and store each time, and waits until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        command += ["--artifacts-destination", (self.folder / "artifacts").as_uri()]
        log = (self.folder / "server.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self._process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the server does not answer"
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2.0).close()
                return
            time.sleep(0.1)

    def kill(self) -> None:
        """Kills it and its workers with SIGKILL."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def client(self) -> Any:
        """Returns MLflow's client on the server's own database: it also reads while it is away."""
        with warnings.catch_warnings():
            # MLflow's own mapping uses a loader that SQLAlchemy 2.1 deprecates.
            warnings.filterwarnings("ignore", message="The ``noload`` loader strategy")
            from mlflow import MlflowClient

            return MlflowClient(f"sqlite:///{self.folder}/server.db")


class Proxy:
    """Stands before a server and does to each request what it is told to.

    Attributes:
        mode: ``pass``; ``refuse`` closes each connection; ``error`` answers 500; ``slow`` passes
            after ``seconds``; ``drop`` passes and closes the connection instead of answering.
        seconds: of ``slow``.
        only: the mode is for paths that contain this.
        times: the mode is for so many requests, then ``pass``; None: for all.
        seen: path of each request that came.
    """

    def __init__(self, server_port: int) -> None:
        self.mode, self.seconds, self.only = "pass", 0.0, ""
        self.times: int | None = None
        self.seen: list[str] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with suppress(ConnectionError):
                    super().handle_one_request()

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                mode = proxy.mode_for(self.path)
                self.close_connection = True
                if mode == "refuse":
                    return
                if mode == "error":
                    self.send_error(500)
                    return
                if mode == "slow":
                    time.sleep(proxy.seconds)
                upstream = http.client.HTTPConnection("127.0.0.1", server_port, timeout=60)
                with closing(upstream):
                    try:
                        upstream.request(self.command, self.path, body, dict(self.headers))
                        answer = upstream.getresponse()
                        content = answer.read()
                    except (OSError, http.client.HTTPException):
                        return
                if mode == "drop":
                    return
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

            def log_message(self, *args: object) -> None:
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def uri(self) -> str:
        """Tracking URI of the server behind it."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def fail(
        self, mode: str, *, only: str = "", times: int | None = None, seconds: float = 0.0
    ) -> None:
        """Sets what is done from now on."""
        with self._lock:
            self.mode, self.only, self.times, self.seconds = mode, only, times, seconds

    def mode_for(self, path: str) -> str:
        """Returns what is to be done to a request, and counts it."""
        with self._lock:
            self.seen.append(path)
            if self.mode == "pass" or self.only not in path:
                return "pass"
            if self.times is not None:
                self.times -= 1
                if self.times < 0:
                    return "pass"
            return self.mode

    def close(self) -> None:
        """Ends it."""
        self._http.shutdown()
        self._http.server_close()


@contextmanager
def served(folder: Path) -> Iterator[tuple[MlflowServer, Proxy]]:
    """Runs a server and a proxy before it."""
    server = MlflowServer(folder)
    server.start()
    proxy = Proxy(server.port)
    try:
        yield server, proxy
    finally:
        proxy.close()
        server.kill()


def logged(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """Returns each number of a run folder's log: key -> (step, value), sorted."""
    found: dict[str, list[tuple[int, float]]] = {}
    others = ("group", "step", "time", "log_stream_offset", "telemetry_version")
    for text in (run_dir / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        for name, value in line.items():
            if name not in others and not isinstance(value, str):
                key = f"{line['group']}/{name}"
                found.setdefault(key, []).append((line["step"], float(value)))
    return {key: sorted(points) for key, points in found.items()}


def stored(client: Any, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Returns each number that a store has of a run: key -> (step, value), sorted."""
    return {
        key: sorted((each.step, each.value) for each in client.get_metric_history(run_id, key))
        for key in client.get_run(run_id).data.metrics
    }


class Run:
    """A command line at work in a folder of its own, told to go by what its log has reached."""

    def __init__(self, cwd: Path, proxy: Proxy, *arguments: str) -> None:
        self.cwd, self.outputs = cwd, cwd / "outputs"
        self.experiment = f"{cwd.parent.name}-{cwd.name}"
        self.said = cwd / "said.txt"
        where = (f"tracking.uri={proxy.uri}", f"tracking.experiment={self.experiment}")
        with self.said.open("a") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "journeyman", *arguments, *PPO, *where],
                cwd=cwd,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={**os.environ, **QUICK, "MLFLOW_TRACKING_URI": ""},
            )

    @property
    def folder(self) -> Path:
        return run_folders(self.outputs)[-1]

    def reaches(self, lines: int, seconds: float = 240.0) -> None:
        """Waits until the run's log has this many lines more than now, or the run is done."""
        before, deadline = self._lines(), time.monotonic() + seconds
        while self._lines() < before + lines and self.process.poll() != 0:
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _lines(self) -> int:
        return sum(path.read_bytes().count(b"\n") for path in self.cwd.rglob("metrics.jsonl"))

    def ends(self, code: int = 0) -> str:
        """Waits for its end, and returns what it said."""
        assert self.process.wait(timeout=400) == code, self.said.read_text()
        return self.said.read_text()
