"""Runs, curves and stages in MLflow; the only file that imports it for logging.

Everything names its run by id: several jobs of a sweep may share a process, so there is no
active run, and an inherited ``MLFLOW_RUN_ID`` has no say.
"""

import atexit
import contextlib
import logging
import math
import os
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from journeyman.errors import UserError
from journeyman.settings.tracking import MlflowSettings
from journeyman.tracking import spool, sqlite
from journeyman.tracking.address import StoreAddress, check_database, resolve_address
from journeyman.tracking.delivery import MAX_METRICS_PER_CALL, THREAD_NAME, Delivery
from journeyman.tracking.identity import RunIdentity
from journeyman.tracking.inputs import dataset_operation, log_dataset
from journeyman.tracking.models import log_model
from journeyman.tracking.operations import (
    EndRun,
    LogDataset,
    LogModel,
    OpenRun,
    Points,
    RunReference,
    SetTags,
    StoreArtifact,
    now_milliseconds,
)
from journeyman.tracking.protocol import DatasetInfo, MetricValue, RunInfo, RunStatus, StageRun
from journeyman.tracking.quiet import quieten
from journeyman.tracking.resuming import StoredRun, keep_waiting, reopen, run_to_resume
from journeyman.tracking.stage import queued_stage
from journeyman.tracking.tags import job_tags, user_tags
from journeyman.tracking.values import MetricCheck, cut_tags, storable_params

FINISH_PATIENCE_SECONDS = 15.0
KILLED_SECONDS = 1.5
"""How long a run that was asked to stop may go on delivering."""
ARTIFACT_WAIT_SECONDS = 30.0

_MAX_PARAMS_PER_CALL = 100
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # An outage is met by the delivery thread's retries, which training need not wait for; the
    # client's own (7 with up to 120 s each) would hold up the end of a run for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_logger = logging.getLogger(__name__)


