"""How rules are compiled: with numba, cached on disk, interpreted under ``NUMBA_DISABLE_JIT=1``.

Compiled and interpreted runs give the same bits because all state is int64 and float64 (NumPy
scalars and compiled code then follow the same arithmetic) and because ``fastmath`` is off.

numba notices a changed source file only for the function in it, not for its callers in other
files. The cache folder is therefore named by a digest of all sources that kernels could depend on.
"""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import njit
from numba.core.dispatcher import Dispatcher

_PLAIN = {"error_model": "numpy", "_nrt": False}
"""Rules allocate nothing, so they do without numba's counting of references, whose atomic
operations took most of a tick's time, and most of it again for each further thread."""

Function = TypeVar("Function", bound=Callable[..., Any])


_NOT_COMPILED = frozenset(
    {
        "__init__.py",
        "founding.py",
        "icons.py",
        "panel.py",
        "parallel.py",
        "registration.py",
        "render.py",
        "scenarios.py",
        "scene.py",
        "sheet.py",
        "shipped.py",
        "specification.py",
        "tabulation.py",
        "vector_env.py",
    }
)
"""Sources that no kernel imports, so that editing them need not compile the town anew. A new file
counts as compiled until it is named here."""


def sources_digest(town: Path) -> str:
    """Returns 16 hexadecimal digits that change with what kernels below ``town`` are made of."""
    digest = hashlib.sha256()
    for source in sorted(town.rglob("*.py")):
        name = source.relative_to(town).as_posix()
        if name not in _NOT_COMPILED:
            digest.update(name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


def cache_roots() -> Iterator[Path]:
    """Yields where compiled code may be kept, the best place first."""
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        if os.environ.get(name):
            yield Path(os.environ[name])
    with contextlib.suppress(RuntimeError):  # there is no home folder
        yield Path.home() / ".cache"


def _cache_folder() -> str | None:
    """Returns a writable folder for compiled code, or None: compile anew in each process."""
    name = f"town-{sources_digest(Path(__file__).parent)}"
    refused = []
    for root in cache_roots():
        folder = root / "journeyman" / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            refused.append(str(error))
            continue
        return str(folder)
    logging.getLogger(__name__).warning(
        "compiled code of the town cannot be kept, so that every process compiles it anew, which "
        "takes half a minute; set NUMBA_CACHE_DIR to a folder that can be written (%s)",
        "; ".join(refused) or "there is no home folder",
    )
    return None


_SERIAL_BELOW_LANES = 256


def use_threads(threads: int) -> None:
    """Sets how many threads the parallel kernels of this process are spread over."""
    numba.set_num_threads(threads)


def worth_threads(worlds: int, lanes: int) -> bool:
    """Says whether to use the parallel kernels: starting threads must save more than it takes.

    Whether or not the number of threads changes under way, the results do not.
    """
    return worlds > 1 and lanes >= _SERIAL_BELOW_LANES and numba.get_num_threads() > 1


CACHE_FOLDER = _cache_folder()


def _compile_kernel(function: Function, *, parallel: bool) -> Function:
    # The folder is read from numba's global config when a function is decorated; it is set for
    # that moment only, to leave other users of numba in this process alone.
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = CACHE_FOLDER or before
    try:
        cached = CACHE_FOLDER is not None
        decorate = njit(cache=cached, parallel=parallel, nogil=True, **_PLAIN)
        return cast(Function, decorate(function))
    finally:
        numba.config.CACHE_DIR = before


def bound(kernel: Function, *arguments: Any) -> Function:
    """Returns a kernel compiled for arguments of these types, and to be called with no others.

    numba finds out anew at each call of what types the arguments are. With dozens of arrays that
    takes longer than a tick of a small world does.
    """
    if not isinstance(kernel, Dispatcher):  # interpreted
        return kernel
    return cast(Function, kernel.compile(tuple(numba.typeof(one) for one in arguments)))


def compiled(function: Function) -> Function:
    """Compiles a rule, to be called from compiled code alone.

    Leaving out what calls from Python would need halves the time it takes to compile the town;
    inlining the rules, whose many arguments would be copied at each call, halves a tick's.
    """
    return cast(
        Function,
        njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **_PLAIN)(function),
    )


def inlined(function: Function) -> Function:
    """Copies a function into its callers before types are inferred.

    For helpers that return a record, which numba cannot return from a call.
    """
    return cast(Function, njit(inline="always", **_PLAIN)(function))


def kernel(function: Function) -> Function:
    """Compiles a loop over worlds, to be called from Python; kept in the cache folder."""
    return _compile_kernel(function, parallel=False)


def parallel_kernel(function: Function) -> Function:
    """Compiles a loop over worlds whose ``prange`` is spread over threads; kept likewise."""
    return _compile_kernel(function, parallel=True)
