"""How rules are compiled: with numba, cached on disk, interpreted under ``NUMBA_DISABLE_JIT=1``.

Compiled and interpreted runs give the same bits because all state is int64 and float64 (NumPy
scalars and compiled code then follow the same arithmetic) and because ``fastmath`` is off.

numba notices a changed source file only for the function in it, not for its callers in other
files. The cache folder is therefore named by a digest of all of the town's sources.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def _cache_folder() -> str | None:
    """Returns a writable folder for compiled code, or None: compile anew in each process."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    base = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    try:
        root = Path(base) if base else Path.home() / ".cache"
        folder = root / "journeyman" / f"town-{digest.hexdigest()[:16]}"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return None
    return str(folder)


CACHE_FOLDER = _cache_folder()


def _compile_kernel(function: Function, *, parallel: bool) -> Function:
    # The folder is read from numba's global config when a function is decorated; it is set for
    # that moment only, to leave other users of numba in this process alone.
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = CACHE_FOLDER or before
    try:
        decorate = njit(
            cache=CACHE_FOLDER is not None, parallel=parallel, error_model="numpy", nogil=True
        )
        return cast(Function, decorate(function))
    finally:
        numba.config.CACHE_DIR = before


def compiled(function: Function) -> Function:
    """Compiles a rule, to be called from compiled code alone.

    Leaving out what calls from Python would need halves the time it takes to compile the town.
    """
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "error_model": "numpy"}
    return cast(Function, njit(**options)(function))


def inlined(function: Function) -> Function:
    """Copies a helper into its callers: numba cannot return a record from a call."""
    return cast(Function, njit(inline="always", error_model="numpy")(function))


def kernel(function: Function) -> Function:
    """Compiles a loop over worlds, to be called from Python; kept in the cache folder."""
    return _compile_kernel(function, parallel=False)


def parallel_kernel(function: Function) -> Function:
    """Compiles a loop over worlds whose ``prange`` is spread over threads; kept likewise."""
    return _compile_kernel(function, parallel=True)
