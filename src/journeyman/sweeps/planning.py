"""From a ``--multirun`` command line to a plan: which jobs, in which folder, by whom launched.

Everything that can be known to be wrong is known here, before the first job.
"""

import contextlib
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from journeyman.composition import check_overrides, expand_sweep
from journeyman.config_folder import CONF_DIR, CONFIG_NAME, require_plugins
from journeyman.errors import UserError
from journeyman.settings.root import Settings
from journeyman.sweeps.checks import check_search, check_swept, check_threads, check_together
from journeyman.sweeps.record import config_options
from journeyman.sweeps.search_space import SearchSpace, parse_search_space

PROBES = 64
"""Combinations of a search's axes that are validated before its first trial."""
_DIES_WITH_DRIVER = ("BasicLauncher", "JoblibLauncher")
"""Launchers whose jobs are pointless without the process that started them."""


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """A sweep that may begin.

    Attributes:
        argv: the command line.
        kind: ``grid``: ``jobs`` are all there will be; ``optuna``: they are sought as it runs.
        sweep_dir: absolute folder of the sweep.
        jobs: overrides of each job, in order; of a search, the probes that were validated.
        settings: what each of ``jobs`` composes to.
        trials: of a search, how many there are to be in all; else None.
        parallel: jobs run in other processes, several at a time.
        dies_with_driver: jobs are to end when the driver does.
        config_dir: ``--config-dir``.
        config_name: ``--config-name``.
    """

    argv: tuple[str, ...]
    kind: Literal["grid", "optuna"]
    sweep_dir: Path
    jobs: tuple[tuple[str, ...], ...]
    settings: tuple[Settings, ...] = field(repr=False)
    trials: int | None
    parallel: bool
    dies_with_driver: bool
    config_dir: str | None = None
    config_name: str = CONFIG_NAME

    @property
    def options(self) -> tuple[str, ...]:
        """What a job's own command line must have before its overrides."""
        return config_options(self.argv)


def plan_sweep(argv: Sequence[str], arguments: Namespace) -> SweepPlan:
    """Composes and validates everything a sweep will run.

    Args:
        argv: the command line.
        arguments: the same, parsed by Hydra.

    Raises:
        UserError: with every problem of every job, or what the launcher lacks.
    """
    overrides = list(arguments.overrides)
    require_plugins(overrides)
    config_name = arguments.config_name or CONFIG_NAME
    master = _master_config(overrides, arguments.config_dir, config_name)
    sweeper = master.hydra.sweeper
    kind: Literal["grid", "optuna"] = "optuna" if "Optuna" in sweeper._target_ else "grid"
    given = with_params(sweeper.get("params"), overrides)
    if kind == "optuna":
        check_search(sweeper)
        jobs = search_space_of(given).probes(PROBES, rng=np.random.default_rng(0))
    else:
        jobs = expand_sweep(given)
    settings = check_overrides(jobs, arguments.config_dir, config_name)
    launcher = str(master.hydra.launcher._target_)
    check_together(settings)
    check_threads(master.hydra.launcher, settings)
    return SweepPlan(
        argv=tuple(argv),
        kind=kind,
        sweep_dir=Path(str(master.hydra.sweep.dir)).resolve(),
        jobs=tuple(map(tuple, jobs)),
        settings=tuple(settings),
        trials=int(sweeper.trials) if kind == "optuna" else None,
        parallel=not launcher.endswith("BasicLauncher"),
        dies_with_driver=launcher.endswith(_DIES_WITH_DRIVER),
        config_dir=arguments.config_dir,
        config_name=config_name,
    )


def search_space_of(overrides: Sequence[str]) -> SearchSpace:
    """Returns what a search may choose, and what is fixed."""
    return parse_search_space(_parsed(overrides))


def with_params(params: Any, overrides: Sequence[str]) -> list[str]:
    """Returns ``hydra.sweeper.params`` as overrides, then those given, which win."""
    node = OmegaConf.to_container(params, resolve=True) if OmegaConf.is_config(params) else params
    own = [f"{key!s}={value}" for key, value in node.items()] if isinstance(node, dict) else []
    return [*own, *overrides]


def _parsed(overrides: Sequence[str]) -> list[Override]:
    # A sweeper is asked inside Hydra, which can be there but once.
    inside = GlobalHydra.instance().is_initialized()
    opened = initialize_config_dir(str(CONF_DIR), version_base="1.3") if not inside else None
    with opened or contextlib.nullcontext():
        loader = GlobalHydra.instance().config_loader()
        try:
            return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        except HydraException as error:
            raise UserError(f"--multirun: {str(error).splitlines()[0]}") from error


def _master_config(overrides: list[str], config_dir: str | None, name: str) -> DictConfig:
    """Composes with Hydra's own node, each sweep standing at its first value.

    Raises:
        UserError: where that cannot be composed, in the words of ``check_overrides``.
    """
    parsed = _parsed(overrides)
    check_swept(parsed)
    first = [_first_value(override) for override in parsed]
    setup_globals()
    extra = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []
    with initialize_config_dir(str(CONF_DIR), version_base="1.3", job_name="journeyman"):
        try:
            return compose(name, overrides=[*extra, *first], return_hydra_config=True)
        except HydraException:
            pass
    check_overrides([first], config_dir, name)
    raise AssertionError("what cannot be composed has no problems")


def _first_value(override: Override) -> str:
    """Returns an override that stands at the first value of what it sweeps, if it does."""
    if not override.is_sweep_override() or override.is_hydra_override():
        return str(override.input_line)
    key, swept = override.get_key_element(), override.value()
    if isinstance(swept, IntervalSweep):
        return f"{key}={swept.start}"
    first = next(iter(override.sweep_string_iterator()), None)
    if first is None:
        raise UserError(f"{key}: a range without a number in it (got {override.input_line})")
    return f"{key}={first}"
