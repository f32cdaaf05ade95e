"""Stores and settings shared by the tests of tracking; importing MLflow is slow."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from journeyman.settings.tracking import MlflowSettings
from journeyman.tracking import remote_store, sqlite
from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.protocol import RunInfo
from support.killed_tracker import Killed
from support.serving import children_of, start_on_a_thread


@pytest.fixture(autouse=True)
def _no_inherited_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "JOURNEYMAN_PARENT_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _stores_served_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test may break what works on its store, and importing MLflow happens once."""
    process = remote_store.StoreProcess(start_on_a_thread)
    monkeypatch.setattr(remote_store, "_shared", process)
    yield
    process.stop()


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[remote_store.StoreProcess]:
    """A process of its own, in the place of the thread that serves other tests."""
    process = remote_store.StoreProcess()
    monkeypatch.setattr(remote_store, "_shared", process)
    yield process
    process.stop()


@pytest.fixture
def writer(real: remote_store.StoreProcess) -> Callable[[], int]:
    """Returns its process id."""
    of_others = children_of(os.getpid())

    def pid() -> int:
        real.start()
        (found,) = {
            child
            for child in children_of(os.getpid()) - of_others
            if "journeyman.tracking.store_process" in Path(f"/proc/{child}/cmdline").read_text()
        }
        return found

    return pid


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One embedded store for all tests that need no fresh one; a space in its path."""
    return tmp_path_factory.mktemp("outputs of all")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not taken is tried again in a moment."""
    monkeypatch.setattr("journeyman.tracking.lane.FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr("journeyman.tracking.lane.CLOSING_RETRY_SECONDS", 0.05)


def mlflow_settings(**changes: Any) -> MlflowSettings:
    values: dict[str, Any] = {
        "kind": "mlflow",
        "uri": None,
        "experiment": "tests",
        "run_name": None,
        "flush_seconds": 0.2,
        "flush_metrics": 500,
        "system_metrics": False,
        "system_metrics_seconds": 10.0,
    }
    return MlflowSettings(**{**values, **changes})


@pytest.fixture
def settings() -> Callable[..., MlflowSettings]:
    return mlflow_settings


@pytest.fixture
def run_info(tmp_path: Path) -> Callable[..., RunInfo]:
    def build(**changes: Any) -> RunInfo:
        values: dict[str, Any] = {
            "experiment": "tests",
            "name": "anneal seed=0",
            "run_dir": tmp_path / "run",
        }
        return RunInfo(**{**values, **changes})

    return build


@pytest.fixture
def tracker(outputs: Path) -> MlflowTracker:
    """A tracker of the shared store; as patient as a disk that is busy with others needs it."""
    return MlflowTracker(mlflow_settings(), outputs=outputs, finish_patience_seconds=60.0)


@pytest.fixture
def client(outputs: Path) -> Any:
    """A client of the shared store, for reading what was written."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy")
        from mlflow.tracking import MlflowClient

        sqlite.make_database(outputs / "mlflow.db")  # as a run makes it, not as MLflow does
        return MlflowClient(f"sqlite:///{outputs}/mlflow.db")


@pytest.fixture
def process(settings: Callable[..., MlflowSettings], outputs: Path) -> Callable[..., Killed]:
    # Metrics go out when the test asks for it, by an artifact, and not before.
    def begin(**more: Any) -> Killed:
        return Killed(settings(flush_seconds=600.0, flush_metrics=1000), outputs, **more)

    return begin
