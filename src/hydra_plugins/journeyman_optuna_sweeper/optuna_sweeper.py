"""Seeks the best trial with Optuna: suggests, launches, watches, learns from the outcome.

Optuna is asked and told; it calls nothing itself. So any launcher will do, and a job need not
know that it is a trial.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from hydra_plugins.journeyman_optuna_sweeper._launching import LaunchingSweeper, in_folder


@dataclass
class OptunaSweeperConf:
    """Node ``hydra.sweeper`` of ``sweep=optuna``; conf/sweep/optuna.yaml says what each key is."""

    _target_: str = "hydra_plugins.journeyman_optuna_sweeper.optuna_sweeper.OptunaSweeper"
    trials: int = 20
    jobs_at_once: int = 1
    seed: int = 0
    startup_trials: int = 10
    storage: str | None = None
    prune: bool = True
    prune_metric: str = "eval/return_mean"
    prune_after_trials: int = 5
    prune_after_reports: int = 1
    params: dict[str, Any] = field(default_factory=dict)


ConfigStore.instance().store(
    group="hydra/sweeper", name="journeyman_optuna", node=OptunaSweeperConf, provider="journeyman"
)


class OptunaSweeper(LaunchingSweeper):
    """Runs trials in batches until there are as many as were asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def sweep(self, arguments: list[str]) -> Any:
        """Suggests and launches trials.

        Args:
            arguments: the overrides as given: fixed ones, and the axes of the search.
        """
        from journeyman.sweeps.planning import search_space_of, with_params
        from journeyman.sweeps.search import Search, SearchOptions

        sweep_dir = self.opened()
        options = dict(self.options)
        space = search_space_of(with_params(options.pop("params"), arguments))
        search = Search(space, SearchOptions(**options), sweep_dir)
        while batch := search.ask():
            jobs = []
            for job in batch:
                if reason := self.refusal(in_folder(job.overrides, job.folder, arguments)):
                    search.refuse(job, reason)
                else:
                    jobs.append(job)
            with search.watching(jobs):
                if jobs:
                    self.run(jobs, arguments)
            search.tell(batch)
        return search.best()
