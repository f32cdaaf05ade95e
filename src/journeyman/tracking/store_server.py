"""The process of ``store_process``, as its caller sees it: what is sent, heard, and its end."""

import contextlib
import io
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

END_SECONDS = 1.0
"""How long an end is waited for, which comes at once."""
SILENT_TICKS = 60
"""A process that says nothing for so many ticks hangs: at work or not, it says that it is alive."""
TICK_SECONDS = 1.0
_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Server:
    """A process that serves.

    Attributes:
        calls: raw, so that a fork of the caller has nothing of a call in a buffer; not blocking,
            so that a process that does not read keeps nobody for longer than it may.
        answers: raw.
        wait: waits for its end, and says how it ended.
        kill: ends it, whatever it does.
    """

    calls: io.RawIOBase
    answers: io.RawIOBase
    wait: Callable[[], str]
    kill: Callable[[], None]

    def send(self, line: bytes, *, seconds: float | None = None) -> bool:
        """Sends a line; if the process is gone or going, whoever reads its answers is told.

        Args:
            line: whole, with its end.
            seconds: how long it may take; None: until it is read, or the process is killed.

        Returns:
            Whether the time sufficed; after half a line nothing else can be sent.
        """
        if self.calls.closed:
            return True
        deadline = None if seconds is None else time.monotonic() + seconds
        room = select.poll()
        room.register(self.calls.fileno(), select.POLLOUT)
        rest = memoryview(line)
        with contextlib.suppress(BrokenPipeError):
            while rest:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not room.poll(None if left is None else 1000.0 * left):
                    return False
                rest = rest[self.calls.write(rest) or 0 :]
        return True

    def lines(self) -> Iterator[bytes]:
        """Yields what it says, whole lines only, until it ends; kills it if it falls silent.

        What is counted is ticks without a word, not time: while the caller itself is stopped it
        hears nothing, and one tick passes.
        """
        words = select.poll()
        words.register(self.answers.fileno(), select.POLLIN)
        parts: list[bytes] = []
        silent = 0
        while True:
            if not words.poll(1000.0 * TICK_SECONDS):
                silent += 1
                if silent == SILENT_TICKS:
                    self.kill()
                continue
            silent = 0
            chunk = self.answers.read(_CHUNK_BYTES)
            if not chunk:
                return  # what is left is no whole line: it was killed as it wrote
            *ended, rest = chunk.split(b"\n")
            for end in ended:
                yield b"".join([*parts, end])
                parts.clear()
            parts.append(rest)


def start_server(program: Sequence[str] = ("-m", "journeyman.tracking.store_process")) -> Server:
    """Starts the process of ``store_process``, or another that is called in the same way."""
    process = subprocess.Popen(
        # -P: a file in the working folder is no module of ours.
        [sys.executable, "-P", *program, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,  # a terminal's Ctrl-C is for the caller
    )
    assert isinstance(process.stdin, io.RawIOBase)
    assert isinstance(process.stdout, io.RawIOBase)
    os.set_blocking(process.stdin.fileno(), False)

    def wait() -> str:
        try:
            code = process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:  # it closed its output, and is no use any more
            process.kill()
            code = process.wait()
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    return Server(calls=process.stdin, answers=process.stdout, wait=wait, kill=process.kill)
