"""The process that writes to MLflow stores for another one: ``python -m ... PARENT_PID``.

Calls come on standard input and answers go to standard output, a JSON object a line. It is gone
as soon as the other process is, however that ended: what it was sent and has not answered, its
sender has in the spool or in a checkpoint. Signals are for the sender, which ends it last.
"""

import contextlib
import json
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any

from journeyman.tracking import client, login, sqlite
from journeyman.tracking.address import StoreAway
from journeyman.tracking.calls import (
    StoreDescription,
    failure_to_json,
    operations_from_json,
    run_to_json,
)
from journeyman.tracking.mlflow_store import MlflowStore, open_patiently
from journeyman.tracking.operations import OpenRun, Operation, perform

LOCK_FILE = ".delivery.lock"
LOCK_SECONDS = 30.0
"""How long the process before this one is waited for, which is gone within a moment as a rule."""
BEAT_SECONDS = 5.0
"""Much less than a silent process is waited for: one of many slow calls is at work all the same."""
_PARENT_POLL_MILLISECONDS = 1000
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class StoreServer:
    """Carries out the calls that come in lines, each on a thread of its own.

    Args:
        answers: where the answers go, in lines.
    """

    def __init__(self, answers: IO[bytes]) -> None:
        self._answers = answers
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._stores: dict[int, _OpenStore] = {}

    def serve(self, lines: Iterable[bytes]) -> None:
        """Answers calls until there are no more lines, and ends the answers then."""
        for line in lines:
            message = json.loads(line)
            if "open" in message:
                _take_over_environment(message["environment"])
                description = StoreDescription.from_json(message["open"])
                self._stores[description.key] = _OpenStore(description)
            elif "close" in message:
                _begin(self._stores.pop(message["close"]).close)
            else:
                _begin(self._answer, self._stores[message["store"]], message)
        self._ended.set()
        with self._writing:
            self._answers.close()

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends a line, if there is still someone to read it."""
        line = json.dumps(message).encode() + b"\n"
        with self._writing, contextlib.suppress(BrokenPipeError):
            if not self._answers.closed:
                self._answers.write(line)
                self._answers.flush()

    def beat(self) -> None:
        """Says time and again, whatever else is at work, that this process is alive."""
        while not self._ended.wait(BEAT_SECONDS):
            self.send({"alive": True})

    def _answer(self, store: "_OpenStore", message: Mapping[str, Any]) -> None:
        answer: dict[str, Any] = {"call": message["call"], "runs": [], "experiment_id": ""}
        operations: list[Operation] = []
        try:
            try:
                operations = operations_from_json(message)
                store.carry_out(message["method"], operations)
            # Whatever a store raises is for the caller.
            except Exception as error:
                answer["failure"] = failure_to_json(error, lasting=store.store.refuses(error))
            # Also of a run whose opening failed halfway: it may be there.
            opened = [each.run for each in operations if isinstance(each, OpenRun)]
            answer["runs"] = [run_to_json(run) for run in opened]
            answer["experiment_id"] = store.store.known_experiment_id
        # Also what the store cannot judge, or what is no Exception: whoever asked waits for it.
        except BaseException as error:
            answer["failure"] = failure_to_json(error, lasting=True)
        self.send(answer)


class _OpenStore:
    """A store in use for a folder; meanwhile no other process writes to a store for that folder.

    A run that is resumed asks its store what it has of it: nothing may be added after that by the
    process that was killed, or rather by the one that wrote for it.
    """

    def __init__(self, description: StoreDescription) -> None:
        from filelock import FileLock

        self._address, self._folder = description.address, description.folder
        self.store = MlflowStore(description.address, description.experiment, description.identity)
        self._lock = FileLock(self._folder / LOCK_FILE, timeout=LOCK_SECONDS, thread_local=False)
        self._preparing = threading.Lock()
        self._prepared = self._closed = False

    def carry_out(self, method: str, operations: list[Operation]) -> None:
        """Does what a call asks for.

        Raises:
            Exception: what the store raised.
        """
        self._prepare()
        if method == "perform":
            perform(self.store, operations)
            return
        with client.store_errors(self._address):
            if method == "connect":
                self.store.connect()
            elif method == "open_patiently":
                (opening,) = operations
                assert isinstance(opening, OpenRun)
                open_patiently(self.store, opening)
            else:
                raise ValueError(f"a store has no method {method}")

    def close(self) -> None:
        """Lets go of the folder."""
        with self._preparing:
            self._closed = True
            if self._prepared:
                self._lock.release()

    def _prepare(self) -> None:
        from filelock import Timeout

        with self._preparing:
            if self._prepared or self._closed:
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout as error:
                raise StoreAway(
                    f"another process still writes to {self._address.shown} for {self._folder}"
                ) from error
            if self._address.database is not None:
                sqlite.tune(self._address.database)
            self._prepared = True


def _begin(work: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()


class _Forwarding(logging.Handler):
    """Sends log lines to the caller, whose log they belong in."""

    def __init__(self, server: StoreServer) -> None:
        super().__init__()
        self._server = server

    def emit(self, record: logging.LogRecord) -> None:
        self._server.send({"log": [record.name, record.levelno, record.getMessage()]})


def _take_over_environment(variables: Mapping[str, str]) -> None:
    """Sets all variables as the caller has them now: passwords and certificates may be new."""
    own = (login.AUTH_VARIABLE, login.PLUGIN)  # not for a moment may requests be without it
    for name in os.environ.keys() - variables.keys():
        if (name, os.environ[name]) != own:
            del os.environ[name]
    os.environ.update(variables)
    client.set_environment()


def _leave_with(parent: int) -> None:
    """Ends this process at once when the other end of standard input is gone, or the parent is.

    A process that the parent has forked may hold that end for longer.
    """
    hangup = select.poll()
    hangup.register(sys.stdin.fileno(), 0)  # asks for nothing, and is told of the hangup
    while os.getppid() == parent and not hangup.poll(_PARENT_POLL_MILLISECONDS):
        pass
    os._exit(0)


def main() -> None:
    """Serves the process whose id is the first argument."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(int(sys.argv[1]),), daemon=True).start()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    server = StoreServer(answers)
    _begin(server.beat)
    logging.getLogger().addHandler(_Forwarding(server))
    with contextlib.suppress(ImportError):  # the first call meets it again, and says so
        client.import_mlflow()  # takes seconds, in which the caller does what else there is to do
    server.serve(sys.stdin.buffer)


if __name__ == "__main__":
    main()
