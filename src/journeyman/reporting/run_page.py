"""Writes a run's page from what lies in its folder."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from journeyman.reporting.run_report import RunPage, render_run
from journeyman.results import AnnealStageResult, RunResult
from journeyman.tracking.identity import RunIdentity
from journeyman.tracking.sampling import sample_metrics

FILE_NAME = "report.html"
MOST_POINTS = 400
"""Lines of each metric group that curves are drawn of."""
_VERSIONS = ("journeyman", "torch", "numpy")


def write_run_page(
    run_dir: Path,
    *,
    title: str,
    status: str,
    confidence: float,
    overrides: Sequence[str] | None,
    seconds: float | None = None,
    result: RunResult | None = None,
    error: str | None = None,
    stages: Sequence[AnnealStageResult] = (),
) -> Path:
    """Writes ``report.html`` into a run folder.

    Args:
        run_dir: the run folder, with ``config.yaml`` and ``environment.json``.
        title: of the run.
        status: ``FINISHED``, ``FAILED`` or ``KILLED``.
        confidence: level of the evaluation's intervals.
        overrides: what was given on the command line; None: nobody knows.
        seconds: wall time; None: it is not known.
        result: what it found, if it came to that.
        error: why it did not finish.
        stages: of a schedule that did not finish, those that were judged.

    Returns:
        The page's path.

    Raises:
        OSError: it cannot be written, or the folder lacks its files.
    """
    machine = json.loads((run_dir / "environment.json").read_text())
    command = f"journeyman rerun {shlex.quote(str(run_dir))}"
    if overrides is not None:
        command = f"{shlex.join(['journeyman', *overrides])}\n{command}"
    page = RunPage(
        title=title,
        status=status,
        error=error,
        result=result,
        stages=stages,
        confidence=confidence,
        command=command,
        facts=_facts(run_dir, machine, seconds),
        config=(run_dir / "config.yaml").read_text(),
        metrics=sample_metrics(run_dir, MOST_POINTS),
    )
    path = run_dir / FILE_NAME
    path.write_text(render_run(page), encoding="utf-8")
    return path


def _facts(run_dir: Path, machine: dict[str, Any], seconds: float | None) -> dict[str, str]:
    facts = {"run folder": str(run_dir)}
    identity = RunIdentity.read(run_dir)
    if identity is not None:
        facts["MLflow run"] = identity.run_id
    if seconds is not None:
        facts["wall time"] = f"{seconds:.1f} s"
    for name in _VERSIONS:
        if machine["packages"].get(name):
            facts[name] = machine["packages"][name]
    facts["Python"] = machine["python"]
    if machine["git"] is not None:
        changed = " with changes" if machine["git"]["dirty"] else ""
        facts["commit"] = f"{machine['git']['commit'][:12]}{changed}"
    facts["processor"] = f"{machine['processor']}, {machine['cores']} cores"
    return facts
