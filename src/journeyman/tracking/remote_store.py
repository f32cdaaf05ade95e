"""A store that a process of its own writes to, so that MLflow is never imported beside training.

Importing MLflow takes seconds, and what it brings along makes a small task's training slower.
The process is started once and serves all runs of this one, in turn or at the same time.
"""

import atexit
import contextlib
import io
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

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

_END_SECONDS = 1.0
"""How long an end is waited for, which comes at once."""
_keys = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Server:
    """A process that serves, as its caller sees it.

    Attributes:
        calls: raw, so that a fork of the caller has nothing of a call in a buffer.
        answers: in lines.
        wait: waits for its end, and says how it ended.
    """

    calls: io.RawIOBase
    answers: IO[bytes]
    wait: Callable[[], str]

    def send(self, line: bytes) -> None:
        """Sends a line; if the process is gone or going, whoever reads its answers is told."""
        rest = memoryview(line)
        with contextlib.suppress(BrokenPipeError):
            while rest and not self.calls.closed:
                rest = rest[self.calls.write(rest) or 0 :]


def start_server() -> Server:
    """Starts the process of ``store_process``."""
    process = subprocess.Popen(
        # -P: a file in the working folder is no module of ours.
        [sys.executable, "-P", "-m", "journeyman.tracking.store_process", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,  # a terminal's Ctrl-C is for the caller
    )
    assert isinstance(process.stdin, io.RawIOBase)
    assert isinstance(process.stdout, io.RawIOBase)

    def wait() -> str:
        try:
            code = process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:  # it closed its output, and is no use any more
            process.kill()
            code = process.wait()
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    return Server(calls=process.stdin, answers=io.BufferedReader(process.stdout), wait=wait)


class StoreProcessGone(StoreAway):
    """The process ended; whether it has carried out what it was asked to, nobody knows."""


class StoreProcess:
    """Starts a server when one is needed, and again if it is gone; called from several threads.

    Args:
        start_server: starts it.
    """

    def __init__(self, start_server: Callable[[], Server] = start_server) -> None:
        self._start_server = start_server
        self._lock = threading.Lock()
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

        Raises:
            StoreProcessGone: it ended before it answered.
        """
        number = next(self._numbers)
        message = {"store": store.key, "method": method, **operations_to_json(operations)}
        line = _line({"call": number, **message})
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            server = self._running()
            self._waiting[number] = answer
            if store.key not in self._opened:
                self._opened.add(store.key)
                server.send(_line({"open": store.to_json(), "environment": dict(os.environ)}))
            server.send(line)
        return answer.result()

    def close_store(self, key: int) -> None:
        """Tells the server that a store is not needed any more."""
        with self._lock:
            if self._server is None or key not in self._opened:
                return
            self._opened.remove(key)
            self._server.send(_line({"close": key}))

    def stop(self) -> None:
        """Ends the server, which leaves at once, and waits for that."""
        with self._lock:
            server, reader = self._server, self._reader
            if server is not None:
                server.calls.close()
        if reader is not None:
            reader.join(_END_SECONDS)

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
        with server.answers as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break  # it was killed as it wrote
                message = json.loads(line)
                if "log" in message:
                    _log(*message["log"])
                    continue
                with self._lock:
                    answer = self._waiting.pop(message["call"])
                answer.set_result(message)
        said = server.wait()
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            self._server = None
            self._opened.clear()
            server.calls.close()
        for answer in waiting.values():
            answer.set_exception(
                StoreProcessGone(
                    f"the process that writes to MLflow ended before it answered ({said})"
                )
            )


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
        self._call("connect")

    def open_patiently(self, operation: OpenRun) -> None:
        """Opens a run that is not begun without it; an answer that is lost is asked for again.

        Raises:
            UserError: the store cannot be used; a run that it created nevertheless has ended
                FAILED, if it could be told so.
        """
        self._open("open_patiently", operation)

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