class MlflowTracker:
    """A run in MLflow with all curves, and light nested runs for its stages.

    A run folder tracked in this store before goes on in the same MLflow run, and its stages in
    theirs: what they hold already is not logged again.

    Args:
        settings: store, experiment, and how metrics are gathered.
        outputs: absolute outputs folder, home of the embedded store.
        finish_patience_seconds: at the end, give up when the store takes nothing for so long.
        position: ``position`` at the checkpoint a run is resumed from (``{}``: its beginning).
    """

    def __init__(
        self,
        settings: MlflowSettings,
        *,
        outputs: Path,
        finish_patience_seconds: float = FINISH_PATIENCE_SECONDS,
        position: Mapping[str, Any] | None = None,
    ) -> None:
        self._settings = settings
        self._address = resolve_address(settings.uri, outputs)
        self._patience = finish_patience_seconds
        self._check = MetricCheck()
        self._given = position
        self._stored = StoredRun()
        self._clock = 0
        self._delivery: Delivery | None = None
        self._job: RunReference | None = None
        self._experiment_id = ""
        self._run_dir = Path()

    @property
    def tracking_uri(self) -> str:
        """URI of the store, absolute."""
        return self._address.uri

    @property
    def run_id(self) -> str:
        """Id of the job's run; known after ``start``."""
        return self._started_job.opened_id

    @property
    def experiment_id(self) -> str:
        """Id of the experiment; known after ``start``."""
        return self._experiment_id

    @property
    def position(self) -> dict[str, Any]:
        """The time of the last point, and what waits for delivery: for a checkpoint, JSON-able."""
        time, self._clock = self._now(), self._clock + 1  # what is logged from now on is later
        waiting = [] if self._delivery is None else self._delivery.waiting()
        return {"time": time, "undelivered": keep_waiting(self._run_dir, waiting)}

    def start(self, run: RunInfo) -> None:
        """Opens the store and the run, and waits until it is there.

        Raises:
            UserError: the store cannot be opened; nothing has been trained yet then.
        """
        if self._delivery is not None:
            raise RuntimeError("this tracker was started before")
        self._run_dir = run.run_dir
        if self._address.database is not None:
            check_database(self._address)
            sqlite.tune(self._address.database)
        try:
            with store_errors(self._address):
                client, self._experiment_id = open_client(self._address, run.experiment)
                store = MlflowStore(client, self._experiment_id)
                self._job = self._reopen(client, store, run) or self._create(client, store, run)
        except BaseException:
            if self._address.database is not None:
                sqlite.untune(self._address.database)
            raise
        self._delivery = Delivery(
            store,
            name=f"the MLflow store {self._address.shown}",
            flush_seconds=self._settings.flush_seconds,
            flush_metrics=self._settings.flush_metrics,
        )
        atexit.register(self.finish, RunStatus.KILLED)

    def log(self, group: str, metrics: Mapping[str, MetricValue], step: int) -> None:
        """Queues numbers as curves of the job's run; words are left to ``metrics.jsonl``.

        Raises:
            ValueError: a name is illegal or a value not finite; nothing is queued then.
        """
        pairs = self._stored.missing(self._check(group, metrics, step), int(step))
        if pairs:
            self._queue.put(Points(self._started_job, self._now(), int(step), pairs))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Queues tags of the job's run."""
        self._queue.put(SetTags(self._started_job, cut_tags(tags)))

    def dataset(self, data: DatasetInfo) -> None:
        """Queues data as an input of the job's run."""
        self._queue.put(dataset_operation(self._started_job, data))

    def model(self, folder: Path, name: str, step: int, tags: Mapping[str, str]) -> None:
        """Queues a model of the job's run."""
        path = str(folder.resolve())
        self._queue.put(LogModel(self._started_job, path, name, step, cut_tags(tags)))

    def artifact(self, path: Path, folder: str = "") -> None:
        """Stores a file or folder with the job's run; returns when stored, or in an outage.

        Raises:
            FileNotFoundError: there is no such file.
        """
        if not path.exists():
            raise FileNotFoundError(f"artifact {path} does not exist")
        operation = StoreArtifact(self._started_job, str(path.resolve()), folder)
        self._queue.put(operation, urgent=True)
        operation.settled.wait(ARTIFACT_WAIT_SECONDS)

    @contextmanager
    def stage(self, name: str, settings: Mapping[str, object]) -> Iterator[StageRun]:
        """Opens a light run under the job's; it ends FAILED or KILLED if an exception passes."""
        known = self._stored.stages.get(name)
        with queued_stage(self._queue, self.run_id, name, settings, known) as stage:
            yield stage

    def finish(self, status: RunStatus) -> None:
        """Delivers what is queued and ends the run; a second call does nothing.

        What the store does not take is written to the run folder's spool, with a warning.
        """
        delivery, self._delivery = self._delivery, None
        if delivery is None:
            return
        atexit.unregister(self.finish)
        delivery.put(EndRun(self._started_job, status.value, now_milliseconds()), urgent=True)
        try:
            # Whoever ended the run is waiting; the spool keeps what is left.
            limit = KILLED_SECONDS if status is RunStatus.KILLED else math.inf
            delivery.close(patience_seconds=self._patience, at_most_seconds=limit)
        finally:
            rest = delivery.abandon()
            if rest:
                path = spool.write_spool(self._run_dir, self._address.shown, rest)
                _logger.warning(
                    "%d operations were not delivered to the MLflow store %s; they are kept in %s",
                    len(rest),
                    self._address.shown,
                    path,
                )
            if self._address.database is not None:
                sqlite.untune(self._address.database)

    @property
    def _started_job(self) -> RunReference:
        if self._job is None:
            raise RuntimeError("the tracker was not started")
        return self._job

    @property
    def _queue(self) -> Delivery:
        if self._delivery is None:
            raise RuntimeError("the tracker was not started, or is finished")
        return self._delivery

    def _now(self) -> int:
        """Returns the time in Unix milliseconds, never earlier than that of a logged point."""
        self._clock = max(self._clock, now_milliseconds())
        return self._clock

    def _create(self, client: Any, store: "MlflowStore", run: RunInfo) -> RunReference:
        params, left_out = storable_params(run.params)
        tags = {**user_tags(), **job_tags(run), **left_out}
        name = self._settings.run_name or run.name
        job = RunReference(uuid.uuid4().hex)
        store.open_run(OpenRun(job, name, tags, params, now_milliseconds()))
        identity = RunIdentity(self._address.shown, self._experiment_id, job.opened_id)
        identity.write(run.run_dir)
        return job

    def _reopen(self, client: Any, store: "MlflowStore", run: RunInfo) -> RunReference | None:
        here = RunIdentity(self._address.shown, self._experiment_id, "")
        identity = run_to_resume(client, run, here, search=self._given is not None)
        if identity is None:
            return None
        self._experiment_id = identity.experiment_id
        job, self._stored = reopen(client, store, run, identity, self._given or {})
        self._clock = self._stored.latest + 1
        return job


