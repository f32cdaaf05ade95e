"""Runs, curves and stages of a job in MLflow.

Everything names its run by id: several jobs of a sweep may share a process, so there is no
active run, and an inherited ``MLFLOW_RUN_ID`` has no say.
"""

import atexit
import logging
import math
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from journeyman.errors import UserError
from journeyman.settings.tracking import MlflowSettings
from journeyman.tracking.address import StoreAway, check_database, resolve_address
from journeyman.tracking.delivery import Delivery
from journeyman.tracking.identity import RunIdentity
from journeyman.tracking.inputs import dataset_operation
from journeyman.tracking.kept_store import kept_address
from journeyman.tracking.operations import (
    EndRun,
    LogModel,
    OpenRun,
    Points,
    RunReference,
    SetTags,
    StoreArtifact,
    now_milliseconds,
    to_line,
)
from journeyman.tracking.protocol import DatasetInfo, MetricValue, RunInfo, RunStatus, StageRun
from journeyman.tracking.remote_store import RemoteStore
from journeyman.tracking.resuming import LeftBehind, left_behind
from journeyman.tracking.spool import REFUSED_NAME, Spool, SpoolHead
from journeyman.tracking.stage import queued_stage
from journeyman.tracking.tags import PARENT_RUN_VARIABLE, job_tags, user_tags
from journeyman.tracking.values import MetricCheck, cut_tags, storable_params

FINISH_PATIENCE_SECONDS = 15.0
KILLED_SECONDS = 1.5
"""How long a run that was asked to stop may go on delivering."""
ARTIFACT_SECONDS = 5.0
"""How long a run waits in all for its artifacts to be stored while it works."""
WAITING_SECONDS = 5.0
"""How long a run that can begin without its store waits for it."""

_logger = logging.getLogger(__name__)


