"""``journeyman doctor``: what is here, and what is wrong with it; changes nothing."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from journeyman.doctor.caches import dataset_cache, kernel_cache
from journeyman.doctor.finding import Finding
from journeyman.doctor.machine import cores, device, output_folder, programs, threads
from journeyman.doctor.stores import runs_left_open, spools, store
from journeyman.doctor.versions import extras, packages, source
from journeyman.errors import UserError, in_a_line

__all__ = ["Finding", "examine", "print_findings"]

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def examine(outputs: Path, uri: str | None) -> list[Finding]:
    """Looks at versions, machine, device, tracking store, caches and programs.

    Args:
        outputs: absolute outputs folder.
        uri: ``tracking.uri``; None: as a run without it would choose.
    """
    looks: tuple[tuple[str, Callable[[], Iterable[Finding]]], ...] = (
        ("packages", packages),
        ("extras", extras),
        ("source", source),
        ("cores", cores),
        ("threads", threads),
        ("device", device),
        ("outputs", lambda: output_folder(outputs)),
        ("tracking", lambda: store(outputs, uri)),
        ("open runs", lambda: runs_left_open(outputs, uri)),
        ("spools", lambda: spools(outputs)),
        ("kernel cache", kernel_cache),
        ("dataset cache", lambda: dataset_cache(outputs)),
        ("programs", programs),
    )
    return [finding for subject, look in looks for finding in _found(subject, look)]


def _found(subject: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Yields what a look finds; that it cannot look is a finding as well, and stops no other."""
    try:
        yield from look()
    except Exception as error:
        words = str(error) if isinstance(error, UserError) else in_a_line(error)
        yield Finding(subject, "fail", f"could not be looked at: {words}")


def print_findings(findings: Iterable[Finding], console: Console) -> None:
    """Prints findings as a table, and what to do about them below it."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("looked at", no_wrap=True)
    table.add_column("found", overflow="fold")
    advice = []
    for finding in findings:
        health = Text(finding.health, _STYLES[finding.health])
        table.add_row(health, Text(finding.subject), Text(finding.seen))
        if finding.advice:
            advice.append(f"{finding.subject}: {finding.advice}")
    console.print(table)
    for line in advice:
        console.print(f"- {line}", markup=False, highlight=False, soft_wrap=True)
