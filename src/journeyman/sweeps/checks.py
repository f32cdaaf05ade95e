"""What is wrong with a sweep as a whole, though each of its jobs is right."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from journeyman.config_folder import workers
from journeyman.errors import UserError
from journeyman.preflight import require_writable
from journeyman.settings.root import Settings
from journeyman.settings.tracking import MlflowSettings
from journeyman.sweeps.record import SWEEP_FILE, says_how
from journeyman.sweeps.search import SearchOptions


def check_swept(overrides: Sequence[Override]) -> None:
    """Raises ``UserError`` where it is to be swept how, not what, a sweep runs."""
    problems = []
    for override in overrides:
        key, given = override.get_key_element(), str(override.input_line)
        if override.is_sweep_override() and says_how(given):
            problems.append(f"{key}: all jobs of a sweep have the same one (got {given})")
    if problems:
        raise UserError(problems)


def check_search(sweeper: DictConfig) -> None:
    """Raises ``UserError`` for everything of a search that is out of its bounds."""
    options = OmegaConf.to_container(sweeper, resolve=True)
    assert isinstance(options, dict)
    named = {str(key): value for key, value in options.items() if key not in ("_target_", "params")}
    problems = SearchOptions(**named).problems()
    if (url := named["storage"]) is not None and (problem := _storage_problem(str(url))):
        problems.append(f"hydra.sweeper.storage: {problem}")
    if problems:
        raise UserError(problems)


def _storage_problem(url: str) -> str | None:
    """Returns why a study cannot be kept in a database, or None; nothing is written there."""
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

    example = "e.g. sqlite:////absolute/path/study.db, or null for study.db in the sweep's folder"
    try:
        shown = make_url(url).render_as_string(hide_password=True)
        engine = create_engine(url, poolclass=NullPool)
    except (ImportError, NoSuchModuleError) as error:
        return f"a database that needs a driver that is not installed ({error}); {example}"
    except (ArgumentError, ValueError):
        return f"no URL of a database; {example}"
    database = engine.url.database
    if engine.url.get_backend_name() == "sqlite" and database:
        folder = Path(database).resolve().parent
        return None if os.access(folder, os.W_OK) else f"{folder} is no folder one may write to"
    try:
        engine.connect().close()
    except SQLAlchemyError as error:
        said = " ".join(str(getattr(error, "orig", error)).split())[:300]
        return f"{shown} cannot be used: {said}"
    return None


def check_together(settings: Sequence[Settings]) -> None:
    """Raises ``UserError`` where the jobs of a sweep are not kept and tracked in one place.

    One run in the store is the parent of all of them, and a comparison reads them below it.
    """
    first, *others = map(_places, settings)
    for key, value in first.items():
        other = next((each[key] for each in others if each[key] != value), value)
        if other != value:
            raise UserError(
                f"{key}: the jobs of a sweep are kept and tracked in one place "
                f"(got {value} and {other})"
            )


def _places(settings: Settings) -> dict[str, Any]:
    places: dict[str, Any] = {"outputs": settings.outputs, "tracking": settings.tracking.kind}
    if isinstance(settings.tracking, MlflowSettings):
        places["tracking.uri"] = settings.tracking.uri
        places["tracking.experiment"] = settings.tracking.experiment
    return places


def check_threads(launcher: DictConfig, settings: Sequence[Settings]) -> None:
    """Raises ``UserError`` where parallel jobs ask for more kernel threads than they will have.

    joblib gives each worker its share of the cores and no more; numba refuses beyond it.
    """
    n_jobs = launcher.get("n_jobs")
    if n_jobs is None:
        return
    if int(n_jobs) == 0:
        raise UserError(
            "hydra.launcher.n_jobs: must be 1 or more, or -1 for as many as there are cores (got 0)"
        )
    cores, at_once = len(os.sched_getaffinity(0)), workers(int(n_jobs))
    share = max(1, cores // at_once)
    asked = max(job.runtime.town_threads for job in settings)
    if asked > share:
        raise UserError(
            f"runtime.town_threads: {at_once} jobs at a time leave {share} of {cores} cores to "
            f"each (got {asked}); lower it, or hydra.launcher.n_jobs"
        )


def require_unused(sweep_dir: Path) -> None:
    """Raises ``UserError`` where a new sweep cannot have a folder: it is used, or cannot be made.

    The runs of another sweep would be taken for its own, and gone on with.
    """
    require_writable(sweep_dir, "hydra.sweep.dir")
    if (sweep_dir / SWEEP_FILE).exists():
        raise UserError(
            f"hydra.sweep.dir: {sweep_dir} holds a sweep already; give another folder, or go on "
            f"with that one: journeyman resume {sweep_dir}"
        )
    if runs := sorted(sweep_dir.glob("*/config.yaml")):
        raise UserError(
            f"hydra.sweep.dir: {runs[0].parent} holds a run already; give another folder"
        )