class MlflowStore:
    """Carries operations out with MLflow's client."""

    def __init__(self, client: Any, experiment_id: str) -> None:
        self._client = client
        self._experiment_id = experiment_id

    def log_points(self, run: RunReference, points: list[Points]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(key, value, each.timestamp, each.step)
            for each in points
            for key, value in each.metrics
        ]
        for first in range(0, len(metrics), MAX_METRICS_PER_CALL):
            chunk = metrics[first : first + MAX_METRICS_PER_CALL]
            self._client.log_batch(run.opened_id, metrics=chunk)

    def open_run(self, operation: OpenRun) -> None:
        from mlflow.entities import Param

        if operation.run.run_id is None:
            created = self._client.create_run(
                self._experiment_id,
                start_time=operation.timestamp,
                tags=operation.tags,
                run_name=operation.name,
            )
            operation.run.run_id = created.info.run_id
        else:
            self._client.update_run(operation.run.run_id, status="RUNNING")
        params = [Param(key, value) for key, value in operation.params.items()]
        for first in range(0, len(params), _MAX_PARAMS_PER_CALL):
            chunk = params[first : first + _MAX_PARAMS_PER_CALL]
            self._client.log_batch(operation.run.opened_id, params=chunk)

    def set_tags(self, operation: SetTags) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(key, value) for key, value in operation.tags.items()]
        self._client.log_batch(operation.run.opened_id, tags=tags)

    def log_dataset(self, operation: LogDataset) -> None:
        log_dataset(self._client, operation)

    def log_model(self, operation: LogModel) -> None:
        log_model(self._client, self._experiment_id, operation)

    def store_artifact(self, operation: StoreArtifact) -> None:
        if not Path(operation.path).exists():
            _logger.warning("artifact %s was removed before it was stored", operation.path)
            return
        self._client.log_artifact(operation.run.opened_id, operation.path, operation.folder or None)

    def end_run(self, operation: EndRun) -> None:
        self._client.set_terminated(operation.run.opened_id, operation.status, operation.timestamp)


def open_client(address: StoreAddress, experiment: str | None) -> tuple[Any, str]:
    """Returns a client, and the id of the experiment, created if it is new."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    locked = (
        sqlite.first_opening(address.database)
        if address.database is not None
        else contextlib.nullcontext()
    )
    with locked, warnings.catch_warnings():
        # MLflow's own mapping uses a loader that SQLAlchemy 2.1 deprecates.
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy")
        from mlflow.tracking import MlflowClient

        quieten(THREAD_NAME)
        client = MlflowClient(tracking_uri=address.uri, registry_uri=address.uri)
        return client, "" if experiment is None else _experiment(client, address, experiment)


def _experiment(client: Any, address: StoreAddress, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = address.artifacts.as_uri() if address.artifacts is not None else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            # On a server another process may have created it in between.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise UserError(
            f"tracking.experiment={name} was deleted in {address.shown}; "
            "restore it there or choose another name"
        )
    return str(found.experiment_id)


@contextmanager
def store_errors(address: StoreAddress) -> Iterator[None]:
    """Turns what a store raises on opening into the user's error."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        if isinstance(error, MlflowException | SQLAlchemyError | OSError | ImportError):
            reason = " ".join(str(error).split())[:1000]
            raise UserError(
                f"the MLflow store {address.shown} (from {address.source}) cannot be used: {reason}"
            ) from error
        raise
