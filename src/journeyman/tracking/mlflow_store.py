"""Carries operations out with MLflow's client; each may come twice and counts once."""

import contextlib
import threading
import time
from pathlib import Path
from typing import Any

from journeyman.tracking.address import StoreAddress, check_store
from journeyman.tracking.client import experiment_id, is_lasting, open_client
from journeyman.tracking.identity import RunIdentity
from journeyman.tracking.inputs import log_dataset
from journeyman.tracking.models import log_model
from journeyman.tracking.operations import (
    CloseChildren,
    EndRun,
    LogDataset,
    LogModel,
    OpenRun,
    Points,
    RunReference,
    SetTags,
    StoreArtifact,
    TellJobs,
)
from journeyman.tracking.protocol import RunStatus
from journeyman.tracking.resuming import (
    RESUMED_AT_TAG,
    go_on_with_job,
    go_on_with_stage,
    stages_of,
)
from journeyman.tracking.sqlite_points import SqlitePoints
from journeyman.tracking.values import cut_tags

LABEL_TAG = "journeyman.id"
"""Our own id of a run, known before the store has given it one."""
PARENT_TAG = "mlflow.parentRunId"

_MAX_METRICS_PER_CALL = 1000
_MAX_PARAMS_PER_CALL = 100
"""MLflow's limits of one ``log_batch``."""
_MOST_CHILDREN = 50_000
OPENING_SECONDS = 8.0
"""How long a run that does not begin without its store asks for it to be opened."""


