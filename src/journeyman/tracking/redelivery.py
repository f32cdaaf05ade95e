"""Delivers what a finished run could not."""

from pathlib import Path

from journeyman.errors import UserError
from journeyman.tracking import spool
from journeyman.tracking.address import resolve_address
from journeyman.tracking.identity import RUN_FILE_NAME, RunIdentity
from journeyman.tracking.mlflow import MlflowStore, open_client, store_errors


def deliver_spool(run_dir: Path, *, uri: str | None, outputs: Path) -> int:
    """Delivers what a finished run could not, and removes its spool.

    Args:
        run_dir: folder of the run.
        uri: ``tracking.uri`` of the run.
        outputs: absolute outputs folder of the run.

    Returns:
        How many operations were delivered; 0 where there is no spool.

    Raises:
        UserError: the spool is meant for another store, or the store still takes nothing.
    """
    meant_for = spool.spooled_uri(run_dir)
    if meant_for is None:
        return 0
    address = resolve_address(uri, outputs)
    if meant_for != address.shown:
        raise UserError(
            f"the spool of {run_dir} is meant for {meant_for}, not {address.shown}; "
            f"set tracking.uri or MLFLOW_TRACKING_URI to it"
        )
    identity = RunIdentity.read(run_dir)
    if identity is None:
        raise UserError(f"{run_dir} has a spool but no {RUN_FILE_NAME}; it cannot be delivered")
    with store_errors(address):
        client, _ = open_client(address, None)
        return spool.deliver(run_dir, MlflowStore(client, identity.experiment_id))
