"""The server of MLflow stores: on a thread, where a test can patch it, or its process, watched."""

import io
import os
import threading
from pathlib import Path
from typing import Any

from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.store_process import StoreServer
from journeyman.tracking.store_server import Server


def start_on_a_thread() -> Server:
    """Starts it; what is called and answered crosses pipes, as it does between processes."""
    calls_read, calls_written = os.pipe()
    answers_read, answers_written = os.pipe()

    def serve() -> None:
        with open(calls_read, "rb") as calls:
            server = StoreServer(os.fdopen(answers_written, "wb"))
            threading.Thread(target=server.beat, daemon=True).start()
            server.serve(calls)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def wait() -> str:
        thread.join(5.0)
        return "its thread ended"

    os.set_blocking(calls_written, False)
    return Server(
        calls=io.FileIO(calls_written, "wb"),
        answers=io.FileIO(answers_read, "rb"),
        wait=wait,
        kill=lambda: None,
    )


def is_there(process: int) -> bool:
    """Says whether a process has not ended."""
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def children_of(process: int) -> set[int]:
    lists = Path(f"/proc/{process}/task").glob("*/children")
    return {int(child) for each in lists for child in each.read_text().split()}


def history(client: Any, tracker: MlflowTracker, key: str) -> list[tuple[int, float]]:
    return [(p.step, p.value) for p in client.get_metric_history(tracker.run_id, key)]
