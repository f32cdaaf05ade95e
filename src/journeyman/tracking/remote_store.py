"""A store that a process of its own writes to, so that MLflow is never imported beside training.

Importing MLflow takes seconds, and what it brings along makes a small task's training slower.
The process is started once and serves all runs of this one, in turn or at the same time.
"""

import atexit
import itertools
import json
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from journeyman.errors import UserError
from journeyman.tracking.address import StoreAddress, StoreAway
from journeyman.tracking.calls import (
    StoreDescription,
    StoreFailed,
    failure_from_json,
    operations_to_json,
    run_from_json,
)
from journeyman.tracking.identity import RunIdentity
from journeyman.tracking.operations import (
    CloseChildren,
    EndRun,
    LogDataset,
    LogModel,
    OpenRun,
    Operation,
    Points,
    RunReference,
    SetTags,
    StoreArtifact,
    TellJobs,
)
from journeyman.tracking.store_server import END_SECONDS, Server, start_server

_keys = itertools.count()


class StoreProcessGone(StoreAway):
    """The process ended; whether it has carried out what it was asked to, nobody knows."""


class StoreProcess:
    """Starts a server when one is needed, and again if it is gone; called from several threads.

    Args:
        start_server: starts it.
    """

    def __init__(self, start_server: Callable[[], Server] = start_server) -> None:
        self._start_server = start_server
        self._lock = threading.Lock()  # never held while something is sent
        self._sending = threading.Lock()  # taken before the other, by whoever needs both
        self._server: Server | None = None
        self._reader: threading.Thread | None = None
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._opened: set[int] = set()

    def start(self) -> None:
        """Starts the server, if it is not there, without waiting for it."""
        with self._lock:
            self._running()

    def call(
        self, store: StoreDescription, method: str, operations: Sequence[Operation] = ()
    ) -> dict[str, Any]:
        """Has a method of a store carried out, and returns the answer.

        It may take as long as the store takes; a process that hangs is killed meanwhile.

        Raises:
            StoreProcessGone: it ended before it answered.
        """
        number = next(self._numbers)
        message = {"store": store.key, "method": method, **operations_to_json(operations)}
        line = _line({"call": number, **message})
        answer: Future[dict[str, Any]] = Future()
        with self._sending:
            with self._lock:
                server = self._running()
                self._waiting[number] = answer
                is_new = store.key not in self._opened
                self._opened.add(store.key)
            if is_new:
                server.send(_line({"open": store.to_json(), "environment": dict(os.environ)}))
            server.send(line)
        return answer.result()

    def close_store(self, key: int) -> None:
        """Tells the server that a store is not needed any more; one that does not read is killed.

        Whatever it was asked to do and did not answer is in the spool, or asked of another.
        """
        with self._lock:
            server = self._server
            if server is None or key not in self._opened:
                return
        if not self._sending.acquire(timeout=END_SECONDS):
            server.kill()
            return
        try:
            with self._lock:
                if self._server is not server or key not in self._opened:
                    return
                self._opened.remove(key)
            if not server.send(_line({"close": key}), seconds=END_SECONDS):
                server.kill()
        finally:
            self._sending.release()

    def stop(self) -> None:
        """Ends the server, which leaves at once, and waits for that; kills one that does not."""
        with self._lock:
            server, reader = self._server, self._reader
        if server is None or reader is None:
            return
        if self._sending.acquire(timeout=END_SECONDS):
            server.calls.close()
            self._sending.release()
            reader.join(END_SECONDS)
        if reader.is_alive():
            server.kill()
            reader.join(END_SECONDS)

    def forget(self) -> None:
        """Closes this process's ends, in a fork of the process that the server belongs to."""
        if self._server is not None:
            self._server.calls.close()

    def _running(self) -> Server:
        if self._server is None:
            self._server = self._start_server()
            self._reader = threading.Thread(
                target=self._read, args=(self._server,), name="journeyman-answers", daemon=True
            )
            self._reader.start()
        return self._server

    def _read(self, server: Server) -> None:
        with server.answers:
            for line in server.lines():
                message = json.loads(line)
                if "log" in message:
                    _log(*message["log"])
                elif "call" in message:
                    with self._lock:
                        answer = self._waiting.pop(message["call"])
                    answer.set_result(message)
        said = server.wait()
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            self._server = None
            self._opened.clear()
        for answer in waiting.values():
            answer.set_exception(
                StoreProcessGone(
                    f"the process that writes to MLflow ended before it answered ({said})"
                )
            )
        with self._sending:  # whoever was sending has met its end by now
            server.calls.close()


