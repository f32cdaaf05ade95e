"""Runs tracked in PostgreSQL, and their password, which nothing keeps."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cartpole import PRACTICE
from support.commands import journeyman, run_folders
from support.outages import free_port, logged
from support.postgres import USER, binaries, postgres

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(binaries() is None, reason="needs PostgreSQL's programs (apt: postgresql)"),
]

PASSWORD = "hush-hush"
TINY = (*PRACTICE, "strategy.updates=3")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with postgres(PASSWORD) as port:
        yield port


def uri(port: int, *, password: str = PASSWORD, database: str = "runs") -> str:
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{database}"


@pytest.fixture(scope="module")
def tracked(port: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two runs in PostgreSQL; returns the working folder."""
    work = tmp_path_factory.mktemp("tracked")
    where = f"tracking.uri={uri(port)}"
    done = journeyman("--multirun", where, "seed=0,1", *TINY, cwd=work, timeout=400)
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return work


def test_runs_and_metrics_are_in_the_database(tracked: Path, port: int) -> None:
    code = (
        "import json, sys\n"
        "from mlflow import MlflowClient\n"
        "from support.outages import stored\n"
        "client = MlflowClient(sys.argv[1])\n"
        "experiment = client.get_experiment_by_name('journeyman')\n"
        "runs = client.search_runs([experiment.experiment_id])\n"
        "print(json.dumps([[run.info.run_id, run.info.status, run.data.tags, run.data.params,\n"
        "                   stored(client, run.info.run_id)] for run in runs]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, uri(port).replace("postgresql:", "postgresql+psycopg:")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        check=True,
    )
    assert PASSWORD not in done.stdout, "in a tag or a param"
    runs = {run[0]: run for run in json.loads(done.stdout.splitlines()[-1])}
    kinds = sorted(run[2]["kind"] for run in runs.values())
    assert kinds == ["job", "job", "stage", "stage", "sweep"]
    assert {run[1] for run in runs.values()} == {"FINISHED"}
    folders = run_folders(tracked / "outputs")
    assert len(folders) == 2
    for folder in folders:
        run_id = json.loads((folder / "tracking.json").read_text())["run_id"]
        of_store = {
            key: [(step, value) for step, value in points]
            for key, points in runs[run_id][4].items()
        }
        assert of_store == logged(folder)


def test_the_password_is_in_no_file(tracked: Path) -> None:
    """Config, Hydra's record, overrides, sweep, spool, report, the artifacts: none has it."""
    files = [path for path in tracked.rglob("*") if path.is_file()]
    assert {"config.yaml", "overrides.yaml", "hydra.yaml", "sweep.json", "report.html"} <= {
        path.name for path in files
    }
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []
    for config in tracked.rglob("config.yaml"):
        assert f"{USER}:***@127.0.0.1" in config.read_text()


def test_a_rerun_takes_the_password_from_the_environment(tracked: Path, port: int) -> None:
    original = run_folders(tracked / "outputs")[0]
    environment = dict.fromkeys(("PGPASSWORD", "PGPASSFILE", "PGSERVICE"), "")
    done = journeyman("rerun", str(original), cwd=tracked, **environment)
    assert done.returncode == 2
    assert "the password is kept nowhere; set PGPASSWORD, or MLFLOW_TRACKING_URI" in done.stderr
    done = journeyman("rerun", str(original), cwd=tracked, PGPASSWORD=PASSWORD)
    assert done.returncode == 0, done.stderr
    done = journeyman("rerun", str(original), cwd=tracked, MLFLOW_TRACKING_URI=uri(port))
    assert done.returncode == 0, done.stderr
    for folder in run_folders(tracked / "outputs"):
        assert PASSWORD not in (folder / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "guessed"}, "refuses the connection: .*password authentication failed"),
        ({"database": "nonesuch"}, 'refuses the connection: .*database "nonesuch" does not exist'),
        (None, "gave no answer: .*[Cc]onnection refused"),
    ],
)
def test_what_does_not_answer_or_refuses_is_one_line(
    port: int, tmp_path: Path, wrong: dict[str, str] | None, said: str
) -> None:
    chosen = uri(free_port()) if wrong is None else uri(port, **wrong)
    done = journeyman(f"tracking.uri={chosen}", *TINY, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert re.search(said, done.stderr), done.stderr
    assert "guessed" not in done.stderr
    assert list(tmp_path.iterdir()) == []
    done = journeyman("doctor", "--uri", chosen, cwd=tmp_path)
    assert done.returncode == 1
    flat = " ".join(done.stdout.split())
    assert re.search(said.partition(":")[0], flat), done.stdout
    assert "guessed" not in flat


def test_a_missing_driver_is_named(port: int, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(
        "import sys\nsys.modules['psycopg'] = None\n"
    )
    done = journeyman(
        f"tracking.uri={uri(port)}", *TINY, cwd=tmp_path, PYTHONPATH=str(tmp_path / "hidden")
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert 'needs a driver that is not installed: pip install "journeyman[postgres]"' in line
