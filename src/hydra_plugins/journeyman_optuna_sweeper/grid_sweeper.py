"""Runs the pending jobs of a sweep's record: all of a new one, the rest of a resumed one."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from hydra_plugins.journeyman_optuna_sweeper._launching import LaunchingSweeper


@dataclass
class GridSweeperConf:
    """Node ``hydra.sweeper`` of ``sweep=grid``."""

    _target_: str = "hydra_plugins.journeyman_optuna_sweeper.grid_sweeper.GridSweeper"
    params: dict[str, Any] = field(default_factory=dict)


ConfigStore.instance().store(
    group="hydra/sweeper", name="journeyman_grid", node=GridSweeperConf, provider="journeyman"
)


class GridSweeper(LaunchingSweeper):
    """Hands the jobs that ``sweep.json`` lists as pending to the launcher, in one batch.

    Other than Hydra's basic sweeper it composes no job a second time (the plan was validated
    whole), and it raises for no failed job: the sweep's driver gives the account.
    """

    def __init__(self, params: DictConfig) -> None:
        super().__init__()
        self.params = params  # the plan holds what they expand to already

    def sweep(self, arguments: list[str]) -> None:
        """Launches what is pending.

        Args:
            arguments: the overrides as given; the plan was made of them before.
        """
        from journeyman.sweeps.record import JobStatus, SweepRecord

        jobs = SweepRecord.read(self.opened()).those(JobStatus.PENDING)
        if jobs:
            self.run(jobs, arguments)
