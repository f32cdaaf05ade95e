"""Folders of what can be made again: compiled kernels, captured demonstrations."""

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from journeyman.doctor.finding import Finding
from journeyman.errors import UserError
from journeyman.folders import nearest_existing

LARGE_CACHE_MIB = 1024


def kernel_cache() -> Iterator[Finding]:
    """Looks at where the town's compiled code is kept: the first of several that will do."""
    refused = []
    for root in _kernel_roots():
        folder = root / "journeyman"
        if problem := _cannot_write(folder):
            refused.append(problem)
            continue
        advice = f"older versions' kernels are of no more use: rm -r {folder}"
        yield _sized("kernel cache", folder, advice, tried=refused)
        return
    seen = "; ".join(refused) or "there is no home folder"
    advice = "each process compiles the town anew, which takes half a minute"
    yield Finding(
        "kernel cache", "warn", seen, f"{advice}; set NUMBA_CACHE_DIR to a folder of yours"
    )


def dataset_cache(outputs: Path) -> Iterator[Finding]:
    """Looks at captures that the jobs of sweeps share."""
    folder = outputs / ".cache" / "datasets"
    if problem := _cannot_write(folder):
        advice = "no sweep can share its demonstrations; choose another folder with outputs=..."
        yield Finding("dataset cache", "warn", problem, advice)
    elif not folder.is_dir():
        yield Finding("dataset cache", "ok", f"{folder} is made by the first sweep")
    else:
        advice = f"a week after its last use a capture is removed; or at once: rm -r {folder}"
        yield _sized("dataset cache", folder, advice)


def _kernel_roots() -> Iterator[Path]:
    # As journeyman.env.town.compiled, which would make the folder on being imported.
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        if os.environ.get(name):
            yield Path(os.environ[name])
    try:
        yield Path.home() / ".cache"
    except RuntimeError:
        return


def _cannot_write(folder: Path) -> str | None:
    """Returns why a folder, which need not exist, cannot be written to."""
    try:
        with tempfile.TemporaryFile(dir=nearest_existing(folder)):
            return None
    except UserError as error:
        return str(error)
    except OSError as error:
        return f"{folder}: {error}"


def _sized(subject: str, folder: Path, advice: str, tried: list[str] | None = None) -> Finding:
    sizes = [found for file in folder.rglob("*") if (found := _size(file)) is not None]
    size = sum(sizes) / 2**20
    seen = f"{folder}, {size:.0f} MiB in {len(sizes)} files"
    if tried:
        seen += f" (not: {'; '.join(tried)})"
    if size > LARGE_CACHE_MIB:
        return Finding(subject, "warn", seen, advice)
    return Finding(subject, "ok", seen)


def _size(path: Path) -> int | None:
    """Returns the bytes of a file; None of what is none, is gone by now or may not be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
