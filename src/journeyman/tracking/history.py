"""What became of jobs, read back from MLflow: no run folder is looked at."""

import json
import shlex
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from journeyman.errors import UserError
from journeyman.tracking.address import StoreAddress, check_database
from journeyman.tracking.client import open_client, store_errors
from journeyman.tracking.configuration import CONFIGURATION_TAG

SCORE = "eval/return_mean"
"""The metric whose last value a job is judged by: mean return of its final policy."""
CURVES = (
    SCORE,
    "ppo/episode_return_mean",
    "ppo/explained_variance",
    "ppo/kl_divergence",
    "bc/val_loss",
    "bc/val_decision_accuracy",
)
"""Metrics that reports draw, in this order."""
STATUS_TAG = "sweep.status"
REASON_TAG = "sweep.reason"
DURATION_TAG = "sweep.duration_sec"

_STATUS = {"FINISHED": "done", "FAILED": "failed", "KILLED": "stopped", "RUNNING": "running"}
_PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class JobHistory:
    """One job: what it was, how it ended, and its curves.

    Attributes:
        name: what it is called beside the other jobs: its number in a sweep, else its run.
        overrides: what its config was composed from.
        seed: root seed; None where it is not known (the job never began).
        status: ``done``, ``failed``, ``pruned``, ``stopped``, ``running`` or ``pending``.
        reason: why it is not done.
        score: last ``eval/return_mean``; None without one.
        duration_sec: wall time.
        command: what runs it alone.
        curves: metric -> (steps, values), both ascending in step and of one length.
        digest: of its config without the seed; None where it is not known.
        params: leaves of its config as the store has them; empty where it was not asked.
    """

    name: str
    overrides: tuple[str, ...]
    seed: int | None = None
    status: str
    reason: str | None = None
    score: float | None = None
    duration_sec: float | None = None
    command: str
    curves: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = field(
        default_factory=dict, repr=False
    )
    digest: str | None = None
    params: Mapping[str, str] = field(default_factory=dict, repr=False)


class RunReader:
    """Reads jobs from a store.

    Args:
        address: which store.

    Raises:
        UserError: the store cannot be opened, or there is none yet.
    """

    def __init__(self, address: StoreAddress) -> None:
        if address.database is not None:
            if not address.database.exists():
                raise UserError(f"there is no MLflow database {address.database}")
            check_database(address)
        self._address = address
        with store_errors(address):
            self._client, _ = open_client(address, None)

    def jobs_of_experiment(self, name: str) -> list[JobHistory]:
        """Returns all jobs of an experiment, the oldest first.

        Raises:
            UserError: there is no such experiment.
        """
        with store_errors(self._address):
            experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            raise UserError(
                f"{name}: neither a folder, nor a run, nor an experiment of {self._address.shown}"
            )
        jobs = self._search([experiment.experiment_id], "tags.kind = 'job'")
        return [self._job(run, run.info.run_name) for run in jobs]

    def jobs_of_run(self, run_id: str) -> list[JobHistory]:
        """Returns the jobs of a sweep's run in their order, or the one job of a job's run.

        Of a job that was begun anew the last attempt counts.

        Raises:
            UserError: there is no such run, or it is the run of a stage.
        """
        run = self._run(run_id)
        kind = run.data.tags.get("kind")
        if kind == "job":
            return [self._job(run, run.info.run_name)]
        if kind != "sweep":
            raise UserError(f"{run_id}: a run of kind {kind}; name a sweep's or a job's")
        below = f"tags.kind = 'job' and tags.`mlflow.parentRunId` = '{run_id}'"
        attempts = self._search([run.info.experiment_id], below)
        latest = {each.data.tags["sweep.job"]: each for each in attempts}
        jobs = {name: self._job(each, name) for name, each in latest.items()}
        for never_begun in self._planned(run_id):
            jobs.setdefault(never_begun.name, never_begun)
        return [jobs[name] for name in sorted(jobs, key=_by_number)]

    def about(self, run_id: str) -> dict[str, str]:
        """Returns ``kind`` and ``title`` of a run, and the ``command`` that was given for it.

        Raises:
            UserError: there is no such run.
        """
        run = self._run(run_id)
        command = run.data.tags.get("command")
        about = {"kind": run.data.tags.get("kind", ""), "title": run.info.run_name}
        return about if command is None else {**about, "command": command}

    def _run(self, run_id: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_run(run_id)
        except MlflowException as error:
            raise UserError(f"{run_id}: no such run in {self._address.shown}") from error

    def _search(self, experiments: Sequence[str], filter_string: str) -> list[Any]:
        found: list[Any] = []
        token = None
        with store_errors(self._address):
            while True:
                page = self._client.search_runs(
                    experiments,
                    filter_string,
                    max_results=_PAGE,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
                found.extend(page)
                token = page.token
                if not token:
                    return found

    def _job(self, run: Any, name: str) -> JobHistory:
        tags, info = run.data.tags, run.info
        overrides = tuple(shlex.split(tags.get("overrides", "")))
        with store_errors(self._address):
            curves = {
                key: _curve(self._client.get_metric_history(info.run_id, key))
                for key in CURVES
                if key in run.data.metrics
            }
        return JobHistory(
            name=name,
            overrides=overrides,
            seed=int(tags["seed"]) if "seed" in tags else None,
            status=tags.get(STATUS_TAG, _STATUS.get(info.status, info.status.lower())),
            reason=tags.get(REASON_TAG, tags.get("error")) or None,
            score=run.data.metrics.get(SCORE),
            duration_sec=_duration(run),
            command=tags.get("command", _command(run)),
            curves=curves,
            digest=tags.get(CONFIGURATION_TAG),
            params=dict(run.data.params),
        )

    def _planned(self, run_id: str) -> Iterable[JobHistory]:
        """Yields the jobs that the sweep's own record lists, begun or not."""
        if "sweep.json" not in {item.path for item in self._client.list_artifacts(run_id)}:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = self._client.download_artifacts(run_id, "sweep.json", folder)
            record = json.loads(Path(path).read_text())
        for job in record["jobs"]:
            yield JobHistory(
                name=job["folder"],
                overrides=tuple(job["overrides"]),
                status=job["status"],
                reason=job["error"],
                command=job["command"],
            )


def _command(run: Any) -> str:
    """Returns what runs a job alone: its overrides where it was given any words, else itself."""
    if "overrides" in run.data.tags:
        return shlex.join(["journeyman", *shlex.split(run.data.tags["overrides"])])
    return f"journeyman rerun {run.info.run_id}"


def _curve(history: Iterable[Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns steps and values; of several values at one step the last counts."""
    points = {int(each.step): float(each.value) for each in history}
    steps = sorted(points)
    return tuple(map(float, steps)), tuple(points[step] for step in steps)


def _duration(run: Any) -> float | None:
    """Returns a job's own measure of its wall time, else that between its run's start and end."""
    if DURATION_TAG in run.data.tags:
        return float(run.data.tags[DURATION_TAG])
    ended = run.info.end_time
    return None if ended is None else (ended - run.info.start_time) / 1000.0


def _by_number(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (1 << 60, name)
