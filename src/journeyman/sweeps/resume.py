"""Goes on with a sweep: what is done stays, what failed or is missing is run."""

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from journeyman.composition import check_overrides
from journeyman.config_folder import parse_command_line
from journeyman.errors import UserError
from journeyman.settings.root import Settings
from journeyman.sweeps.attempts import renewed
from journeyman.sweeps.driver import Launch, run_sweep
from journeyman.sweeps.finish import REPORT_FILE
from journeyman.sweeps.planning import SweepPlan, plan_sweep
from journeyman.sweeps.record import SWEEP_FILE, SweepRecord, process_lives, says_how


def is_sweep(folder: Path) -> bool:
    """Says whether a folder is a sweep's."""
    return (folder / SWEEP_FILE).is_file()


def resume_sweep(
    sweep_dir: Path,
    overrides: Sequence[str],
    launch: Launch,
    check: Callable[[Sequence[Settings]], None],
) -> int:
    """Runs the jobs of a sweep that are not done, with the same configs.

    Jobs that were stopped go on from their last checkpoint; those that failed begin anew, and
    what they left is kept in ``attempts/``.

    Args:
        sweep_dir: absolute folder of the sweep.
        overrides: changes to how it is run (``launch``, ``fail_fast``, ``hydra.*``).
        launch: Hydra's main.
        check: looks at all jobs before the first is run.

    Returns:
        As ``run_sweep``.

    Raises:
        UserError: it is no sweep's folder, an override would change what is run, or a job is
            no longer valid.
    """
    record = SweepRecord.read(sweep_dir).told(sweep_dir)
    _refuse_other_experiments(overrides)
    _require_over(record, sweep_dir)
    # Relative paths mean what they meant.
    os.chdir(record.working_folder)
    argv = [*record.argv, *overrides]
    arguments = parse_command_line(argv)
    if arguments is None:
        raise UserError(f"{sweep_dir / SWEEP_FILE}: {shlex.join(argv)} starts no sweep")
    plan = plan_sweep(argv, arguments)
    if plan.kind != record.kind:
        raise UserError(
            f"sweep={plan.kind}: {sweep_dir} is a sweep={record.kind}, which it stays; "
            "journeyman --multirun begins another"
        )
    pending = [job for job in record.jobs if not job.status.over]
    over = len(record.jobs) - len(pending)
    missing = pending if plan.trials is None else range(over, plan.trials)
    if not missing and record.status == "done" and (sweep_dir / REPORT_FILE).is_file():
        print(f"nothing is missing: {over} jobs are done")
        return 0
    # Where every job is done but the account of them was cut short, only that is made.
    jobs = plan.jobs if plan.kind == "optuna" else [job.overrides for job in pending or record.jobs]
    plan = _replanned(plan, sweep_dir, jobs)
    check(plan.settings)
    if plan.kind == "grid":
        record = record.with_jobs(renewed(job, sweep_dir) for job in record.jobs)
    else:
        # Trials that failed are replaced by others.
        record = record.with_jobs(job for job in record.jobs if job.status.over)
    return run_sweep(plan, launch, record=record)


def _replanned(plan: SweepPlan, sweep_dir: Path, jobs: Sequence[tuple[str, ...]]) -> SweepPlan:
    settings = check_overrides(jobs, plan.config_dir, plan.config_name)
    return replace(plan, sweep_dir=sweep_dir, jobs=tuple(jobs), settings=tuple(settings))


def _refuse_other_experiments(overrides: Sequence[str]) -> None:
    others = [override for override in overrides if not says_how(override)]
    if others:
        raise UserError(
            [
                f"{override}: a resumed sweep keeps its jobs; only launch, fail_fast and hydra.* "
                "may be given"
                for override in others
            ]
        )


def _require_over(record: SweepRecord, sweep_dir: Path) -> None:
    """Raises ``UserError`` where the sweep is still being run on this machine."""
    driver = record.driver_process
    if record.status != "running" or driver in (None, os.getpid()):
        return
    assert driver is not None
    if process_lives(driver):
        raise UserError(f"{sweep_dir}: the sweep is still running (process {driver})")
