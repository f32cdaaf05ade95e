"""Which store is used, and what is refused before anything heavy is imported."""

import http.server
import subprocess
import sys
import threading

import pytest

from journeyman.errors import UserError
from journeyman.settings.tracking import NoTrackingSettings
from journeyman.tracking.address import check_reachable, resolve_address


def test_the_embedded_store_lies_in_the_outputs_folder(tmp_path):
    address = resolve_address(None, tmp_path)
    assert address.uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert address.artifacts == tmp_path / "artifacts"


def test_the_setting_wins_over_the_variable_and_that_over_the_default(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://variable:5000")
    assert resolve_address(None, tmp_path).uri == "http://variable:5000"
    assert resolve_address("http://setting:1/", tmp_path).uri == "http://setting:1"
    assert resolve_address("http://setting:1/", tmp_path).artifacts is None


def test_a_relative_database_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = resolve_address("sqlite:///store/runs.db", tmp_path / "outputs")
    assert address.uri == f"sqlite:///{tmp_path}/store/runs.db"
    assert address.artifacts == tmp_path / "store" / "artifacts"


def test_a_password_is_not_shown(tmp_path):
    address = resolve_address("postgresql://me:secret@host/runs", tmp_path)
    assert address.shown == "postgresql://me:***@host/runs"


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("file:///tmp/mlruns", "file store, which MLflow no longer supports"),
        ("./mlruns", "file store, which MLflow no longer supports"),
        ("databricks://profile", "unknown scheme 'databricks'; allowed: sqlite, http"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://", "names no file"),
    ],
)
def test_a_uri_of_another_kind_is_refused(settings, tmp_path, uri, problem):
    with pytest.raises(UserError, match=problem) as refused:
        check_reachable(settings(uri=uri), tmp_path)
    assert "tracking.uri=" in str(refused.value)


def test_a_server_that_is_not_there_is_named(settings, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9 \(from tracking\.uri\) gave no"):
        check_reachable(settings(uri="http://127.0.0.1:9"), tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="from MLFLOW_TRACKING_URI"):
        check_reachable(settings(), tmp_path)
    check_reachable(NoTrackingSettings(kind="none"), tmp_path)


@pytest.mark.parametrize(("code", "reachable"), [(200, True), (403, True), (503, False)])
def test_a_server_is_asked_for_its_health(settings, tmp_path, code, reachable):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chosen = settings(uri=f"http://user:pw@127.0.0.1:{server.server_port}/prefix")
        if reachable:
            check_reachable(chosen, tmp_path)
        else:
            with pytest.raises(UserError, match="answered 503 on /health") as refused:
                check_reachable(chosen, tmp_path)
            assert "pw" not in str(refused.value)
        server.shutdown()
    assert asked == ["/prefix/health"]


def test_a_database_that_cannot_be_written_is_named(settings, tmp_path):
    (tmp_path / "taken").write_text("a file, no folder")
    with pytest.raises(UserError, match="taken is no folder one may write to"):
        check_reachable(settings(), tmp_path / "taken")
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(UserError, match="is no file one may write to"):
        check_reachable(settings(), tmp_path)
    (tmp_path / "broken.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(UserError, match="cannot be used: file is not a database"):
        check_reachable(settings(uri=f"sqlite:///{tmp_path}/broken.db"), tmp_path)
    check_reachable(settings(), tmp_path / "not yet there")
    assert not (tmp_path / "not yet there").exists()


def test_checking_imports_neither_mlflow_nor_sqlalchemy():
    code = (
        "import sys, journeyman.tracking.composite, journeyman.tracking.ui, "
        "journeyman.tracking.redelivery;"
        "print([name for name in ('mlflow', 'sqlalchemy', 'filelock') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
