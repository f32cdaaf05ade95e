"""Pages of the docs that benchmarks write their tables into."""

import re
from pathlib import Path

_TABLE = re.compile(r"(<!-- table: begin -->\n).*(<!-- table: end -->)", re.DOTALL)


def require_marks(page: Path) -> None:
    """Raises ``ValueError`` if a page has lost the marks that its tables stand between."""
    if _TABLE.search(page.read_text()) is None:
        raise ValueError(f"{page} has no table: begin and table: end")


def write_tables(page: Path, tables: str) -> None:
    """Puts tables in the place of those that a page has."""
    page.write_text(_TABLE.sub(lambda found: found[1] + tables + found[2], page.read_text()))
