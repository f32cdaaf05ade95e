"""Runs of the command line that are killed at a named moment, each a process of its own.

A server process imports what is slow to import, once, and forks a child for each command line.
The child runs it as ``python -m journeyman`` does; at the n-th call of a named function it kills
itself with SIGKILL, before the call or after it. The process that writes to MLflow for it is a
fork, too; where the function is called there, the run is killed, and the writer with it.
"""

import functools
import importlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journeyman.tracking import remote_store, store_server


@dataclass(frozen=True)
class Moment:
    """When to kill.

    Attributes:
        function: ``module:name`` or ``module:Class.name``.
        call: which call of it, from 1 on.
        after: once it has done its work, not before it begins.
        about: count only calls that are given a file (a path, or an open one's descriptor) whose
            name has this in it.
    """

    function: str
    call: int = 1
    after: bool = False
    about: str = ""

    def counts(self, arguments: Sequence[Any]) -> bool:
        """Says whether a call with these arguments is one to count."""
        return not self.about or any(self.about in _file_named(each) for each in arguments)


def _file_named(argument: Any) -> str:
    if isinstance(argument, int):
        try:
            return os.readlink(f"/proc/self/fd/{argument}")
        except OSError:
            return ""
    return str(argument) if isinstance(argument, str | os.PathLike) else ""


class Processes:
    """Starts command lines in a folder.

    Args:
        cwd: their working folder.
    """

    def __init__(self, cwd: Path) -> None:
        given = os.environ.get("PYTHONPATH")
        tests = str(Path(__file__).parents[1])
        self._server = subprocess.Popen(
            [sys.executable, "-m", "support.killing"],
            cwd=cwd,
            env={
                **os.environ,
                "MLFLOW_TRACKING_URI": "",
                "PYTHONPATH": tests if given is None else os.pathsep.join((tests, given)),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._ask, self._answers = self._server.stdin, self._server.stdout
        self._answers.readline()

    def run(
        self,
        *argv: str,
        moment: Moment | None = None,
        killed_after: float | None = None,
    ) -> tuple[int, str]:
        """Runs a command line.

        Args:
            argv: of ``journeyman``.
            moment: when it kills itself.
            killed_after: seconds after which it is killed from outside, if it still runs.

        Returns:
            The exit code, -9 if it was killed, and what it said on stderr.
        """
        order = {
            "argv": argv,
            "moment": None if moment is None else vars(moment),
            "killed_after": killed_after,
        }
        self._ask.write(f"{json.dumps(order)}\n")
        self._ask.flush()
        code, said = json.loads(self._answers.readline())
        return code, said

    def close(self) -> None:
        """Ends the server."""
        self._ask.close()
        self._answers.close()
        self._server.wait(timeout=120)


def _serve() -> None:
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import scipy.stats  # noqa: F401
    import torch  # noqa: F401

    import journeyman.orchestrator
    import journeyman.strategies.training  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        said = Path.cwd() / "said.txt"
        pid = os.fork()
        if pid == 0:
            os._exit(_work(order, said))
        if order["killed_after"] is not None:
            time.sleep(order["killed_after"])
            os.kill(pid, signal.SIGKILL)  # one that has ended is not reaped yet, and unmoved
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps([code, said.read_text()]), flush=True)


def _work(order: dict[str, Any], said: Path) -> int:
    errors = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(errors, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    remote_store._shared = remote_store.StoreProcess(_forked_writer)
    if order["moment"] is not None:
        _arm(Moment(**order["moment"]))
    from journeyman.cli import run

    code = run(order["argv"])
    import atexit

    atexit._run_exitfuncs()
    return code


def _forked_writer() -> store_server.Server:
    from journeyman.tracking import store_process

    calls, answers, run = os.pipe(), os.pipe(), os.getpid()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(calls[0], 0)
        os.dup2(answers[1], 1)
        for end in (*calls, *answers):
            os.close(end)
        sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
        sys.argv = ["", str(run)]
        logging.getLogger().handlers.clear()
        store_process.main()
        os._exit(0)
    os.close(calls[0])
    os.close(answers[1])
    os.set_blocking(calls[1], False)
    return store_server.Server(
        calls=io.FileIO(calls[1], "wb"),
        answers=io.FileIO(answers[0], "rb"),
        wait=lambda: str(os.waitpid(pid, 0)),
        kill=lambda: os.kill(pid, signal.SIGKILL),
    )


def _arm(moment: Moment) -> None:
    module, _, path = moment.function.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for each in classes:
        owner = getattr(owner, each)
    original = getattr(owner, name)
    run = os.getpid()
    calls = 0

    def die() -> None:
        os.kill(run, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(original)
    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        if not moment.counts(args):
            return original(*args, **kwargs)
        calls += 1
        if calls == moment.call and not moment.after:
            die()
        result = original(*args, **kwargs)
        if calls == moment.call:
            die()
        return result

    setattr(owner, name, deadly)


if __name__ == "__main__":
    _serve()
