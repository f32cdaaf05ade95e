"""The one job: composed config -> settings -> orchestrator."""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from journeyman.config_folder import CONF_DIR, CONFIG_NAME


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=CONFIG_NAME)
def main(config: DictConfig) -> float | None:
    """Runs one job and returns its objective: the final policy's mean return.

    It raises and never exits, so that one failing job of a sweep leaves the others alone.
    """
    # Here, not above: --help and tab completion end before a job and must be quick.
    from journeyman.composition import settings_from
    from journeyman.orchestrator import Orchestrator
    from journeyman.results import objective

    job = HydraConfig.get()
    orchestrator = Orchestrator(
        settings_from(config),
        run_dir=job.runtime.output_dir,
        overrides=list(job.overrides.task),
        show=True,
    )
    return objective(orchestrator.run())
