"""``journeyman doctor``: what is here, and what is wrong with it; changes nothing."""

from collections.abc import Callable, Iterable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from journeyman.doctor.caches import dataset_cache, kernel_cache
from journeyman.doctor.finding import Finding
from journeyman.doctor.machine import cores, device, output_folder, programs, threads
from journeyman.doctor.stores import runs_left_open, spools, store
from journeyman.doctor.versions import extras, packages, source

__all__ = ["Finding", "examine", "print_findings"]

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def examine(outputs: Path, uri: str | None) -> list[Finding]:
    """Looks at versions, machine, device, tracking store, caches and programs.

    Args:
        outputs: absolute outputs folder.
        uri: ``tracking.uri``; None: as a run without it would choose.
    """
    looks: tuple[Callable[[], Iterable[Finding]], ...] = (
        packages,
        extras,
        source,
        cores,
        threads,
        device,
        lambda: output_folder(outputs),
        lambda: store(outputs, uri),
        lambda: runs_left_open(outputs, uri),
        lambda: spools(outputs),
        kernel_cache,
        lambda: dataset_cache(outputs),
        programs,
    )
    return [finding for look in looks for finding in look()]


def print_findings(findings: Iterable[Finding], console: Console) -> None:
    """Prints findings as a table, and what to do about them below it."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("looked at", no_wrap=True)
    table.add_column("found", overflow="fold")
    advice = []
    for finding in findings:
        table.add_row(
            f"[{_STYLES[finding.health]}]{finding.health}[/]", finding.subject, finding.seen
        )
        if finding.advice:
            advice.append(f"{finding.subject}: {finding.advice}")
    console.print(table)
    for line in advice:
        console.print(f"- {line}", markup=False, highlight=False, soft_wrap=True)
