"""The server of MLflow stores on a thread of the test's process, where a test can patch it."""

import io
import os
import threading

from journeyman.tracking.remote_store import Server
from journeyman.tracking.store_process import StoreServer


def start_on_a_thread() -> Server:
    """Starts it; what is called and answered crosses pipes, as it does between processes."""
    calls_read, calls_written = os.pipe()
    answers_read, answers_written = os.pipe()

    def serve() -> None:
        with open(calls_read, "rb") as calls:
            StoreServer(os.fdopen(answers_written, "wb")).serve(calls)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def wait() -> str:
        thread.join(5.0)
        return "its thread ended"

    return Server(calls=io.FileIO(calls_written, "wb"), answers=open(answers_read, "rb"), wait=wait)
