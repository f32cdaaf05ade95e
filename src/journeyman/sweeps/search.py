"""A search with Optuna: ask for trials, watch them run, tell it what became of them."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journeyman.sweeps.job import PRUNED
from journeyman.sweeps.record import (
    JOB_FILE,
    STOP_FILE,
    JobOutcome,
    JobRecord,
    JobStatus,
    SweepRecord,
    config_options,
)
from journeyman.sweeps.search_space import Choice, SearchSpace
from journeyman.tracking.values_log import ValueFollower

STUDY_FILE = "study.db"
WATCH_SECONDS = 1.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Keys of ``hydra.sweeper``; conf/sweep/optuna.yaml says what each is."""

    trials: int
    jobs_at_once: int
    seed: int
    startup_trials: int
    storage: str | None
    prune: bool
    prune_metric: str
    prune_after_trials: int
    prune_after_reports: int

    def problems(self) -> list[str]:
        """Returns a sentence for each number out of its bounds."""
        least = {
            "trials": 1,
            "jobs_at_once": 1,
            "seed": 0,
            "startup_trials": 1,
            "prune_after_trials": 1,
            "prune_after_reports": 0,
        }
        found = [
            f"hydra.sweeper.{name}: must be at least {low} (got {getattr(self, name)})"
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        if "/" not in self.prune_metric:
            found.append(
                f"hydra.sweeper.prune_metric: a metric is group/name (got {self.prune_metric})"
            )
        return found


class Search:
    """One study: a trial is a job, its value the job's objective, higher is better.

    Trials are counted in total: those of an earlier start that are done or pruned count, those
    that failed are counted once, in the start they failed in, and replaced in the next. What an
    ended driver left running is told by its own account, and without one as failed.

    Args:
        space: what may be chosen.
        options: of the search.
        sweep_dir: absolute folder of the sweep; home of the study.
    """

    def __init__(self, space: SearchSpace, options: SearchOptions, sweep_dir: Path) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space, self._options, self._sweep_dir = space, options, sweep_dir
        self._distributions = {key: _distribution(axis) for key, axis in space.axes.items()}
        self._study = self._open(optuna)
        self._trials: dict[int, Any] = {}
        for trial in self._study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            self._tell(trial.number, JobRecord.planned(trial.number, ()).told(sweep_dir))
        ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
        self._left = options.trials - len(self._study.get_trials(states=ended))

    def ask(self) -> list[JobRecord]:
        """Returns the next trials as jobs, and lists them in ``sweep.json``; none when it is over.

        It is also over when the sweep was asked to stop.
        """
        count = min(self._left, self._options.jobs_at_once)
        if count < 1 or (self._sweep_dir / STOP_FILE).exists():
            return []
        self._left -= count
        record = SweepRecord.read(self._sweep_dir)
        jobs, options = [], config_options(record.argv)
        for _ in range(count):
            trial = self._study.ask(self._distributions)
            self._trials[trial.number] = trial
            chosen = {
                key: value if isinstance(value, str) else self._space.axes[key].written(value)  # type: ignore[union-attr]
                for key, value in trial.params.items()
            }
            jobs.append(JobRecord.planned(trial.number, self._space.job(chosen), options))
        record.with_jobs([*record.jobs, *jobs]).save(self._sweep_dir)
        return jobs

    def refuse(self, job: JobRecord, reason: str) -> None:
        """Notes of a trial that is not launched why it cannot be run; ``tell`` tells the study."""
        run_dir = self._sweep_dir / job.folder
        run_dir.mkdir(exist_ok=True)
        JobOutcome.failed(reason).write(run_dir / JOB_FILE)

    def tell(self, jobs: Sequence[JobRecord]) -> None:
        """Tells the study what became of trials: complete, pruned or failed."""
        told = [job.told(self._sweep_dir) for job in jobs]
        for job in told:
            trial = self._trials.pop(job.number)
            if job.error is not None:
                trial.set_user_attr("reason", job.error)
            self._tell(job.number, job)
        fresh = {job.number: job for job in told}
        record = SweepRecord.read(self._sweep_dir)
        record.with_jobs(fresh.get(job.number, job) for job in record.jobs).save(self._sweep_dir)

    def _tell(self, number: int, job: JobRecord) -> None:
        from optuna.trial import TrialState

        if job.status is JobStatus.DONE and job.objective is not None:
            self._study.tell(number, job.objective)
        elif job.status is JobStatus.PRUNED:
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, state=TrialState.FAIL)

    def best(self) -> dict[str, Any] | None:
        """Returns overrides and return of the best trial; None where none is complete."""
        from optuna.trial import TrialState

        if not self._study.get_trials(states=(TrialState.COMPLETE,)):
            return None
        best = self._study.best_trial
        _LOG.info("best: trial %d with return %g: %s", best.number, best.value, best.params)
        return {"number": best.number, "return_mean": best.value, "params": best.params}

    @contextmanager
    def watching(self, jobs: Sequence[JobRecord]) -> Iterator[None]:
        """Reports what running trials log, and stops those that the pruner gives up."""
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(jobs, over), daemon=True)
        if self._options.prune:
            watch.start()
        try:
            yield
        finally:
            over.set()
            if self._options.prune:
                watch.join()

    def _watch(self, jobs: Sequence[JobRecord], over: threading.Event) -> None:
        followers = {
            job.number: ValueFollower(self._sweep_dir / job.folder, self._options.prune_metric)
            for job in jobs
        }
        given_up: set[int] = set()
        ended = False
        while not ended:
            # Once more after the end: what a trial logged last also tells of those to come.
            ended = over.wait(WATCH_SECONDS)
            for number, follower in followers.items():
                trial = self._trials[number]
                for position, value in follower.new_values():
                    # The position, not the step: steps differ from trial to trial.
                    trial.report(value, position)
                    if number not in given_up and not ended and trial.should_prune():
                        given_up.add(number)
                        reason = (
                            f"{PRUNED}: {self._options.prune_metric} {value:g} at report "
                            f"{position} is below the median of earlier trials\n"
                        )
                        (self._sweep_dir / str(number) / STOP_FILE).write_text(reason)

    def _open(self, optuna: Any) -> Any:
        options = self._options
        storage = options.storage or f"sqlite:///{self._sweep_dir / STUDY_FILE}"
        pruner = (
            optuna.pruners.MedianPruner(
                n_startup_trials=options.prune_after_trials,
                n_warmup_steps=options.prune_after_reports,
            )
            if options.prune
            else optuna.pruners.NopPruner()
        )
        study = optuna.create_study(
            storage=storage,
            study_name=self._sweep_dir.name,
            direction="maximize",
            load_if_exists=True,
            pruner=pruner,
        )
        # A fixed seed would suggest the same points again when a search goes on.
        study.sampler = optuna.samplers.TPESampler(
            seed=options.seed + len(study.get_trials()),
            n_startup_trials=options.startup_trials,
            constant_liar=options.jobs_at_once > 1,
        )
        return study


def _distribution(axis: Any) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(axis, Choice):
        return CategoricalDistribution(axis.values)
    if axis.step is None:
        return FloatDistribution(axis.low, axis.high, log=axis.log)
    return IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=axis.step)
