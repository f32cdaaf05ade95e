"""What a server is asked before a run begins, and how its certificates and logins are known."""

import base64
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from journeyman.composition import compose_settings
from journeyman.errors import UserError
from journeyman.preflight import preflight
from journeyman.tracking.address import StoreAway, check_reachable

ABSENT = (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such experiment"})
ACTIVE = (200, {"experiment": {"experiment_id": "7", "lifecycle_stage": "active"}})
DELETED = (200, {"experiment": {"experiment_id": "7", "lifecycle_stage": "deleted"}})


class Answering(BaseHTTPRequestHandler):
    """Answers as the test says, to whoever has the login that it asks for."""

    def do_GET(self) -> None:
        told: SimpleNamespace = self.server.told  # type: ignore[attr-defined]
        healthy = self.path.endswith("/health")
        if not healthy:
            told.asked.append((self.path, self.headers["Authorization"]))
        code, said = (told.health, "OK") if healthy else told.answer
        if not healthy and told.login is not None and self.headers["Authorization"] != told.login:
            code, said = 401, "who are you?"
        body = (said if isinstance(said, str) else json.dumps(said)).encode()
        time.sleep(told.takes)
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Served:
    """A server on a port of its own."""

    def __init__(self) -> None:
        self.told = SimpleNamespace(health=200, answer=ABSENT, login=None, asked=[], takes=0.0)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.server.told = self.told  # type: ignore[attr-defined]
        # Who asks hangs up in some tests, and of others distrusts the certificate.
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture(autouse=True)
def _nothing_inherited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JOURNEYMAN_TRACKING_URI", "")
    for name in (
        *("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
        *("MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_TRACKING_SERVER_CERT_PATH"),
        *("MLFLOW_TRACKING_CLIENT_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("MLFLOW_TRACKING_AUTH", "NETRC"),
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def check(settings, tmp_path) -> Callable[[str], None]:
    return lambda uri: check_reachable(settings(uri=uri), tmp_path)


@pytest.mark.parametrize("answer", [ABSENT, ACTIVE])
def test_a_server_that_lets_one_in_is_taken(check, served, answer):
    served.told.answer = answer
    check(f"http://{served.host}/prefix")
    path = "/prefix/api/2.0/mlflow/experiments/get-by-name?experiment_name=tests"
    assert served.told.asked == [(path, None)]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((401, "who are you?"), r"refuses a request without login \(401\); set MLFLOW_TRACKING_US"),
        ((403, {"error_code": "PERMISSION_DENIED"}), r"refuses a request without login \(403\)"),
        ((404, "<p>no such page</p>"), "is none of MLflow's: .*get-by-name is answered 404"),
        ((200, "<p>a page</p>"), "is none of MLflow's: .*is answered by something else"),
        ((200, ["no object"]), "is none of MLflow's"),
        ((500, "broken"), r"answered 500 on /api/.*get-by-name; mend it"),
        ((500, {"error_code": "INTERNAL_ERROR", "message": "out\nof disk"}), "out of disk"),
    ],
)
def test_what_would_not_take_a_run_is_said_at_once(check, served, answer, problem):
    served.told.answer = answer
    with pytest.raises(StoreAway, match=problem):
        check(f"http://{served.host}")


def test_a_deleted_experiment_is_not_waited_for(check, served):
    served.told.answer = DELETED
    with pytest.raises(UserError, match=r"tracking\.experiment=tests was deleted in") as refused:
        check(f"http://{served.host}")
    assert not isinstance(refused.value, StoreAway)


def test_a_slow_server_has_four_seconds_in_all(check, served, monkeypatch):
    monkeypatch.setattr("journeyman.tracking.mlflow_server.ANSWER_SECONDS", 1.0)
    served.told.takes = 0.7
    began = time.monotonic()
    with pytest.raises(StoreAway, match="gave no answer"):
        check(f"http://{served.host}")
    assert time.monotonic() - began < 1.5


def test_the_jobs_of_a_sweep_ask_once(served, tmp_path):
    jobs = [
        compose_settings([f"seed={n}", f"tracking.uri=http://{served.host}", f"outputs={tmp_path}"])
        for n in range(3)
    ]
    preflight(jobs)
    assert len(served.told.asked) == 1
    served.told.answer = DELETED
    with pytest.raises(UserError, match="was deleted"):
        preflight(jobs)
    assert len(served.told.asked) == 2


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


@pytest.mark.parametrize("how", ["address", "variables", "file", "netrc", "token", "wrong"])
def test_a_login_is_found_where_mlflow_finds_it(check, served, how, tmp_path, monkeypatch):
    served.told.login = "Bearer abc" if how == "token" else basic("bob:p@w")
    uri = f"http://{served.host}"
    match how:
        case "address":
            uri = f"http://bob:p%40w@{served.host}"
        case "variables":
            monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
            monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "p@w")
            monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "less than these")
        case "file":
            (tmp_path / ".mlflow").mkdir()
            (tmp_path / ".mlflow" / "credentials").write_text(
                "[mlflow]\nmlflow_tracking_username = bob\nmlflow_tracking_password = p@w\n"
            )
        case "netrc":
            (tmp_path / ".netrc").write_text("machine 127.0.0.1 login bob password p@w\n")
            (tmp_path / ".netrc").chmod(0o600)
            monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "amy")
            monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "less than that")
        case "token":
            monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc")
        case "wrong":
            with pytest.raises(StoreAway, match=r"refuses this Basic login \(401\)") as refused:
                check(f"http://bob:other@{served.host}")
            assert "other" not in str(refused.value)
            return
    check(uri)
    assert len(served.told.asked) == 1


