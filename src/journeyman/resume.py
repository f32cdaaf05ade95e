"""Go on with a run that was ended too early."""

import logging
from pathlib import Path

from journeyman.environment import describe_environment
from journeyman.errors import UserError
from journeyman.inputs import changed_inputs, input_digests
from journeyman.orchestrator import Orchestrator
from journeyman.record import CONFIG_FILE
from journeyman.rerun import changed_since
from journeyman.saved_config import saved_settings
from journeyman.sweeps.resume import is_sweep

_LOG = logging.getLogger(__name__)


def is_run(folder: Path) -> bool:
    """Says whether a run was begun in a folder, however far it came."""
    return (folder / CONFIG_FILE).is_file()


def resume_run(run_dir: Path) -> None:
    """Goes on with a run in its folder, from its last checkpoint, by the config saved there.

    Args:
        run_dir: absolute run folder.

    Raises:
        UserError: it is no run folder or a sweep's job, its run is finished, or still at work.
    """
    if (run_dir / "job.json").is_file() or is_sweep(run_dir.parent):
        raise UserError(
            f"{run_dir}: a job of a sweep; journeyman resume {run_dir.parent} runs what is missing"
        )
    if not is_run(run_dir):
        raise UserError(_what_it_is(run_dir))
    settings = saved_settings(run_dir)
    if (run_dir / "environment.json").is_file():
        now = describe_environment(
            torch_threads=settings.runtime.torch_threads,
            town_threads=settings.runtime.town_threads,
        )
        for change in changed_since(run_dir, now):
            _LOG.warning(
                "%s since the run began; its bits may differ from an undisturbed one's", change
            )
    for change in changed_inputs(run_dir, input_digests(settings.model_dump(mode="json"))):
        _LOG.warning("%s since the run began; a part of it may be learned from each", change)
    Orchestrator(settings, run_dir=run_dir, show=True).resume()


def _what_it_is(folder: Path) -> str:
    """Says why there is nothing to go on with in a folder."""
    if not folder.exists():
        return f"{folder}: no such folder"
    if not folder.is_dir():
        return f"{folder}: a file; name the folder of a run or a sweep"
    if any((folder / name).exists() for name in (".hydra", ".lock")):
        return f"{folder}: ended before its config was saved; start it again"
    return f"{folder}: neither the folder of a run (no config.yaml) nor of a sweep (no sweep.json)"
