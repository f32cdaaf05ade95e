"""When Python's garbage collector works: neither while modules are imported, nor on them after.

A full collection looks at every object there is, which with torch takes some tenths of a second:
as long as several updates of a small task. Importing brings half a dozen of them, and a run that
keeps anything brings one some time later.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_left_behind = False


@contextmanager
def importing() -> Iterator[None]:
    """Collects nothing meanwhile: what is imported stays."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def settled() -> Iterator[None]:
    """Has collections leave alone, meanwhile, what is there at the beginning.

    What the run before in this process has left is collected first.
    """
    global _left_behind
    if _left_behind:
        gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        _left_behind = True