def test_what_a_plugin_of_mlflows_would_send_is_not_judged(check, served, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_AUTH", "of the company")
    served.told.login = "Negotiate"
    check(f"http://{served.host}")
    assert len(served.told.asked) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for 127.0.0.1 that it has signed itself, with its key in the same file."""
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "one.pem")),
        ],
        check=True,
        capture_output=True,
    )
    both = folder / "both.pem"
    both.write_text((folder / "one.pem").read_text() + (folder / "key.pem").read_text())
    return both


@pytest.fixture
def private(served, certificate) -> Served:
    """A server whose certificate nobody knows, and that asks for one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    listening = served.server.socket
    served.server.socket = context.wrap_socket(
        listening, server_side=True, do_handshake_on_connect=False
    )
    return served


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLFLOW_TRACKING_SERVER_CERT_PATH", None),
        ("REQUESTS_CA_BUNDLE", None),
        ("MLFLOW_TRACKING_INSECURE_TLS", "true"),
    ],
)
def test_a_private_certificate_is_trusted_as_mlflow_is_told(
    check, private, certificate, monkeypatch, name, value
):
    with pytest.raises(StoreAway, match=r"a certificate that is not trusted \(self.signed"):
        check(f"https://{private.host}")
    monkeypatch.setenv(name, value or str(certificate.with_name("one.pem")))
    check(f"https://{private.host}")
    if name == "REQUESTS_CA_BUNDLE":
        # What is MLflow's comes first, and is the one that does not know the server.
        import certifi

        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", certifi.where())
        with pytest.raises(StoreAway, match="not trusted"):
            check(f"https://{private.host}")


def test_a_certificate_of_ones_own_is_shown(check, private, certificate, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
    private.server.socket.context.verify_mode = ssl.CERT_REQUIRED
    with pytest.raises(StoreAway, match="gave no answer"):
        check(f"https://{private.host}")
    monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(certificate))
    check(f"https://{private.host}")


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"SERVER_CERT_PATH": "/no/such.pem"}, "SERVER_CERT_PATH=/no/such.pem names no cert"),
        ({"CLIENT_CERT_PATH": "/no/such.pem"}, "CLIENT_CERT_PATH=/no/such.pem is no certificate"),
        ({"SERVER_CERT_PATH": "/a", "INSECURE_TLS": "1"}, "exclude one another"),
    ],
)
def test_certificates_that_cannot_be_read_are_named(
    check, private, monkeypatch, variables, problem
):
    for name, value in variables.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    with pytest.raises(UserError, match=problem) as refused:
        check(f"https://{private.host}")
    assert not isinstance(refused.value, StoreAway)
