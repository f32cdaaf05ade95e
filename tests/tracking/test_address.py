"""Which store is used, and what is refused before anything heavy is imported."""

import http.server
import os
import pickle
import re
import subprocess
import sys
import threading
import time

import pytest

from journeyman.errors import UserError
from journeyman.settings.tracking import (
    NoTrackingSettings,
    hide_passwords_in,
    without_passwords,
)
from journeyman.tracking.address import (
    StoreAway,
    check_reachable,
    check_store,
    resolve_address,
)


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
        ("sqlite:////tmp/what?x=1/mlflow.db", r"takes \? in its path for something else"),
        ("sqlite:////tmp/p%20#q/mlflow.db", "takes # and % in its path"),
        ("http://[bad", r"is no address of a server \(its host is malformed\)"),
        ("http://host:abc", r"is no address of a server \(its port is no number\)"),
        ("postgresql://u:p@127.0.0.1:abc/db", "no address of a database"),
    ],
)
def test_a_uri_of_another_kind_is_refused(settings, tmp_path, uri, problem):
    with pytest.raises(UserError, match=problem) as refused:
        check_reachable(settings(uri=uri), tmp_path)
    assert re.search(r"tracking\.uri[=)]", str(refused.value))
    assert not isinstance(refused.value, StoreAway)


@pytest.mark.parametrize("name", ["what?x=1", "p%20q", "a #1%20b"])
def test_an_outputs_folder_that_mlflow_would_misread_is_refused(settings, tmp_path, name):
    """Data would lie in ``what`` beside it, or in ``p q``."""
    with pytest.raises(UserError, match=r"choose another folder, with outputs or tracking\.uri"):
        check_reachable(settings(), tmp_path / name)


def test_a_server_that_is_not_there_is_named(settings, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9 \(from tracking\.uri\) gave no"):
        check_reachable(settings(uri="http://127.0.0.1:9"), tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="from MLFLOW_TRACKING_URI"):
        check_reachable(settings(), tmp_path)
    check_reachable(NoTrackingSettings(kind="none"), tmp_path)


@pytest.mark.parametrize(("code", "reachable"), [(200, True), (403, True), (503, False)])
def test_a_server_is_asked_for_its_health(tmp_path, code, reachable):
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
        uri = f"http://user:pw@127.0.0.1:{server.server_port}/prefix"
        address = resolve_address(uri, tmp_path)
        if reachable:
            check_store(address)
        else:
            with pytest.raises(UserError, match="answered 503 on /health") as refused:
                check_store(address)
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


WHOLE = "postgresql://me:se/cret@host/runs"
SHOWN = "postgresql://me:***@host/runs"


@pytest.fixture
def _no_secret(monkeypatch):
    for name in ("JOURNEYMAN_TRACKING_URI", "PGPASSWORD", "PGPASSFILE", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JOURNEYMAN_TRACKING_URI", "")  # so that it is taken back at the end


@pytest.mark.usefixtures("_no_secret")
def test_settings_keep_no_password_and_the_process_knows_it(settings, tmp_path):
    chosen = settings(uri=WHOLE)
    assert chosen.uri == SHOWN
    assert "se/cret" not in chosen.model_dump_json()
    address = resolve_address(chosen.uri, tmp_path)
    assert address.uri == "postgresql+psycopg://me:se/cret@host/runs"
    assert address.shown == SHOWN


@pytest.mark.usefixtures("_no_secret")
def test_a_command_line_keeps_no_password():
    words = ["--multirun", f"tracking.uri={WHOLE}", "note=a:b@c", f"+tracking.uri='{WHOLE}'"]
    assert without_passwords(words) == [
        "--multirun",
        f"tracking.uri={SHOWN}",
        "note=a:b@c",
        f"+tracking.uri='{SHOWN}'",
    ]
    assert os.environ["JOURNEYMAN_TRACKING_URI"] == WHOLE


@pytest.mark.usefixtures("_no_secret")
def test_a_password_comes_from_the_environment(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="kept nowhere; set PGPASSWORD, or MLFLOW_TRACKING_URI"):
        resolve_address(SHOWN, tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", WHOLE.replace("host", "other"))
    with pytest.raises(UserError, match="kept nowhere"):
        resolve_address(SHOWN, tmp_path)
    monkeypatch.setenv("PGPASSWORD", "secret")  # the driver itself reads it
    assert resolve_address(SHOWN, tmp_path).uri == "postgresql+psycopg://me@host/runs"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", WHOLE)
    assert resolve_address(SHOWN, tmp_path).uri == "postgresql+psycopg://me:se/cret@host/runs"


@pytest.mark.usefixtures("_no_secret")
def test_a_password_in_a_users_file_is_taken_out_of_hydras_record(settings, tmp_path):
    (tmp_path / "config.yaml").write_text(f"tracking:\n  uri: {WHOLE}\n  note: a:b@c\n")
    (tmp_path / "config.pickle").write_bytes(pickle.dumps({"uri": WHOLE}))
    hide_passwords_in(tmp_path)
    assert (tmp_path / "config.pickle").exists(), "of another run's secret nothing is known"
    settings(uri=WHOLE)
    hide_passwords_in(tmp_path)
    assert not (tmp_path / "config.pickle").exists()
    assert (tmp_path / "config.yaml").read_text() == f"tracking:\n  uri: {SHOWN}\n  note: a:b@c\n"


def test_a_database_that_does_not_answer_is_away_and_its_driver_is_named(tmp_path, monkeypatch):
    began = time.monotonic()
    with pytest.raises(StoreAway, match=r"postgresql://me:\*\*\*@127\.0\.0\.1:9/runs .*no answer"):
        check_store(resolve_address("postgresql://me:secret@127.0.0.1:9/runs", tmp_path))
    assert time.monotonic() - began < 10.0
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UserError, match=r'pip install "journeyman\[postgres\]"') as refused:
        check_store(resolve_address("postgresql://me:secret@127.0.0.1:9/runs", tmp_path))
    assert not isinstance(refused.value, StoreAway)
