"""The parent run of a sweep in MLflow: opened by the driver before the first job, closed last."""

import logging
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from journeyman.settings.tracking import MlflowSettings
from journeyman.tracking.address import (
    StoreAddress,
    StoreAway,
    check_database,
    resolve_address,
)
from journeyman.tracking.delivery import Delivery
from journeyman.tracking.identity import RunIdentity
from journeyman.tracking.kept_store import kept_address
from journeyman.tracking.operations import (
    CloseChildren,
    EndRun,
    OpenRun,
    Operation,
    Points,
    RunReference,
    StoreArtifact,
    TellJobs,
    now_milliseconds,
)
from journeyman.tracking.protocol import RunStatus
from journeyman.tracking.remote_store import RemoteStore
from journeyman.tracking.spool import FILE_NAME, Spool, SpoolHead
from journeyman.tracking.tags import user_tags
from journeyman.tracking.values import cut_tags

FINISH_PATIENCE_SECONDS = 15.0

_logger = logging.getLogger(__name__)
_ENDS = {"done": RunStatus.FINISHED, "failed": RunStatus.FAILED, "stopped": RunStatus.KILLED}


class SweepRun:
    """A sweep's run; jobs of other processes put themselves under it by its id.

    What the store does not take after the sweep is kept in the sweep's folder, from where
    ``journeyman sync`` delivers it.

    Args:
        address: which store.
        store: on it.
        run: of the sweep.
        spool: of the sweep's folder.
        chosen: the store that the settings and the environment name.
    """

    def __init__(
        self,
        address: StoreAddress,
        store: RemoteStore,
        run: RunReference,
        spool: Spool,
        chosen: StoreAddress,
    ) -> None:
        self._address, self._store, self._run, self._spool = address, store, run, spool
        self._chosen = chosen
        self._end: list[Operation] = []

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

        The store is there afterwards, so that jobs starting together need not create it. One
        that is away does not hinder a sweep that is gone on with.

        Args:
            settings: store and experiment.
            outputs: absolute outputs folder, home of the embedded store.
            sweep_dir: absolute folder of the sweep.
            name: what a reader of the run list sees.
            tags: of the run.

        Raises:
            UserError: the store cannot be opened.
        """
        known = RunIdentity.read(sweep_dir)
        chosen = resolve_address(settings.uri, outputs)
        address = kept_address(sweep_dir, known, chosen, outputs)
        check_database(address)
        store = RemoteStore(address, settings.experiment, folder=sweep_dir, identity=known)
        run_id = None if known is None else known.run_id
        run = RunReference(uuid.uuid4().hex, run_id)
        opening = OpenRun(
            run,
            name[:250],
            cut_tags(
                {
                    "mlflow.source.name": "journeyman",
                    "mlflow.source.type": "LOCAL",
                    "kind": "sweep",
                    **user_tags(),
                    **tags,
                }
            ),
            {},
            now_milliseconds(),
            folder=str(sweep_dir),
        )
        # What an earlier end of this sweep left is superseded by the one that is to come.
        (sweep_dir / FILE_NAME).unlink(missing_ok=True)
        try:
            store.connect()
            store.open_patiently(opening)
        except StoreAway as error:
            if known is None:
                store.close()
                raise
            _logger.warning("%s; the sweep goes on without it", error)
        except BaseException:
            store.close()
            raise
        head = SpoolHead(
            tracking_uri=address.shown, experiment=settings.experiment, outputs=str(outputs)
        )
        return cls(address, store, run, Spool(sweep_dir, head), chosen)

    @property
    def run_id(self) -> str:
        """Id of the parent run."""
        return self._run.opened_id

    @property
    def uri_for_jobs(self) -> str | None:
        """URI of the store, where jobs would not choose it themselves."""
        return None if self._address == self._chosen else self._address.shown

    def close_children(self) -> None:
        """Ends every run below this one that a killed process left open, as KILLED."""
        self._end.append(CloseChildren(self._run, now_milliseconds()))

    def tell_jobs(self, tags: Mapping[str, Mapping[str, str]]) -> None:
        """Sets on each job's run how the sweep counts it.

        Args:
            tags: by the job's folder; of a job begun anew the last run gets them.
        """
        self._end.append(TellJobs(self._run, {name: dict(each) for name, each in tags.items()}))

    def artifact(self, path: Path) -> None:
        """Stores a file with the run."""
        self._end.append(StoreArtifact(self._run, str(path), ""))

    def finish(self, status: str, figures: Mapping[str, float]) -> None:
        """Sets the run's figures, ends it, and delivers all that was asked for since ``open``.

        Args:
            status: ``done``, ``failed`` or ``stopped``.
            figures: one value each.
        """
        now = now_milliseconds()
        self._end.append(Points(self._run, now, 0, [*figures.items()]))
        self._end.append(EndRun(self._run, _ENDS[status].value, now))
        delivery = Delivery(
            self._store,
            name=f"the MLflow store {self._address.shown}",
            flush_seconds=0.0,
            flush_metrics=1,
            spool=self._spool,
        )
        for operation in self._end:
            delivery.put(operation)
        try:
            delivery.close(patience_seconds=FINISH_PATIENCE_SECONDS)
        finally:
            if delivery.leave():
                _logger.warning(
                    "the sweep's run was not closed in the MLflow store %s; journeyman sync does "
                    "it from %s",
                    self._address.shown,
                    self._spool.path,
                )
            self._store.close()
