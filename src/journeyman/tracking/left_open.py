"""Which runs a store has as RUNNING; reads it as it is, and creates or migrates nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from journeyman.tracking.address import StoreAddress
from journeyman.tracking.client import open_client, store_errors

_PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class OpenRun:
    """A job's or a sweep's run that is RUNNING.

    Attributes:
        run_id: its id.
        name: what it is called.
        kind: ``job`` or ``sweep``.
        began: Unix seconds.
        run_dir: where it works, by its own account; None: it does not say.
    """

    run_id: str
    name: str
    kind: str
    began: float
    run_dir: Path | None


def open_runs(address: StoreAddress) -> list[OpenRun]:
    """Returns the runs of jobs and sweeps that are RUNNING, the oldest first.

    Raises:
        UserError: the store cannot be read.
    """
    with store_errors(address):
        found = _of_server(address) if address.uri.startswith("http") else _of_database(address)
        runs = [run for run in found if run.kind in ("job", "sweep")]
    return sorted(runs, key=lambda run: run.began)


def _of_server(address: StoreAddress) -> Iterator[OpenRun]:
    client, _ = open_client(address, None)
    experiments = [each.experiment_id for each in client.search_experiments()]
    token = None
    while experiments:
        page = client.search_runs(
            experiments, "attributes.status = 'RUNNING'", max_results=_PAGE, page_token=token
        )
        for run in page:
            yield _run(run.info.run_id, run.info.run_name, run.info.start_time, run.data.tags)
        token = page.token
        if not token:
            return


def _of_database(address: StoreAddress) -> Iterator[OpenRun]:
    from sqlalchemy import column, create_engine, select, table
    from sqlalchemy.pool import NullPool

    uri = address.uri
    if address.database is not None:
        uri = f"sqlite:///file:{quote(str(address.database))}?mode=ro&uri=true"
    runs = table("runs", *map(column, ("run_uuid", "name", "status", "start_time")))
    tags = table("tags", *map(column, ("run_uuid", "key", "value")))
    is_open = runs.c.status == "RUNNING"
    told = select(tags).join(runs, runs.c.run_uuid == tags.c.run_uuid).where(is_open)
    with create_engine(uri, poolclass=NullPool).connect() as connection:
        about: dict[str, dict[str, str]] = {}
        for run_id, key, value in connection.execute(told):
            about.setdefault(run_id, {})[key] = value
        for run_id, name, _, began in connection.execute(select(runs).where(is_open)):
            yield _run(run_id, name, began, about.get(run_id, {}))


def _run(run_id: str, name: str, began: int | None, tags: dict[str, Any]) -> OpenRun:
    return OpenRun(
        run_id=run_id,
        name=name,
        kind=tags.get("kind", ""),
        began=(began or 0) / 1000.0,
        run_dir=Path(tags["run_dir"]) if "run_dir" in tags else None,
    )
