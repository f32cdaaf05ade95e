"""``journeyman``: without a subcommand the main job, with one the tools around it."""

import atexit
import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from journeyman.errors import TrainingError, UserError
from journeyman.heap import claim

if TYPE_CHECKING:
    from argparse import Namespace

    from journeyman.settings.root import Settings

_SIGNALLED = 128
"""Exit codes above are 128 + the number of a signal."""
SUBCOMMANDS = ("check-env", "doctor", "report", "resume", "rerun", "sync", "ui")


def entry_point() -> None:
    """Runs the command line and exits with its code."""
    claim()
    code = run(sys.argv[1:])
    if not _has_workers():
        _leave_at_once(code)
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Runs a command line.

    Returns:
        0 done; 1 the work failed; 2 the user's mistake, nothing was written; 128 + n ended by
        signal n.
    """
    if any("tracking.uri=" in word for word in argv):
        from journeyman.settings.tracking import without_passwords

        argv = without_passwords(argv)
    if argv and argv[0] in SUBCOMMANDS:
        return _guarded(lambda: _subcommand(argv[0], argv[1:]))
    return _guarded(lambda: _main_job(argv))


def _has_workers() -> bool:
    """Says whether a launcher's workers may be there: taking the interpreter down ends them."""
    import multiprocessing

    launched = not {"joblib", "ray", "submitit"}.isdisjoint(sys.modules)
    return launched or bool(multiprocessing.active_children())


def _leave_at_once(code: int) -> NoReturn:
    """Ends the process without taking down the interpreter.

    Freeing what torch has loaded takes more than a second, in which nothing happens.
    """
    _flush()  # what was found is told, however long a thread goes on
    if code > _SIGNALLED:  # whoever sent the signal waits, and may send more
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    else:
        # Not only joins: the idle workers of thread pools end because this asks them to.
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    _flush()
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):  # whoever read it has left
            stream.flush()


def _main_job(argv: Sequence[str]) -> int:
    from journeyman.config_folder import parse_command_line

    arguments = parse_command_line(argv)
    if arguments is not None and arguments.multirun:
        return _sweep(argv, arguments)
    if arguments is not None:
        from journeyman.composition import check_jobs
        from journeyman.preflight import preflight

        jobs = check_jobs(arguments)
        preflight(jobs)
        if any(job.plan for job in jobs):
            return _show_plans(jobs)
    launch(argv)
    return 0


def _sweep(argv: Sequence[str], arguments: "Namespace") -> int:
    from journeyman.preflight import preflight
    from journeyman.sweeps.checks import require_unused
    from journeyman.sweeps.driver import run_sweep
    from journeyman.sweeps.planning import plan_sweep

    plan = plan_sweep(argv, arguments)
    preflight(plan.settings)
    if any(job.plan for job in plan.settings):
        return _show_plans(plan.settings)
    require_unused(plan.sweep_dir)
    return run_sweep(plan, launch)


def launch(argv: Sequence[str]) -> None:
    """Runs Hydra's main; what a job raises comes through."""
    import logging

    # A line that the log file does not take, as on a full disk, is still on the terminal.
    logging.raiseExceptions = False
    # Hydra then hands exceptions through instead of printing and exiting on its own.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    from journeyman.hydra_jobs import PastHydra
    from journeyman.main import main

    sys.argv[1:] = list(argv)
    try:
        main()
    except PastHydra as carrier:
        raise carrier.error from None


def _show_plans(jobs: "Sequence[Settings]") -> int:
    """Draws the schedules that were asked for; no job of such a command line runs."""
    from rich.console import Console

    from journeyman.env.build import lanes_per_world
    from journeyman.reporting.plan import print_plan

    for job in jobs:
        if job.plan:
            print_plan(job, Console(), lanes_per_world=lanes_per_world(job.env))
    return 0


def _subcommand(name: str, argv: Sequence[str]) -> int:
    from journeyman import commands

    command: Callable[[Sequence[str]], int] = getattr(commands, name.replace("-", "_"))
    return command(argv)


def _guarded(work: Callable[[], int]) -> int:
    """Turns what went wrong into lines on stderr and an exit code."""
    try:
        return work()
    except UserError as error:
        for problem in error.problems:
            print(f"journeyman: {problem}", file=sys.stderr)
        return 2
    except TrainingError as error:
        print(f"journeyman: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("journeyman: interrupted", file=sys.stderr)
        return 130
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:
        if _is_config_error(error):
            print(f"journeyman: {str(error).strip().splitlines()[0]}", file=sys.stderr)
            return 2
        traceback.print_exc()
        return 1
    except BaseException as stop:
        number = getattr(stop, "signal_number", None)
        if number is None:
            raise
        print(f"journeyman: {stop}; the last checkpoint is whole", file=sys.stderr)
        return _SIGNALLED + int(number)


def _is_config_error(error: Exception) -> bool:
    """Says whether Hydra or OmegaConf refused what they were asked to compose."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return isinstance(error, HydraException | OmegaConfBaseException)
