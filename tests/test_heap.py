"""The garbage collector keeps out of imports, and what was imported out of the collector."""

import gc
import subprocess
import sys
from contextlib import suppress

from journeyman import heap


def test_nothing_is_collected_while_modules_are_imported():
    with suppress(ZeroDivisionError), heap.importing():
        assert not gc.isenabled()
        raise ZeroDivisionError
    assert gc.isenabled()
    gc.disable()
    try:
        with heap.importing():
            pass
        assert not gc.isenabled()  # whoever turned it off wants it off
    finally:
        gc.enable()


SETTLING = """
import gc
from journeyman import heap

heap.settle()
assert gc.get_freeze_count() == 0  # somebody else's process
there = [[]]
heap.claim()
heap.settle()
frozen = gc.get_freeze_count()
assert frozen > 1000
assert not any(each is there for each in gc.get_objects())
later = [[]]
heap.settle()
assert gc.get_freeze_count() <= frozen
assert any(each is later for each in gc.get_objects())  # of a run: it may become garbage
"""


def test_what_is_there_before_the_first_run_is_left_alone():
    subprocess.run([sys.executable, "-c", SETTLING], check=True)
