"""Whether the tables of a database are those of the installed MLflow; MLflow is not imported."""

import importlib.util
import re
import shlex
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

_REVISION = re.compile(r"""^revision(?:\s*:[^=]*)?\s*=\s*["'](\w+)["']""", re.MULTILINE)
_BEFORE = re.compile(r"^down_revision(?:\s*:[^=]*)?\s*=\s*(.+)$", re.MULTILINE)
_NAME = re.compile(r"""["'](\w+)["']""")

Fetch = Callable[[str], Sequence[Sequence[Any]]]
"""Returns the rows of a query."""


@cache
def revisions() -> tuple[frozenset[str], str] | None:
    """Returns all that the installed MLflow knows, and the one it needs; None: that is not known.

    They are read from the files that a database is migrated by.
    """
    found = importlib.util.find_spec("mlflow")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "store" / "db_migrations" / "versions"
    known: set[str] = set()
    before: set[str] = set()
    for file in folder.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        known.update(_REVISION.findall(text))
        for names in _BEFORE.findall(text):
            before.update(_NAME.findall(names))
    last = known - before
    return (frozenset(known), last.pop()) if len(last) == 1 else None


def schema_problem(fetch: Fetch, uri: str) -> str | None:
    """Returns what is wrong with a database that has MLflow's tables, and what mends it.

    Args:
        fetch: reads from it.
        uri: how the database is named to ``mlflow db upgrade``.

    Raises:
        Exception: what ``fetch`` raises where there is no such table.
    """
    expected = revisions()
    if expected is None:
        return None
    known, needed = expected
    version = next((str(row[0]) for row in fetch("SELECT version_num FROM alembic_version")), None)
    if version == needed:
        return None
    if version is None or not fetch("SELECT 1 FROM experiments LIMIT 1"):
        return "was left half made when it was created, and has no runs: remove it"
    if version in known:
        return (
            f"is of an older MLflow than the one installed (schema {version}, {needed} is needed): "
            f"keep a copy of it, then: mlflow db upgrade {shlex.quote(uri)}"
        )
    return (
        f"is of a newer MLflow than the one installed (schema {version}, {needed} is needed): "
        "pip install --upgrade mlflow, or choose another with tracking.uri"
    )


def deleted_experiments(fetch: Fetch) -> list[str]:
    """Returns the names of the experiments that were deleted and are still there.

    Raises:
        Exception: what ``fetch`` raises where there is no such table.
    """
    rows = fetch("SELECT name FROM experiments WHERE lifecycle_stage = 'deleted' ORDER BY name")
    return [str(row[0]) for row in rows]
