"""The parent run of a sweep in MLflow: opened by the driver before the first job, closed last."""

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from journeyman.settings.tracking import MlflowSettings
from journeyman.tracking import sqlite
from journeyman.tracking.address import StoreAddress, check_database, resolve_address
from journeyman.tracking.identity import RunIdentity
from journeyman.tracking.mlflow import MlflowStore, open_client, store_errors
from journeyman.tracking.operations import (
    EndRun,
    OpenRun,
    Points,
    RunReference,
    SetTags,
    StoreArtifact,
    now_milliseconds,
)
from journeyman.tracking.protocol import RunStatus
from journeyman.tracking.tags import user_tags
from journeyman.tracking.values import cut_tags

_logger = logging.getLogger(__name__)
_MOST_CHILDREN = 50_000
_ENDS = {"done": RunStatus.FINISHED, "failed": RunStatus.FAILED, "stopped": RunStatus.KILLED}


class SweepRun:
    """A sweep's run; jobs of other processes put themselves under it by its id.

    What the store does not take after the sweep is warned of, not raised: the jobs' own figures
    are safe, and ``journeyman report`` makes the rest again.
    """

    def __init__(
        self, address: StoreAddress, client: Any, store: MlflowStore, run: RunReference
    ) -> None:
        self._address, self._client, self._store, self._run = address, client, store, run

    @classmethod
    def open(
        cls,
        settings: MlflowSettings,
        *,
        outputs: Path,
        sweep_dir: Path,
        name: str,
        tags: Mapping[str, str],
    ) -> Self:
        """Opens the run, or again the one that the folder was tracked in before.

        The store is there afterwards, so that jobs starting together need not create it.

        Args:
            settings: store and experiment.
            outputs: absolute outputs folder, home of the embedded store.
            sweep_dir: absolute folder of the sweep.
            name: what a reader of the run list sees.
            tags: of the run.

        Raises:
            UserError: the store cannot be opened.
        """
        address = resolve_address(settings.uri, outputs)
        if address.database is not None:
            check_database(address)
            sqlite.tune(address.database)
        about = cut_tags(
            {
                "mlflow.source.name": "journeyman",
                "mlflow.source.type": "LOCAL",
                "kind": "sweep",
                **user_tags(),
                **tags,
            }
        )
        with store_errors(address):
            client, experiment_id = open_client(address, settings.experiment)
            store = MlflowStore(client, experiment_id)
            known = RunIdentity.read(sweep_dir)
            if known is not None and known.tracking_uri == address.shown:
                run = RunReference(known.run_id, known.run_id)
                client.update_run(run.opened_id, status="RUNNING")
            else:
                run = RunReference(uuid.uuid4().hex)
                store.open_run(OpenRun(run, name[:250], about, {}, now_milliseconds()))
                RunIdentity(address.shown, experiment_id, run.opened_id).write(sweep_dir)
        return cls(address, client, store, run)

    @property
    def run_id(self) -> str:
        """Id of the parent run."""
        return self._run.opened_id

    def close_children(self) -> None:
        """Ends every run below this one that a killed process left open, as KILLED."""
        with self._forgiven("runs that were left open could not be closed"):
            for run in [*self._open_below(self.run_id)]:
                for stage in self._open_below(run.info.run_id):
                    self._client.set_terminated(stage.info.run_id, RunStatus.KILLED.value)
                self._client.set_terminated(run.info.run_id, RunStatus.KILLED.value)

    def tell_jobs(self, tags: Mapping[str, Mapping[str, str]]) -> None:
        """Sets on each job's run how the sweep counts it.

        Args:
            tags: by the job's folder; of a job begun anew the last run gets them.
        """
        with self._forgiven("jobs could not be told how they are counted"):
            below = self._below(self.run_id, "attributes.status != 'RUNNING'")
            latest = {run.data.tags.get("sweep.job"): run for run in below}
            for folder in tags.keys() & latest.keys():
                run_id = latest[folder].info.run_id
                told = SetTags(RunReference(run_id, run_id), cut_tags(tags[folder]))
                self._store.set_tags(told)

    def artifact(self, path: Path) -> None:
        """Stores a file with the run."""
        with self._forgiven(f"{path.name} could not be stored"):
            self._store.store_artifact(StoreArtifact(self._run, str(path), ""))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Sets tags of the run."""
        with self._forgiven("tags could not be set"):
            self._store.set_tags(SetTags(self._run, cut_tags(tags)))

    def finish(self, status: str, figures: Mapping[str, float]) -> None:
        """Sets the run's figures and ends it.

        Args:
            status: ``done``, ``failed`` or ``stopped``.
            figures: one value each.
        """
        now = now_milliseconds()
        with self._forgiven("it could not be closed"):
            self._store.log_points(self._run, [Points(self._run, now, 0, [*figures.items()])])
            self._store.end_run(EndRun(self._run, _ENDS[status].value, now))
        if self._address.database is not None:
            sqlite.untune(self._address.database)

    def _open_below(self, run_id: str) -> list[Any]:
        return self._below(run_id, "attributes.status = 'RUNNING'")

    def _below(self, run_id: str, condition: str) -> list[Any]:
        """Returns the runs right below one, the oldest first."""
        return list(
            self._client.search_runs(
                [self._client.get_run(run_id).info.experiment_id],
                f"tags.`mlflow.parentRunId` = '{run_id}' and {condition}",
                max_results=_MOST_CHILDREN,
                order_by=["attributes.start_time ASC"],
            )
        )

    @contextmanager
    def _forgiven(self, what: str) -> Iterator[None]:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            reason = " ".join(str(error).split())[:500]
            _logger.warning("the sweep's run in %s: %s (%s)", self._address.shown, what, reason)