class RemoteStore:
    """A store of a run folder that the process writes to.

    Args:
        address: which store.
        experiment: name of the experiment that new runs are opened in.
        folder: run folder, or folder of a sweep.
        identity: the run that is gone on with; its experiment may have another name by now.
    """

    def __init__(
        self,
        address: StoreAddress,
        experiment: str,
        *,
        folder: Path,
        identity: RunIdentity | None = None,
    ) -> None:
        self._description = StoreDescription(
            key=next(_keys),
            address=address,
            experiment=experiment,
            identity=identity,
            folder=folder,
        )
        self._experiment_id = "" if identity is None else identity.experiment_id

    def connect(self) -> None:
        """Connects to the store.

        Raises:
            StoreAway: the store may take it later.
            UserError: it will not.
        """
        self._again(lambda: self._call("connect"))

    def open_patiently(self, operation: OpenRun) -> None:
        """Opens a run that is not begun without it; an answer that is lost is asked for again.

        Also of another process, if the first one is killed meanwhile.

        Raises:
            UserError: the store cannot be used; a run that it created nevertheless has ended
                FAILED, if it could be told so.
        """
        self._again(lambda: self._open("open_patiently", operation))

    @property
    def experiment_id(self) -> str:
        """Id of the experiment; empty before a run is opened."""
        return self._experiment_id

    def close(self) -> None:
        """Lets go of the folder; a later call takes it again."""
        shared_process().close_store(self._description.key)

    def refuses(self, error: Exception) -> bool:
        if isinstance(error, StoreFailed):
            return error.lasting
        if isinstance(error, UserError):
            return not isinstance(error, StoreAway)
        return isinstance(error, ValueError | TypeError)  # what is no JSON never will be

    def open_run(self, operation: OpenRun) -> None:
        self._open("perform", operation)

    def log_points(self, run: RunReference, points: list[Points]) -> None:
        self._call("perform", points)

    def set_tags(self, operation: SetTags) -> None:
        self._call("perform", [operation])

    def log_dataset(self, operation: LogDataset) -> None:
        self._call("perform", [operation])

    def log_model(self, operation: LogModel) -> None:
        self._call("perform", [operation])

    def store_artifact(self, operation: StoreArtifact) -> None:
        self._call("perform", [operation])

    def close_children(self, operation: CloseChildren) -> None:
        self._call("perform", [operation])

    def tell_jobs(self, operation: TellJobs) -> None:
        self._call("perform", [operation])

    def end_run(self, operation: EndRun) -> None:
        self._call("perform", [operation])

    def _open(self, method: str, operation: OpenRun) -> None:
        try:
            self._call(method, [operation])
        except StoreProcessGone:
            operation.run.tried = True  # the answer may be all that is missing
            raise

    @staticmethod
    def _again(call: Callable[[], None]) -> None:
        try:
            call()
        except StoreProcessGone:
            call()  # another one is started

    def _call(self, method: str, operations: Sequence[Operation] = ()) -> None:
        answer = shared_process().call(self._description, method, operations)
        self._experiment_id = answer["experiment_id"] or self._experiment_id
        for operation, state in zip(operations, answer["runs"], strict=False):
            run_from_json(operation.run, state)
        if "failure" in answer:
            raise failure_from_json(answer["failure"])


def shared_process() -> StoreProcess:
    """Returns the one that all stores of this process share."""
    return _shared


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, allow_nan=False).encode() + b"\n"


def _log(name: str, level: int, message: str) -> None:
    logging.getLogger(name).log(level, "%s", message)


def _in_a_fork() -> None:
    global _shared
    _shared.forget()
    _shared = StoreProcess()


_shared = StoreProcess()
os.register_at_fork(after_in_child=_in_a_fork)
atexit.register(lambda: _shared.stop())
