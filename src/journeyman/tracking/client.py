"""MLflow's client on a store, and what its errors mean."""

import contextlib
import errno
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from journeyman.errors import UserError
from journeyman.settings.tracking import masked
from journeyman.tracking import login, sqlite
from journeyman.tracking.address import StoreAddress, StoreAway, deleted_experiment
from journeyman.tracking.quiet import quieten

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_FORCED = {
    # An outage is met by the delivery threads' retries. MLflow's own would not only hold up the
    # end of a run: a run whose creation is asked for again, after a lost answer, is there twice.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    # What MLflow takes into a queue of its own counts as delivered, and is lost with the process.
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
}

_PASSING = (401, 403, 407, 408, 425, 429)
"""HTTP's 4xx that a store can get over: a login that is renewed, a server with too much to do."""
_LASTING = (
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENAMETOOLONG,
)


def set_environment() -> None:
    """Sets the variables that MLflow reads: some where they are not set, some in any case."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.update(_FORCED)
    login.set_variable()


def import_mlflow() -> None:
    """Imports what a client of any store needs; takes seconds."""
    set_environment()
    with _passing_over_deprecations():
        import mlflow.store.tracking.sqlalchemy_store
        import mlflow.tracking  # noqa: F401


def open_client(address: StoreAddress, experiment: str | None) -> tuple[Any, str]:
    """Returns a client, and the id of the experiment, created if it is new."""
    set_environment()
    locked = (
        sqlite.first_opening(address.database)
        if address.database is not None
        else contextlib.nullcontext()
    )
    with locked, _passing_over_deprecations():
        from mlflow.tracking import MlflowClient

        quieten()
        if address.database is not None:
            sqlite.make_database(address.database)
        login.know(address)
        client = MlflowClient(tracking_uri=address.plain, registry_uri=address.plain)
        return client, "" if experiment is None else experiment_id(client, address, experiment)


@contextmanager
def _passing_over_deprecations() -> Iterator[None]:
    with warnings.catch_warnings():
        # MLflow's own mapping uses a loader that SQLAlchemy 2.1 deprecates.
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy")
        yield


def experiment_id(client: Any, address: StoreAddress, name: str) -> str:
    """Returns the id of an experiment, created if it is new.

    Raises:
        UserError: it was deleted.
    """
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
        raise deleted_experiment(address, name)
    return str(found.experiment_id)


@contextmanager
def store_errors(address: StoreAddress) -> Iterator[None]:
    """Turns what a store raises on opening into the user's error.

    Raises:
        StoreAway: the store may take it later.
        UserError: it will not.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not _is_stores(error):
            raise
        reason = masked(" ".join(str(error).split()))[:1000]
        kind = UserError if is_lasting(error) else StoreAway
        raise kind(
            f"the MLflow store {address.shown} (from {address.source}) cannot be used: {reason}"
        ) from error


def _is_stores(error: Exception) -> bool:
    """Says whether an error comes from a store, or from what is installed for it."""
    if isinstance(error, OSError | ImportError):
        return True
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, MlflowException | SQLAlchemyError)


def is_lasting(error: Exception) -> bool:
    """Says whether an error comes again however often the same is tried.

    Lasting are MLflow's own words that something does not exist or is not valid (a run that was
    deleted, say), files that cannot be read or written, and missing packages. Whatever an outage
    can bring is not: no connection, no answer, 5xx, a proxy's page, a locked database.
    """
    if isinstance(error, UserError):
        return not isinstance(error, StoreAway)
    if isinstance(error, ImportError):  # perhaps MLflow's own
        return True
    import requests
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return _is_refusal(error)
    if isinstance(error, requests.RequestException):
        answer = error.response
        # 404 is what a proxy says of a server that is starting.
        return (
            answer is not None
            and 400 <= answer.status_code < 500
            and (answer.status_code not in (*_PASSING, 404))
        )
    if isinstance(error, OSError):
        return error.errno in _LASTING
    return isinstance(error, ValueError | TypeError | LookupError | AttributeError)


def _is_refusal(error: Any) -> bool:
    status = error.get_http_status_code()
    if "database schema" in str(error):  # another MLflow's, which MLflow calls an error of its own
        return True
    if not 400 <= status < 500 or status in _PASSING:
        return False
    text = str(error)
    # A page that is not MLflow's answer; a database that broke off, which it calls BAD_REQUEST.
    return "failed with error code" not in text and "sqlalche.me" not in text
