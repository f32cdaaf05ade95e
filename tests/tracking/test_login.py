"""A server's password is sent to that server, and is in nothing that is written or printed."""

import base64
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from journeyman.errors import UserError
from journeyman.settings.tracking import masked
from journeyman.tracking import client, login, mlflow_store, remote_store
from journeyman.tracking.address import StoreAddress, resolve_address
from journeyman.tracking.calls import failure_to_json
from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.protocol import RunStatus
from journeyman.tracking.remote_store import StoreProcess

PASSWORD = "sek%40ret"  # sek@ret, as a URI has it
HEADER = "Basic " + base64.b64encode(b"bob:sek@ret").decode()


class Failing(BaseHTTPRequestHandler):
    """Is well, answers all else with the code of the server, and notes by whom it was asked."""

    def do_GET(self) -> None:
        asked = self.server.asked  # type: ignore[attr-defined]
        healthy = self.path == "/health"
        if not healthy:
            asked.append(self.headers["Authorization"])
        code = 200 if healthy else self.server.code  # type: ignore[attr-defined]
        refusal = {"error_code": "INVALID_PARAMETER_VALUE", "message": "not you"}
        body = b"" if healthy or code == 500 else json.dumps(refusal).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    found.asked, found.code = [], 500  # type: ignore[attr-defined]
    threading.Thread(target=found.serve_forever, daemon=True).start()
    with found:
        yield found
        found.shutdown()


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "_logins", {})
    monkeypatch.setattr(mlflow_store, "OPENING_SECONDS", 0.6)
    for name in ("JOURNEYMAN_TRACKING_URI", login.AUTH_VARIABLE):
        monkeypatch.setenv(name, "")  # so that it is taken back at the end
        monkeypatch.delenv(name)


def uri_of(server: ThreadingHTTPServer) -> str:
    return f"http://bob:{PASSWORD}@127.0.0.1:{server.server_port}"


def holds_none(text: str) -> bool:
    return not any(word in text for word in (PASSWORD, "sek@ret", HEADER.split()[1]))


@pytest.mark.slow
@pytest.mark.parametrize("code", [500, 400])
def test_no_file_and_no_output_holds_the_password(
    settings, run_info, server, tmp_path, monkeypatch, caplog, capfd, code
):
    server.code = code
    monkeypatch.setattr(remote_store, "_shared", StoreProcess())  # with its own output
    info, outputs = run_info(), tmp_path / "outputs"
    with pytest.raises(UserError, match="cannot be used") as refused:
        MlflowTracker(settings(uri=uri_of(server)), outputs=outputs).start(info)
    resumed = MlflowTracker(
        settings(uri=uri_of(server)), outputs=outputs, finish_patience_seconds=1.0, position={}
    )
    said = [str(refused.value), *getattr(refused.value, "__notes__", [])]
    if code == 500:  # it goes on, and keeps what it has
        resumed.start(info)
        resumed.log("ppo", {"loss": 1.0}, 1)
        resumed.finish(RunStatus.FINISHED)
        assert "does not take" in caplog.text
        assert (info.run_dir / "tracking_spool.jsonl").exists()
    else:
        with pytest.raises(UserError, match="not you") as again:
            resumed.start(info)
        said.append(str(again.value))
        assert (info.run_dir / "tracking_refused.jsonl").exists()
    remote_store.shared_process().stop()
    assert set(server.asked) == {HEADER}
    captured = capfd.readouterr()
    files = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    for text in (*said, caplog.text, captured.out, captured.err, *files):
        assert holds_none(text)


def test_each_server_is_sent_its_own_login(tmp_path):
    def address(uri: str) -> StoreAddress:
        return resolve_address(uri, tmp_path)

    for uri in (
        f"http://bob:{PASSWORD}@one:5000",
        "https://amy:pw@two/a",
        "https://:token@two/b",
        "http://three",
    ):
        login.know(address(uri))
    known = {
        "http://one:5000/api/2.0/mlflow/runs/create": ("bob", "sek@ret"),
        "http://one/api": None,
        "https://one:5000/api": None,
        "https://two:443/a/api": ("amy", "pw"),
        "https://two/b/api": ("", "token"),
        "http://three/api": None,
        "http://one.elsewhere:5000/api": None,
        "https://two/ab": ("amy", "pw"),  # no path of theirs, but their host
    }
    assert {url: login.login_for(url) for url in known} == known


def test_a_plugin_that_the_user_has_chosen_stays(tmp_path, monkeypatch):
    monkeypatch.setenv(login.AUTH_VARIABLE, "theirs")
    login.know(resolve_address("http://bob:pw@one:5000", tmp_path))
    assert os.environ[login.AUTH_VARIABLE] == "theirs"


def test_the_plugin_is_not_asked_for_in_vain(monkeypatch):
    monkeypatch.setenv(login.AUTH_VARIABLE, login.PLUGIN)  # of the process that started this one
    client.set_environment()
    assert login.AUTH_VARIABLE not in os.environ


def test_what_a_store_says_is_masked_all_the_same(tmp_path):
    words = f"API request to http://bob:{PASSWORD}@127.0.0.1:7998/api failed"
    try:
        raise ConnectionError(words)
    except ConnectionError as error:
        crossed = json.dumps(failure_to_json(error, lasting=False))
    assert holds_none(crossed)
    assert "http://bob:***@127.0.0.1:7998/api" in crossed
    address = resolve_address(None, tmp_path)
    with pytest.raises(UserError) as refused, client.store_errors(address):
        raise ConnectionError(words)
    assert holds_none(str(refused.value))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://bob:se/cr@et@host:5000/x", "http://bob:***@host:5000/x"),
        (
            "'http://bob:pw@host', 'http://host:80/a@b'",
            "'http://bob:***@host', 'http://host:80/a@b'",
        ),
        ("http://host:5000 or me@host", "http://host:5000 or me@host"),
        ("uri: http://bob:12ab@host\n", "uri: http://bob:***@host\n"),
    ],
)
def test_passwords_are_found_in_texts(text, shown):
    assert masked(text) == shown


def test_a_host_is_needed(tmp_path: Path) -> None:
    for uri in ("'", "http://[bad", "http://bob:se/cret@host", "http://", "http://host:1x"):
        with pytest.raises(UserError) as refused:
            resolve_address(uri, tmp_path)
        assert "cret" not in str(refused.value)