class MlflowTracker:
    """A run in MLflow with all curves, and light nested runs for its stages.

    A run folder tracked before goes on in the same MLflow run of the same store, and its stages
    in theirs: what they hold already is not logged again.

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
        self._outputs = outputs
        self._patience = finish_patience_seconds
        self._check, self._sampled = MetricCheck(), MetricCheck()
        self._given = position
        self._goes_on = False
        self._artifact_seconds = ARTIFACT_SECONDS
        self._clock = 0
        self._delivery: Delivery | None = None
        self._job: RunReference | None = None
        self._store: RemoteStore | None = None
        self._spool: Spool | None = None

    @property
    def tracking_uri(self) -> str:
        """URI of the store, absolute; of a run that is gone on with known after ``start``."""
        return self._address.uri

    @property
    def run_id(self) -> str:
        """Id of the job's run; known after ``start``, unless the store is away."""
        return self._started_job.opened_id

    @property
    def experiment_id(self) -> str:
        """Id of the experiment; known after ``start``, unless the store is away."""
        if self._store is None:
            raise RuntimeError("the tracker was not started")
        return self._store.experiment_id

    @property
    def position(self) -> dict[str, Any]:
        """The time of the last point, and what waits for delivery and is not in the spool.

        For a checkpoint, JSON-able.
        """
        time, self._clock = self._now(), self._clock + 1  # what is logged from now on is later
        waiting = [] if self._delivery is None else self._delivery.waiting()
        return {"time": time, "undelivered": [to_line(each) for each in waiting]}

    def start(self, run: RunInfo) -> None:
        """Opens the run and waits until it is there.

        A job of a sweep and a run that is resumed need not wait for a store that is away: their
        runs are opened as soon as it is back.

        Raises:
            UserError: the store cannot be used; nothing has been trained yet then.
        """
        if self._delivery is not None:
            raise RuntimeError("this tracker was started before")
        try:
            self._begin(run)
        except BaseException:
            if self._store is not None:
                self._store.close()
            raise
        atexit.register(self.finish, RunStatus.KILLED)

    def log(self, group: str, metrics: Mapping[str, MetricValue], step: int) -> None:
        """Queues numbers as curves of the job's run; words are left to ``metrics.jsonl``.

        Raises:
            ValueError: a name is illegal or a value not finite; nothing is queued then.
        """
        pairs = self._check(group, metrics, step)
        if pairs:
            self._queue.put(Points(self._started_job, self._now(), int(step), pairs))

    def sample(self, metrics: Mapping[str, float], step: int) -> None:
        """Queues measurements of the machine as ``system/...``; called on a thread of its own."""
        delivery, pairs = self._delivery, self._sampled("system", metrics, step)
        if delivery is not None:
            delivery.put(Points(self._started_job, now_milliseconds(), step, pairs))

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
        """Stores a file or folder with the job's run; returns when stored, or when it takes long.

        A run waits some seconds for all its artifacts together, and in an outage not at all.

        Raises:
            FileNotFoundError: there is no such file.
        """
        if not path.exists():
            raise FileNotFoundError(f"artifact {path} does not exist")
        operation = StoreArtifact(self._started_job, str(path.resolve()), folder)
        self._queue.put(operation, urgent=True)
        began = time.monotonic()
        operation.settled.wait(self._artifact_seconds)
        self._artifact_seconds = max(0.0, self._artifact_seconds + began - time.monotonic())

    @contextmanager
    def stage(self, name: str, settings: Mapping[str, object]) -> Iterator[StageRun]:
        """Opens a light run under the job's; it ends FAILED or KILLED if an exception passes."""
        queue, job = self._queue, self._started_job
        with queued_stage(queue, job, name, settings, resumed=self._goes_on) as stage:
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
            self._say_what_is_left(delivery.leave())
            if self._store is not None:
                self._store.close()

    def _say_what_is_left(self, left: int) -> None:
        spool = self._spool
        if spool is not None and left:
            _logger.warning(
                "%d operations were not delivered to the MLflow store %s; they are kept in %s, "
                "from where journeyman sync delivers them",
                left,
                self._address.shown,
                spool.path,
            )
        if spool is not None and spool.refused:
            _logger.warning(
                "the MLflow store %s refused %d operations; they are listed in %s",
                self._address.shown,
                spool.refused,
                spool.path.with_name(REFUSED_NAME),
            )

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

    def _begin(self, run: RunInfo) -> None:
        identity = RunIdentity.read(run.run_dir)
        self._address = kept_address(run.run_dir, identity, self._address, self._outputs)
        check_database(self._address)
        self._goes_on = self._given is not None or identity is not None
        position = self._given or {}
        left = left_behind(run.run_dir, self._address.shown, position if self._goes_on else {})
        opening = self._opening(run, identity, left)
        self._job = opening.run
        self._store = RemoteStore(
            self._address, run.experiment, folder=run.run_dir, identity=identity
        )
        self._spool = Spool(
            run.run_dir,
            SpoolHead(
                tracking_uri=self._address.shown,
                experiment=run.experiment,
                outputs=str(self._outputs),
            ),
            outstanding=len(left.spooled),
        )
        may_wait = self._goes_on or PARENT_RUN_VARIABLE in os.environ
        if not may_wait:
            self._store.open_patiently(opening)
        else:
            self._connect(self._store)
        self._delivery = Delivery(
            self._store,
            name=f"the MLflow store {self._address.shown}",
            flush_seconds=self._settings.flush_seconds,
            flush_metrics=self._settings.flush_metrics,
            spool=self._spool,
            waiting=left.spooled,
        )
        if may_wait:
            self._open_later(self._delivery, left, opening)

    def _opening(self, run: RunInfo, identity: RunIdentity | None, left: LeftBehind) -> OpenRun:
        """Returns what opens the job's run: a new one, or the one it goes on in."""
        since = self._given.get("time", -1) if self._given else -1
        self._clock = max(self._now(), since + 1, left.latest + 1)
        params, left_out = storable_params(run.params)
        if left.job is not None:
            job = left.job
        elif identity is not None:
            job = RunReference(identity.run_id, identity.run_id, tried=True)
        else:
            job = RunReference(uuid.uuid4().hex)
        return OpenRun(
            job,
            self._settings.run_name or run.name,
            {**user_tags(), **job_tags(run), **left_out},
            params,
            self._clock,
            folder=str(run.run_dir),
            since=since if self._goes_on else None,
        )

    def _connect(self, store: RemoteStore) -> None:
        """Connects a store that is there; one that is away is connected when it is back."""
        try:
            store.connect()
        except StoreAway as error:
            _logger.warning("%s; the run begins without it", error)

    def _open_later(self, delivery: Delivery, left: LeftBehind, opening: OpenRun) -> None:
        """Queues the opening behind what is left of earlier processes; waits for it for a while.

        Raises:
            UserError: the store will never have this run.
        """
        for operation in left.queued:
            delivery.put(operation)
        delivery.put(opening, urgent=True)
        opening.settled.wait(WAITING_SECONDS)
        if opening.run.refused is not None:
            self._delivery = None
            delivery.leave()
            raise UserError(
                f"the MLflow store {self._address.shown} (from {self._address.source}) cannot be "
                f"used: {opening.run.refused}"
            )
