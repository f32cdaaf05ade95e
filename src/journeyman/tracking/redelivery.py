"""Delivers what finished and killed runs left for a store that was away."""

from pathlib import Path

from journeyman.errors import UserError
from journeyman.tracking.address import StoreAddress, check_store, resolve_address
from journeyman.tracking.client import store_errors
from journeyman.tracking.delivery import Delivery
from journeyman.tracking.identity import RunIdentity
from journeyman.tracking.mlflow_store import MlflowStore
from journeyman.tracking.spool import FILE_NAME, Spool, SpoolHead, read_spool, spool_head

PATIENCE_SECONDS = 15.0


def deliver_spool(
    run_dir: Path, *, uri: str | None, outputs: Path | None = None
) -> tuple[int, int]:
    """Delivers what is in a folder's spool, and removes it.

    Args:
        run_dir: folder of a run or a sweep at which no process is at work.
        uri: tracking URI; None: the one that the spool is meant for.
        outputs: absolute outputs folder, home of the embedded store; None: the spool's own.

    Returns:
        How many operations were delivered, and how many of them the store refused: they are
        listed beside the spool. 0 and 0 where there is none.

    Raises:
        UserError: the spool is meant for another store, or the store does not take all of it.
    """
    head = spool_head(run_dir)
    if head is None:
        (run_dir / FILE_NAME).unlink(missing_ok=True)
        return 0, 0
    address = _address(run_dir, head, uri, outputs)
    check_store(address)
    operations = read_spool(run_dir, {})
    store = MlflowStore(address, head.experiment, RunIdentity.read(run_dir))
    with store_errors(address):
        store.connect()
    spool = Spool(run_dir, head, outstanding=len(operations))
    delivery = Delivery(
        store,
        name=f"the MLflow store {address.shown}",
        flush_seconds=0.0,
        flush_metrics=1,
        spool=spool,
        waiting=operations,
    )
    try:
        delivery.close(patience_seconds=PATIENCE_SECONDS)
    finally:
        left = delivery.leave()
    if left:
        raise UserError(
            f"{run_dir}: {left} of {len(operations)} operations are left; {address.shown} does not "
            "take them now"
        )
    spool.path.unlink(missing_ok=True)
    return len(operations) - spool.refused, spool.refused


def _address(run_dir: Path, head: SpoolHead, uri: str | None, outputs: Path | None) -> StoreAddress:
    """Returns the store of a spool; a password comes from the surroundings."""
    home = outputs or Path(head.outputs)
    address = resolve_address(uri or head.tracking_uri, home)
    if address.shown != head.tracking_uri:
        raise UserError(
            f"the spool of {run_dir} is meant for {head.tracking_uri}, not {address.shown}; "
            "leave --uri out"
        )
    return address