class MlflowStore:
    """A store, connected when it is first needed.

    Args:
        address: which store.
        experiment: name of the experiment that new runs are opened in.
        identity: the run that is gone on with; its experiment may have another name by now.
    """

    def __init__(
        self, address: StoreAddress, experiment: str, identity: RunIdentity | None = None
    ) -> None:
        self._address = address
        self._experiment = experiment
        self._experiment_id = "" if identity is None else identity.experiment_id
        database = address.database
        self._directly = None if database is None else SqlitePoints(database)
        self._given_client: Any = None
        self._connecting = threading.Lock()

    def connect(self) -> None:
        """Makes the client; of a database, the connection too."""
        with self._connecting:
            if self._given_client is None:
                check_store(self._address)  # in seconds, where MLflow tries for a minute
                self._given_client, _ = open_client(self._address, None)

    @property
    def _client(self) -> Any:
        if self._given_client is None:
            self.connect()
        return self._given_client

    @property
    def known_experiment_id(self) -> str:
        """Id of the experiment, if the store was asked for it already; else empty."""
        return self._experiment_id

    @property
    def experiment_id(self) -> str:
        """Id of the experiment, created if it is new."""
        if not self._experiment_id:
            self._experiment_id = experiment_id(self._client, self._address, self._experiment)
        return self._experiment_id

    def refuses(self, error: Exception) -> bool:
        return is_lasting(error)

    def open_run(self, operation: OpenRun) -> None:
        run, known, params = operation.run, None, operation.params
        if run.run_id is None and (run.tried or operation.since is not None):
            run.run_id = self._found(operation)
        if run.run_id is None:
            self._create(operation)
        else:
            self._client.update_run(run.opened_id, status="RUNNING")
            known = self._client.get_run(run.opened_id)
            params = {key: params[key] for key in params.keys() - known.data.params.keys()}
        here = RunIdentity(self._address.shown, self.experiment_id, run.opened_id)
        if operation.folder:
            here.write(Path(operation.folder))
        self._add_params(run, params)
        if operation.since is None or known is None:
            return
        if operation.parent is None:
            go_on_with_job(self._client, operation, here)
        else:
            go_on_with_stage(operation, known)

    def fail_run(self, run: RunReference) -> None:
        """Ends a run whose start went wrong halfway, if the store has it."""
        created = [run.run_id] if run.run_id is not None else []
        if run.tried and not created:
            created = [each.info.run_id for each in self._labelled(run.label)]
        for run_id in created:
            self._client.set_terminated(run_id, RunStatus.FAILED.value)

    def log_points(self, run: RunReference, points: list[Points]) -> None:
        if self._directly is not None and self._directly.log(run.opened_id, points):
            return
        from mlflow.entities import Metric

        metrics = [
            Metric(key, value, each.timestamp, each.step)
            for each in points
            for key, value in each.metrics
        ]
        for first in range(0, len(metrics), _MAX_METRICS_PER_CALL):
            chunk = metrics[first : first + _MAX_METRICS_PER_CALL]
            self._client.log_batch(run.opened_id, metrics=chunk)

    def set_tags(self, operation: SetTags) -> None:
        self._tag(operation.run.opened_id, operation.tags)

    def log_dataset(self, operation: LogDataset) -> None:
        log_dataset(self._client, operation)

    def log_model(self, operation: LogModel) -> None:
        log_model(self._client, self.experiment_id, operation)

    def store_artifact(self, operation: StoreArtifact) -> None:
        self._client.log_artifact(operation.run.opened_id, operation.path, operation.folder or None)

    def close_children(self, operation: CloseChildren) -> None:
        for run in self._below(operation.run, "attributes.status = 'RUNNING'"):
            begun = max(run.info.start_time, int(run.data.tags.get(RESUMED_AT_TAG, "0")))
            if begun > operation.timestamp:
                continue
            for stage in stages_of(self._client, run.info.experiment_id, run.info.run_id):
                if stage.info.status == "RUNNING":
                    self._client.set_terminated(stage.info.run_id, RunStatus.KILLED.value)
            self._client.set_terminated(run.info.run_id, RunStatus.KILLED.value)

    def tell_jobs(self, operation: TellJobs) -> None:
        latest = {
            run.data.tags.get("sweep.job"): run.info.run_id
            for run in self._below(operation.run, "attributes.status != 'RUNNING'")
        }
        for folder in operation.tags.keys() & latest.keys():
            self._tag(latest[folder], cut_tags(operation.tags[folder]))

    def end_run(self, operation: EndRun) -> None:
        run = operation.run
        self._client.set_terminated(run.opened_id, operation.status, operation.timestamp)
        if run.doubted:
            self._delete_doubles(run)

    def _create(self, operation: OpenRun) -> None:
        run, tags = operation.run, {**operation.tags, LABEL_TAG: operation.run.label}
        if operation.parent is not None:
            tags[PARENT_TAG] = operation.parent.opened_id
        experiment = self.experiment_id
        run.doubted, run.tried = run.tried, True
        created = self._client.create_run(
            experiment, start_time=operation.timestamp, tags=tags, run_name=operation.name
        )
        run.run_id = created.info.run_id

    def _found(self, operation: OpenRun) -> str | None:
        """Returns the id of the run that an earlier call or process has created, if one has."""
        operation.run.doubted = True
        found = self._labelled(operation.run.label)
        if found or operation.since is None:
            return str(found[0].info.run_id) if found else None
        if operation.parent is not None:
            stages = stages_of(self._client, self.experiment_id, operation.parent.opened_id)
            found = [stage for stage in stages if stage.info.run_name == operation.name]
        else:
            quote = '"' if "'" in operation.folder else "'"
            condition = f"tags.run_dir = {quote}{operation.folder}{quote} and tags.kind = 'job'"
            found = list(self._client.search_runs([self.experiment_id], condition))
        return str(found[0].info.run_id) if found else None

    def _labelled(self, label: str) -> list[Any]:
        """Returns the runs of a label, the oldest first: more than one after a lost answer."""
        return list(
            self._client.search_runs(
                [self.experiment_id],
                f"tags.`{LABEL_TAG}` = '{label}'",
                order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            )
        )

    def _delete_doubles(self, run: RunReference) -> None:
        """Deletes what a creation left that was carried out long after its answer was missed."""
        for double in self._labelled(run.label):
            if double.info.run_id != run.run_id:
                self._client.delete_run(double.info.run_id)

    def _add_params(self, run: RunReference, params: dict[str, str]) -> None:
        from mlflow.entities import Param

        given = [Param(key, value) for key, value in params.items()]
        for first in range(0, len(given), _MAX_PARAMS_PER_CALL):
            chunk = given[first : first + _MAX_PARAMS_PER_CALL]
            self._client.log_batch(run.opened_id, params=chunk)

    def _tag(self, run_id: str, tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        given = [RunTag(key, value) for key, value in tags.items()]
        self._client.log_batch(run_id, tags=given)

    def _below(self, run: RunReference, condition: str) -> list[Any]:
        """Returns the runs right below one, the oldest first."""
        return list(
            self._client.search_runs(
                [self._client.get_run(run.opened_id).info.experiment_id],
                f"tags.`{PARENT_TAG}` = '{run.opened_id}' and {condition}",
                max_results=_MOST_CHILDREN,
                order_by=["attributes.start_time ASC"],
            )
        )


def open_patiently(store: MlflowStore, operation: OpenRun) -> None:
    """Opens a run that is not begun without it; an answer that is lost is asked for again.

    Raises:
        Exception: what the store raised last; a run that it created nevertheless has ended
            FAILED, if it could be told so.
    """
    deadline: float | None = None
    while True:
        try:
            store.open_run(operation)
            return
        # Whatever a store raises; what it means is for the store to say.
        except Exception as error:
            late = deadline is not None and time.monotonic() > deadline
            deadline = deadline or time.monotonic() + OPENING_SECONDS
            if store.refuses(error) or late:
                with contextlib.suppress(Exception):
                    store.fail_run(operation.run)
                raise
            time.sleep(0.5)
