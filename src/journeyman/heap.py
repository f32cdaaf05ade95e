"""When Python's garbage collector works: neither while modules are imported, nor on them after.

A full collection looks at every object there is, which with torch takes some tenths of a second:
as long as several updates of a small task. Importing brings half a dozen of them, and a run that
keeps anything brings one some time later.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_is_ours = False


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


def claim() -> None:
    """Says that this process is there for runs: what is in memory when the first begins stays."""
    global _is_ours
    _is_ours = True


def settle() -> None:
    """Has collections leave alone what is there now, in a process that was claimed; once."""
    if _is_ours and not gc.get_freeze_count():
        gc.freeze()
