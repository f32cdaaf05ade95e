"""Where a folder that was tracked before is tracked on: where its runs are, whatever is set now."""

import logging
from dataclasses import replace
from pathlib import Path

from journeyman.errors import UserError
from journeyman.tracking.address import StoreAddress, resolve_address
from journeyman.tracking.identity import RUN_FILE_NAME, RunIdentity
from journeyman.tracking.spool import FILE_NAME, spool_head

_logger = logging.getLogger(__name__)


def kept_address(
    folder: Path, identity: RunIdentity | None, chosen: StoreAddress, outputs: Path
) -> StoreAddress:
    """Returns the store that a folder's run is in, or waits in a spool for; else the chosen one.

    A variable that is not set any more, or a relative path seen from another folder, would divide
    its curves between two stores otherwise.

    Args:
        folder: of a run or a sweep.
        identity: in it.
        chosen: what the settings and the environment say now.
        outputs: absolute outputs folder.

    Raises:
        UserError: it is in another store than the chosen one, which cannot be used from here.
    """
    if identity is not None:
        known, source = identity.tracking_uri, RUN_FILE_NAME
    elif (head := spool_head(folder)) is not None:
        known, source = head.tracking_uri, FILE_NAME
    else:
        return chosen
    if known == chosen.shown:
        return chosen
    advice = f"to begin a new run in {chosen.shown} ({chosen.source}), remove {folder / source}"
    try:
        address = replace(resolve_address(known, outputs), source=str(folder / source))
    except UserError as error:
        raise UserError(
            f"{folder} is tracked in {known}, which cannot be used: {error}; {advice}"
        ) from error
    if address.shown == chosen.shown:
        return chosen
    if address.database is not None and not address.database.exists():
        raise UserError(f"{folder} is tracked in {known}, which is not there; {advice}")
    _logger.warning(
        "%s goes on in %s, where it is tracked, not in %s (%s)",
        folder,
        known,
        chosen.shown,
        chosen.source,
    )
    return address
