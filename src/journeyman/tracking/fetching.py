"""What a store keeps of a run folder, so that a run can be run again where its folder is not."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journeyman.errors import UserError
from journeyman.tracking.address import StoreAddress, check_database
from journeyman.tracking.client import open_client, store_errors
from journeyman.tracking.identity import RunIdentity
from journeyman.tracking.jsonl import FILE_NAME
from journeyman.tracking.protocol import Tracker

LARGEST_LOG_MIB = 256
"""A log of metrics that is larger stays in the run folder."""
_WHOLE = re.compile(
    r"(config\.yaml|overrides\.json|environment\.json|results\.json|inputs\.json"
    r"|metrics\.jsonl(\.\d+)?)"
)
_START = "checkpoints/start.safetensors"
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_LOG = logging.getLogger(__name__)


def is_run_id(text: str) -> bool:
    """Says whether a word looks like the id of a run in MLflow."""
    return _RUN_ID.fullmatch(text) is not None


@dataclass(frozen=True, kw_only=True)
class StoredRunFolder:
    """A run in a store, and its folder.

    Attributes:
        run_id: its id.
        kind: ``job`` or ``sweep``.
        folder: where it worked, by its own account; None: nowhere it says.
        is_here: the folder is on this machine and is this run's.
    """

    run_id: str
    kind: str
    folder: Path | None
    is_here: bool


def find_folder(run_id: str, address: StoreAddress) -> StoredRunFolder:
    """Returns which folder a run worked in.

    Raises:
        UserError: the store cannot be opened, or has no such job or sweep.
    """
    tags = _run(_client(address), run_id, address).data.tags
    kind = tags.get("kind")
    if kind == "stage":
        raise UserError(
            f"{run_id}: the run of a stage; name its job's, {tags.get('mlflow.parentRunId')}"
        )
    if kind not in ("job", "sweep"):
        raise UserError(f"{run_id}: a run of kind {kind}; name a job's or a sweep's")
    folder = Path(tags["run_dir"]) if "run_dir" in tags else None
    identity = RunIdentity.read(folder) if folder is not None and folder.is_dir() else None
    is_here = identity is not None and identity.run_id == run_id
    return StoredRunFolder(run_id=run_id, kind=kind, folder=folder, is_here=is_here)


def fetch_folder(run_id: str, address: StoreAddress, into: Path) -> None:
    """Downloads what the store has of a run folder, under the names it had there.

    Raises:
        UserError: the store cannot be opened, has no such run, or not even its config.
    """
    client = _client(address)
    _run(client, run_id, address)
    with store_errors(address):
        kept = [item.path for item in client.list_artifacts(run_id)]
        wanted = [path for path in kept if _WHOLE.fullmatch(path)]
        # Of the checkpoints a rerun needs the one that the run was begun from.
        if "checkpoints" in kept:
            checkpoints = [item.path for item in client.list_artifacts(run_id, "checkpoints")]
            wanted += [path for path in checkpoints if path == _START]
        for path in wanted:
            # MLflow puts a file right into the folder it is given, whatever its path was.
            folder = (into / path).parent
            folder.mkdir(exist_ok=True)
            client.download_artifacts(run_id, path, str(folder))
    if not (into / "config.yaml").is_file():
        raise UserError(
            f"{run_id}: {address.shown} has no config.yaml of this run; name its run folder"
        )


def keep_log(run_dir: Path, tracker: Tracker) -> None:
    """Hands the log of metrics to a tracker: what a rerun is compared with elsewhere."""
    files = [file for file in sorted(run_dir.glob(f"{FILE_NAME}*")) if _WHOLE.fullmatch(file.name)]
    size = sum(file.stat().st_size for file in files) / 2**20
    if size > LARGEST_LOG_MIB:
        _LOG.warning(
            "%s is too large for the tracking store (%.0f MiB, at most %d); only from this run "
            "folder can a rerun be verified",
            run_dir / FILE_NAME,
            size,
            LARGEST_LOG_MIB,
        )
        return
    for file in files:
        tracker.artifact(file)


def _client(address: StoreAddress) -> Any:
    if address.database is not None:
        if not address.database.exists():
            raise UserError(f"there is no MLflow database {address.database}")
        check_database(address)
    with store_errors(address):
        return open_client(address, None)[0]


def _run(client: Any, run_id: str, address: StoreAddress) -> Any:
    from mlflow.exceptions import MlflowException

    with store_errors(address):
        try:
            return client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise UserError(f"{run_id}: no such run in {address.shown}") from error
