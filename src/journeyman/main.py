"""The one job: composed config -> settings -> orchestrator."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from journeyman.config_folder import CONF_DIR, CONFIG_NAME

if TYPE_CHECKING:
    from journeyman.sweeps.job import SweepJob


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=CONFIG_NAME)
def main(config: DictConfig) -> float | None:
    """Runs one job and returns its objective: the final policy's mean return.

    It raises and never exits, so that one failing job of a sweep leaves the others alone.
    """
    # Here, not above: --help and tab completion end before a job and must be quick.
    from journeyman.composition import settings_from
    from journeyman.heap import claim
    from journeyman.hydra_jobs import is_hydras_rerun, past_hydra
    from journeyman.record import save_early
    from journeyman.run_folder import new_run_dir
    from journeyman.sweeps.job import sweep_job

    claim()  # also a launcher's worker
    job = HydraConfig.get()
    run_dir = Path(job.runtime.output_dir)
    again = is_hydras_rerun()
    in_sweep = job.mode == RunMode.MULTIRUN and not again
    # Several at a time would write over each other's lines.
    alone = job.launcher._target_.endswith("BasicLauncher")
    begun: AbstractContextManager[SweepJob | None] = past_hydra()
    if in_sweep:
        begun = sweep_job(run_dir, fail_fast=config.fail_fast, aloud=not alone)
    with begun as sweep:
        settings = settings_from(config)
        overrides = list(job.overrides.task)
        # Of a sweep's jobs, the sweep knows; what Hydra runs again is not checked yet.
        if not in_sweep and not again:
            save_early(settings, run_dir, overrides)
        from journeyman.orchestrator import Orchestrator
        from journeyman.results import objective
        from journeyman.services.capture_cache import CaptureCache

        cache = CaptureCache(settings.outputs_path, scope=str(run_dir.parent))
        orchestrator = Orchestrator(
            settings,
            # The pickled job's own folder holds its run.
            run_dir=new_run_dir(settings.outputs_path) if again else run_dir,
            overrides=overrides,
            show=alone or again,
            asked_to_stop=None if sweep is None else sweep.asked_to_stop,
            capture_cache=cache if in_sweep else None,
        )
        # A sweep that is resumed, or a cluster that took the machine away and gave another.
        begun_before = sweep is not None and sweep.begun_before
        score = objective(orchestrator.resume() if begun_before else orchestrator.run())
        if sweep is not None:
            sweep.objective = score
    return score
