"""Runs the pending jobs of a sweep's record: all of a new one, the rest of a resumed one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class GridSweeperConf:
    """Node ``hydra.sweeper`` of ``sweep=grid``."""

    _target_: str = "hydra_plugins.journeyman_optuna_sweeper.grid_sweeper.GridSweeper"
    params: dict[str, Any] = field(default_factory=dict)


ConfigStore.instance().store(
    group="hydra/sweeper", name="journeyman_grid", node=GridSweeperConf, provider="journeyman"
)


class GridSweeper(Sweeper):
    """Hands the jobs that ``sweep.json`` lists as pending to the launcher, in one batch.

    Other than Hydra's basic sweeper it composes no job a second time (the plan was validated
    whole), and it raises for no failed job: the sweep's driver gives the account.
    """

    def __init__(self, params: DictConfig) -> None:
        # The plan holds what they expand to already.
        self.params = params
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

    def sweep(self, arguments: list[str]) -> Any:
        """Launches what is pending.

        Args:
            arguments: the overrides as given; the plan was made of them before.
        """
        from journeyman.sweeps.record import JobStatus, SweepRecord

        assert self.config is not None
        assert self.launcher is not None
        sweep_dir = Path(self.config.hydra.sweep.dir)
        OmegaConf.save(self.config, sweep_dir / "multirun.yaml")
        jobs = SweepRecord.read(sweep_dir).those(JobStatus.PENDING)
        if not jobs:
            return []
        batch = [in_folder(job.overrides, job.folder, arguments) for job in jobs]
        return self.launcher.launch(batch, initial_job_idx=jobs[0].number)


def in_folder(overrides: Sequence[str], folder: str, arguments: Sequence[str]) -> list[str]:
    """Returns a job's overrides for a launcher: what it is, how it is run now, and where.

    A launcher numbers its jobs one after the other; the folder keeps the job's own number.
    """
    from journeyman.sweeps.record import experiment_overrides, says_how

    how = [each for each in arguments if says_how(each)]
    return [*experiment_overrides(overrides), *how, f"hydra.sweep.subdir='{folder}'"]
