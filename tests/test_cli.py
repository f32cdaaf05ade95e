"""How the command line's process ends."""

import os
import select
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


WITH_A_POOL = """
import concurrent.futures, sys, time
from journeyman.cli import _leave_at_once

pool = concurrent.futures.ThreadPoolExecutor(2)
pool.submit(int).result()
pool.submit(lambda: (time.sleep(0.5), print("worked")))
print("verified")
_leave_at_once(int(sys.argv[1]))
"""


@pytest.mark.parametrize("code", [0, 1])
def test_a_pool_that_waits_for_work_holds_nothing_up(code: int) -> None:
    """MLflow keeps one for artifacts, whose workers no join wakes."""
    done = subprocess.run(
        [sys.executable, "-c", WITH_A_POOL, str(code)], capture_output=True, text=True, timeout=10
    )
    said = done.stdout.splitlines()
    assert (done.returncode, said, done.stderr) == (code, ["verified", "worked"], "")


SAYING = """
import sys, threading
from journeyman.cli import _leave_at_once

print("verified")
threading.Thread(target=sys.stdin.readline).start()
_leave_at_once(0)
"""


def test_what_was_found_is_told_before_threads_are_waited_for() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SAYING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 10.0)[0], "nothing was told"
        assert process.stdout.readline() == "verified\n"
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(timeout=10) == 0
