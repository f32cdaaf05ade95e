"""What our sweepers share: what Hydra hands over, and how a job is named to a launcher.

Hydra looks for plugins in no module whose name begins with an underscore.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

if TYPE_CHECKING:
    from journeyman.sweeps.record import JobRecord


class LaunchingSweeper(Sweeper):
    """A sweeper that has chosen its jobs by the time it launches them."""

    def __init__(self) -> None:
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self.hydra_context: HydraContext | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Takes what Hydra hands over."""
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def opened(self) -> Path:
        """Returns the sweep's folder, with the config in it."""
        assert self.config is not None
        sweep_dir = Path(self.config.hydra.sweep.dir)
        OmegaConf.save(self.config, sweep_dir / "multirun.yaml")
        return sweep_dir

    def run(self, jobs: Sequence["JobRecord"], arguments: Sequence[str]) -> None:
        """Launches pending jobs, at least one; a process that dies ends its own job only.

        Args:
            jobs: which.
            arguments: the overrides as given.

        Raises:
            Exception: the launcher cannot launch, or ended with the sweep.
        """
        from journeyman.sweeps.lost_workers import each_by_itself, launch_all

        assert self.config is not None
        assert self.launcher is not None
        launcher = self.launcher

        def launch(batch: Sequence["JobRecord"]) -> dict[int, str]:
            words = [in_folder(job.overrides, job.folder, arguments) for job in batch]
            with each_by_itself(launcher) as lost:
                launcher.launch(words, initial_job_idx=batch[0].number)
            return lost

        sweep_dir = Path(self.config.hydra.sweep.dir)
        launch_all(jobs, sweep_dir, launch, fail_fast=self.config.fail_fast)

    def refusal(self, overrides: Sequence[str]) -> str | None:
        """Returns why a job cannot be composed, or None: a launcher would end with the error."""
        assert self.config is not None
        assert self.hydra_context is not None
        try:
            self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            return " ".join(str(error).split())
        return None


def in_folder(overrides: Sequence[str], folder: str, arguments: Sequence[str]) -> list[str]:
    """Returns a job's overrides for a launcher: what it is, how it is run now, and where.

    A launcher numbers its jobs one after the other; the folder keeps the job's own number.
    """
    from journeyman.config_folder import quoted
    from journeyman.sweeps.record import experiment_overrides, says_how

    how = [each for each in arguments if says_how(each)]
    return [*experiment_overrides(overrides), *how, f"hydra.sweep.subdir={quoted(folder)}"]
