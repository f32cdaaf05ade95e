"""MLflow's page on a run store, served for as long as one looks at it."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any, NoReturn

from journeyman.errors import UserError
from journeyman.tracking.address import StoreAddress, check_database, resolve_address
from journeyman.tracking.mlflow_server import ask

HOST = "127.0.0.1"
START_SECONDS = 90.0
STOP_SECONDS = 5.0


def chart_link(port: int, experiment_id: str) -> str:
    """Returns the address of an experiment's chart view.

    Without the query MLflow opens on a page for language models that has no runs.
    """
    return f"http://{HOST}:{port}{_chart_path(experiment_id)}"


def serve_ui(
    uri_or_outputs: str | Path,
    *,
    port: int,
    experiment: str | None,
    open_browser: bool = False,
) -> None:
    """Serves MLflow's page until Ctrl-C or SIGTERM, and prints the link to the curves.

    An HTTP store serves its own page: only its link is printed.

    Args:
        uri_or_outputs: a tracking URI, or the outputs folder of an embedded store.
        port: TCP port on the loopback interface.
        experiment: name of the experiment the link leads to; None: the one with the last run.
        open_browser: also open the link.

    Raises:
        UserError: there is no database yet, the port is taken, the experiment does not exist,
            or the server does not start (with its last words).
    """
    address = _address(uri_or_outputs)
    if address.is_server:
        experiment_id = _experiment_id(address, experiment)
        _announce(f"{address.plain}{_chart_path(experiment_id)}", open_browser)
        return
    if address.database is not None:
        if not address.database.exists():
            raise UserError(
                f"there is no MLflow database {address.database} yet; run an experiment first"
            )
        check_database(address)
    _check_port(port)
    with (
        _terminated_like_interrupted(),
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output,
        tempfile.TemporaryDirectory() as empty_folder,
    ):
        server = _start_server(address, port, output, empty_folder)
        try:
            _wait_until_it_answers(server, port, output)
            experiment_id = _experiment_id(_address(f"http://{HOST}:{port}"), experiment)
            _announce(chart_link(port, experiment_id), open_browser)
            print("Ctrl-C ends it.", flush=True)
            server.wait()
            raise UserError(f"the MLflow server ended by itself:\n{_last_words(output)}")
        except KeyboardInterrupt:
            print("The page is closed; nothing was changed.", flush=True)
        finally:
            _stop(server)


def _chart_path(experiment_id: str) -> str:
    query = "workflowType=machine_learning&compareRunsMode=CHART"
    return f"/#/experiments/{experiment_id}/runs?{query}"


def _address(uri_or_outputs: str | Path) -> StoreAddress:
    if isinstance(uri_or_outputs, Path):
        return resolve_address(f"sqlite:///{uri_or_outputs.resolve()}/mlflow.db", uri_or_outputs)
    return resolve_address(uri_or_outputs, Path.cwd())


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        # As the server does: a port whose last user has just left is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise UserError(
                f"port {port} cannot be used ({error}); choose another with --port"
            ) from error


def _start_server(
    address: StoreAddress, port: int, output: IO[str], empty_folder: str
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--backend-store-uri", address.uri, "--host", HOST, "--port", str(port)]
    # One worker answers a call in 8 ms, the default four in 50: they wake each other up.
    command += ["--workers", "1"]
    if address.artifacts is not None:
        command += ["--artifacts-destination", address.artifacts.as_uri()]
    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": os.environ.get("MLFLOW_DISABLE_TELEMETRY", "true"),
    }
    # Its own session, so that it and its workers can be ended together. Python and uvicorn look
    # for modules in the working folder first: a user's click.py or flask.py would break them.
    return subprocess.Popen(
        command,
        cwd=empty_folder,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        text=True,
        start_new_session=True,
    )


def _wait_until_it_answers(server: subprocess.Popen[str], port: int, output: IO[str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise UserError(f"the MLflow server did not start:\n{_last_words(output)}")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=2.0):
                return
        except OSError:
            time.sleep(0.2)
    raise UserError(
        f"the MLflow server did not answer within {START_SECONDS:.0f} s:\n{_last_words(output)}"
    )


def _experiment_id(server: StoreAddress, name: str | None) -> str:
    """Asks a server for the id of an experiment by name, or of the one with the last run."""
    try:
        if name is not None:
            query = urllib.parse.urlencode({"experiment_name": name})
            found = _ask(server, f"experiments/get-by-name?{query}")
            return str(found["experiment"]["experiment_id"])
        experiments = _ask(server, "experiments/search?max_results=1000").get("experiments", [])
        ids = [each["experiment_id"] for each in experiments]
        last = {"experiment_ids": ids, "order_by": ["start_time DESC"], "max_results": 1}
        runs = _ask(server, "runs/search", last).get("runs", [])
        return str(runs[0]["info"]["experiment_id"]) if runs else "0"
    except urllib.error.HTTPError as error:
        if error.code == 404 and name is not None:
            raise UserError(
                f"there is no experiment {name!r} in the MLflow store; see tracking.experiment"
            ) from error
        raise UserError(f"the MLflow server {server.shown} answered {error.code}") from error
    except OSError as error:
        raise UserError(f"the MLflow server {server.shown} gave no answer ({error})") from error


def _ask(server: StoreAddress, path: str, body: dict[str, Any] | None = None) -> Any:
    return json.loads(ask(server, f"/api/2.0/mlflow/{path}", seconds=20.0, body=body))


def _announce(link: str, open_browser: bool) -> None:
    print(f"The curves: {link}", flush=True)
    if open_browser:
        webbrowser.open(link)


def _last_words(output: IO[str]) -> str:
    output.seek(0)
    return "".join(output.readlines()[-15:]).strip()


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Lets SIGTERM end the block as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(server: subprocess.Popen[str]) -> None:
    """Ends the server and its workers; those that do not heed SIGTERM are killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
        except ProcessLookupError:
            break
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    server.wait()
