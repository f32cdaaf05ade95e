"""How the command line's process ends."""

import os
import subprocess
import sys

import pytest

LEAVING = """
import atexit, sys, threading, time
from journeyman.cli import _leave_at_once

def write():
    time.sleep(0.5)
    print("written")

atexit.register(print, "told")
threading.Thread(target=write).start()
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
_leave_at_once(int(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0, ["written", "told"]),
        (2, ["written", "told"]),
        (130, ["told"]),  # whoever sent the signal waits
    ],
)
def test_a_process_leaves_when_its_work_is_done(code: int, said: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVING, str(code)], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (code, said, "")


def test_a_reader_that_has_left_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LEAVING, "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # what is printed half a second later stays in the buffer
        said = process.stderr.read()
    assert (process.returncode, said) == (0, "")
