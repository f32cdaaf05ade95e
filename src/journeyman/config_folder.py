"""Where the configs are, and what a command line asks of them; as light as Hydra itself.

``--help`` and tab completion go no further than this: no schema, no NumPy.
"""

import importlib.util
import os
import re
import secrets
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from journeyman.errors import UserError

_HERE = Path(__file__).resolve().parent
CONF_DIR = next(path for path in (_HERE / "conf", _HERE.parents[1] / "conf") if path.is_dir())
"""The shipped config groups: inside the package in a wheel, at the top of a checkout."""

CONFIG_NAME = "config"
RERUN_FLAG = "--experimental-rerun"
"""Hydra's own rerun, of a job it pickled."""
PICKLE = "config.pickle"
"""The pickled job, in a run folder's ``.hydra``."""

# Run folders have a resolution of one second in their names; the token keeps two runs started
# within one apart. Cached, so that a sweep and all its jobs see the same one.
OmegaConf.register_new_resolver(
    "journeyman.token", lambda: secrets.token_hex(2), use_cache=True, replace=True
)


def _threads(*asked: int) -> int:
    """Returns the threads of one job: the most that any of its parts asks for."""
    return max(1, *asked)


def _jobs_at_once(*asked: int) -> int:
    """Returns how many jobs of so many threads the cores of this process have room for."""
    return max(1, len(os.sched_getaffinity(0)) // _threads(*asked))


def workers(n_jobs: int) -> int:
    """Returns how many processes joblib's number stands for: -1 is one a core, -2 one less."""
    return n_jobs if n_jobs > 0 else max(1, len(os.sched_getaffinity(0)) + 1 + n_jobs)


OmegaConf.register_new_resolver("journeyman.workers", workers, replace=True)
OmegaConf.register_new_resolver("journeyman.threads", _threads, replace=True)
OmegaConf.register_new_resolver("journeyman.jobs_at_once", _jobs_at_once, replace=True)


_PLUGINS = {
    "launch=joblib": ("hydra_plugins.hydra_joblib_launcher", "joblib"),
    "launch=slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "launch=ray": ("hydra_plugins.hydra_ray_launcher", "ray"),
    "sweep=optuna": ("optuna", "optuna"),
}
"""Options that need a package which journeyman alone does not bring along: module, extra."""


def require_plugins(overrides: Sequence[str]) -> None:
    """Raises ``UserError`` where an option needs a package that is not installed."""
    problems = []
    for override in overrides:
        for option in override.split(","):
            module, extra = _PLUGINS.get(option, (None, ""))
            if module is not None and not _is_installed(module):
                problems.append(
                    f"{option} needs a package that is not installed; "
                    f'install it with: pip install "journeyman[{extra}]"'
                )
    if problems:
        raise UserError(problems)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def quoted(text: str) -> str:
    """Returns a value as an override has it that is this text, whatever stands in it."""
    # Hydra takes a backslash for itself but where a quote follows.
    text = re.sub(r"(\\*)('|$)", lambda end: end[1] * 2 + end[2].replace("'", r"\'"), text)
    return f"'{text}'"


def parse_command_line(argv: Sequence[str]) -> Namespace | None:
    """Parses a command line as Hydra will.

    Returns:
        Hydra's arguments, or None where nothing is run (``--help``, ``--cfg`` and so on).

    Raises:
        UserError: for an unknown option, or a rerun of Hydra's that cannot be.
    """
    from hydra._internal.utils import get_args_parser

    arguments, unknown = get_args_parser().parse_known_args(list(argv))
    if unknown:
        raise UserError([f"{option}: unknown option, see --hydra-help" for option in unknown])
    if arguments.experimental_rerun is not None:
        _check_rerun(arguments.experimental_rerun, arguments.overrides)
    only_asks = (
        arguments.help,
        arguments.hydra_help,
        arguments.cfg,
        arguments.info,
        arguments.shell_completion,
        arguments.experimental_rerun,
    )
    return None if any(only_asks) else arguments


def _check_rerun(pickle: str, overrides: Sequence[str]) -> None:
    problems = []
    if not Path(pickle).is_file():
        problems.append(
            f"{RERUN_FLAG}: no such file (got {pickle}); it is .hydra/{PICKLE} in a run folder"
        )
    if overrides:
        problems.append(
            f"{RERUN_FLAG} takes no overrides (got {' '.join(overrides)}); "
            "journeyman rerun RUN takes some"
        )
    if problems:
        raise UserError(problems)
