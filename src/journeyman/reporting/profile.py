"""Where a run's wall time went: ``profile.json``, the metrics, the table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from journeyman.checkpoint import write_json
from journeyman.tracking.protocol import Tracker

Shares = Mapping[str, tuple[float, float]]
"""Name -> (seconds, percent of the wall time), as ``Spans.shares`` returns them."""

TRACE = "profile/trace.json"
"""Where in a run folder a profiler's trace is."""


def keep_profile(shares: Shares, run_dir: Path, tracker: Tracker) -> None:
    """Writes ``profile.json`` and hands the shares, and a trace if there is one, to a tracker."""
    write_json(run_dir / "profile.json", profile_document(shares))
    tracker.log("profile", {f"{name}_percent": share for name, (_, share) in shares.items()}, 0)
    tracker.artifact(run_dir / "profile.json")
    if (run_dir / TRACE).is_file():
        tracker.artifact(run_dir / TRACE, "profile")


def profile_document(shares: Shares) -> dict[str, Any]:
    """Returns the shares as JSON-able values: ``wall_seconds`` and, by part, both figures."""
    parts = {name: {"seconds": s, "percent": percent} for name, (s, percent) in shares.items()}
    return {"wall_seconds": sum(s for s, _ in shares.values()), "parts": parts}


def profile_table(shares: Shares) -> Table:
    """Returns the shares as a table for a terminal."""
    wall_seconds = sum(seconds for seconds, _ in shares.values())
    table = Table(
        title=f"where {wall_seconds:.1f} s went",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("part", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("percent", justify="right", no_wrap=True)
    for name, (seconds, percent) in shares.items():
        table.add_row(name, f"{seconds:.2f}", f"{percent:.1f}")
    return table
