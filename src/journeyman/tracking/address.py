"""Which MLflow store a run uses, and whether it can be reached; without importing MLflow."""

import contextlib
import os
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from journeyman.errors import UserError
from journeyman.folders import nearest_existing
from journeyman.settings.tracking import (
    MASK,
    SECRET_VARIABLE,
    MlflowSettings,
    TrackingSettings,
    masked,
)
from journeyman.tracking.schema import Fetch, deleted_experiments, schema_problem

TRACKING_URI_VARIABLE = "MLFLOW_TRACKING_URI"
DATABASE_NAME = "mlflow.db"
HEALTH_SECONDS = 4.0

_HTTP = ("http", "https")
_SERVERS = ("postgresql", "mysql")
_POSTGRES_DRIVER = "postgresql+psycopg"
_SPECIAL = frozenset("?%#")
"""What has a meaning in a URI, and does not come through SQLAlchemy and MLflow's artifacts."""
_LIBPQ = ("PGPASSWORD", "PGPASSFILE", "PGSERVICE")
"""Variables by which PostgreSQL's own library finds a password."""
_LOGIN_REFUSED = re.compile(
    r"authentication failed|no password supplied|does not exist|pg_hba|permission denied"
    r"|Access denied|Unknown database",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class StoreAddress:
    """Where runs are kept.

    Attributes:
        uri: tracking URI, with an absolute path where it is a file.
        source: which key or variable named it, for messages.
        database: the SQLite file, or None for a server.
        artifacts: folder of artifacts, or None where the HTTP server decides.
    """

    uri: str
    source: str
    database: Path | None
    artifacts: Path | None

    @property
    def shown(self) -> str:
        """The URI without a password, and without the driver that is used anyway."""
        return masked(self.uri).replace(f"{_POSTGRES_DRIVER}:", "postgresql:", 1)

    @property
    def is_server(self) -> bool:
        """Whether it is MLflow's server that is spoken to, by HTTP."""
        return _scheme(self.uri) in _HTTP

    @property
    def plain(self) -> str:
        """The URI as MLflow is given it: of a server, without user and password."""
        if not self.is_server:
            return self.uri
        parts = urlsplit(self.uri)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    @property
    def login(self) -> tuple[str, str] | None:
        """User and password that a server's URI holds."""
        parts = urlsplit(self.uri) if self.is_server else None
        if parts is None or parts.password is None:
            return None
        return unquote(parts.username or ""), unquote(parts.password)


class StoreAway(UserError):
    """A store does not answer now, and may do so later."""


def resolve_address(uri: str | None, outputs: Path) -> StoreAddress:
    """Returns the store of ``uri``, else of ``MLFLOW_TRACKING_URI``, else the embedded one.

    Args:
        uri: ``tracking.uri``; the place of a masked password is filled from the environment.
        outputs: absolute outputs folder; the embedded store is ``mlflow.db`` in it.

    Raises:
        UserError: the scheme is not sqlite, http, https, postgresql or mysql, the SQLite
            URI names no file or one with ``?``, ``%`` or ``#`` in its path, a server's URI names
            no host, or a password is not to be had.
    """
    environment = os.environ.get(TRACKING_URI_VARIABLE) or None
    given = uri or environment
    if given is None:
        database = outputs.resolve() / DATABASE_NAME
        return _sqlite(database, "the outputs folder")
    source = "tracking.uri" if uri else TRACKING_URI_VARIABLE
    scheme = _scheme(given)
    if scheme in _HTTP:
        return _server(_with_password(given, source).rstrip("/"), source)
    if scheme in _SERVERS:
        artifacts = outputs.resolve() / "artifacts"
        whole = re.sub(r"^postgresql:", f"{_POSTGRES_DRIVER}:", _with_password(given, source))
        return StoreAddress(uri=whole, source=source, database=None, artifacts=artifacts)
    if scheme == "sqlite":
        path = given.partition(":///")[2]
        if not path or path.startswith(":memory:"):
            raise UserError(
                f"{source}={given} names no file; write sqlite:////absolute/path/{DATABASE_NAME}"
            )
        return _sqlite(Path(path).expanduser().resolve(), source)
    if scheme in ("file", ""):
        raise UserError(
            f"{source}={given} is MLflow's file store, which MLflow no longer supports; "
            f"write sqlite:////absolute/path/{DATABASE_NAME}, or nothing for the embedded store"
        )
    raise UserError(
        f"{source}={masked(given)} has the unknown scheme {scheme!r}; "
        "allowed: sqlite, http, https, postgresql, mysql"
    )


def _scheme(uri: str) -> str:
    return uri.partition(":")[0].split("+")[0].lower() if ":" in uri else ""


def _server(uri: str, source: str) -> StoreAddress:
    try:
        parts = urlsplit(uri)
        problem = "it names no host" if not parts.hostname else ""
        _ = parts.port  # asks whether it is a number
    except ValueError as error:
        # In its words there may be what is a password.
        problem = "its port is no number" if "ort" in str(error) else "its host is malformed"
    if problem:
        raise UserError(
            f"{source}={masked(uri)} is no address of a server ({problem}); write "
            "http://host:port, and % escapes in a user or a password"
        )
    return StoreAddress(uri=uri, source=source, database=None, artifacts=None)


def _with_password(uri: str, source: str) -> str:
    """Returns a URI with the password that is nowhere written down."""
    if f":{MASK}@" not in uri and f"password={MASK}" not in uri:
        return uri
    for name in (SECRET_VARIABLE, TRACKING_URI_VARIABLE):
        known = os.environ.get(name, "")
        if _same_store(masked(known), uri):
            return known
    if uri.startswith("postgresql") and any(map(os.environ.get, _LIBPQ)):
        return uri.replace(f":{MASK}@", "@", 1)
    wanted = "PGPASSWORD, or " if uri.startswith("postgresql") else ""
    raise UserError(
        f"{source}={uri}: the password is kept nowhere; set {wanted}{TRACKING_URI_VARIABLE} to the "
        "whole URI"
    )


def _same_store(one: str, other: str) -> bool:
    plain = (
        each.rstrip("/").replace(f"{_POSTGRES_DRIVER}:", "postgresql:", 1) for each in (one, other)
    )
    return len(set(plain)) == 1


def check_reachable(settings: TrackingSettings, outputs: Path) -> None:
    """Checks within seconds that the store can be used, before anything heavy is imported.

    Raises:
        StoreAway: a server does not answer, not as MLflow does, or refuses the login; or a
            database server does not answer at all.
        UserError: a database server refuses the login, its driver is missing, the SQLite file's
            folder cannot be written to, a database's tables are another MLflow's, the experiment
            was deleted, or the URI is of an unknown kind.
    """
    if not isinstance(settings, MlflowSettings):
        return
    check_store(resolve_address(settings.uri, outputs), settings.experiment)


def check_store(address: StoreAddress, experiment: str | None = None) -> None:
    """Checks that a store can be used, as ``check_reachable`` does.

    Args:
        address: which store.
        experiment: what is to be used in it; None: a server is asked for its health only.

    Raises:
        StoreAway: it does not answer.
        UserError: it cannot be used.
    """
    if address.database is not None:
        check_database(address, experiment)
    elif address.is_server:
        from journeyman.tracking.mlflow_server import check_server

        check_server(address, experiment)
    else:
        _check_connection(address, experiment)


def deleted_experiment(address: StoreAddress, name: str) -> UserError:
    """Returns what is said of an experiment that was deleted and is still there."""
    return UserError(
        f"tracking.experiment={name} was deleted in {address.shown}; "
        "restore it there or choose another name"
    )


def _sqlite(database: Path, source: str) -> StoreAddress:
    if special := sorted(_SPECIAL & set(str(database))):
        raise UserError(
            f"the MLflow database {database} (from {source}): MLflow takes {' and '.join(special)} "
            "in its path for something else; choose another folder, with outputs or tracking.uri"
        )
    return StoreAddress(
        uri=f"sqlite:///{database}",
        source=source,
        database=database,
        artifacts=database.parent / "artifacts",
    )


def check_database(address: StoreAddress, experiment: str | None = None) -> None:
    """Checks that the SQLite file is one of the installed MLflow's, or can be created.

    Raises:
        UserError: folder or file cannot be written to, the file is no SQLite database or another
            MLflow's, or the experiment was deleted.
    """
    database = address.database
    if database is None:
        return
    named = f"the MLflow database {database} (from {address.source})"
    folder = nearest_existing(database.parent)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(
            f"{named} cannot be written: {folder} is no folder one may write to; "
            "choose another with tracking.uri"
        )
    if not database.exists():
        return
    if not (database.is_file() and os.access(database, os.W_OK)):
        raise UserError(f"{named} is no file one may write to; choose another with tracking.uri")
    with closing(sqlite3.connect(database)) as connection:
        try:
            connection.execute("PRAGMA schema_version")
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
            if ("alembic_version",) in tables or ("experiments",) in tables:
                _check_tables(
                    address, experiment, lambda query: connection.execute(query).fetchall(), named
                )
        except sqlite3.DatabaseError as error:
            # A lock held for a moment is no damage: MLflow waits for it.
            if not isinstance(error, sqlite3.OperationalError):
                raise UserError(
                    f"{named} cannot be used: {error}; choose another with tracking.uri"
                ) from error


def _check_tables(address: StoreAddress, experiment: str | None, fetch: Fetch, named: str) -> None:
    problem = schema_problem(fetch, address.shown)
    if problem is not None:
        raise UserError(f"{named} {problem}")
    if experiment is not None and experiment in deleted_experiments(fetch):
        raise deleted_experiment(address, experiment)


def _check_connection(address: StoreAddress, experiment: str | None) -> None:
    """Opens and closes one connection to a database server."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import (
        ArgumentError,
        NoSuchModuleError,
        ProgrammingError,
        SQLAlchemyError,
    )
    from sqlalchemy.pool import NullPool

    named = f"the MLflow database {address.shown} (from {address.source})"
    options = {"connect_timeout": int(HEALTH_SECONDS)}
    try:
        engine = create_engine(address.uri, connect_args=options, poolclass=NullPool)
    except (ImportError, NoSuchModuleError) as error:
        install = 'pip install "journeyman[postgres]"'
        if not address.uri.startswith("postgresql"):
            install = "pip install pymysql, and write mysql+pymysql://"
        raise UserError(f"{named} needs a driver that is not installed: {install}") from error
    except (ArgumentError, ValueError) as error:
        raise UserError(f"{named}: no address of a database ({masked(str(error))})") from None
    try:
        with engine.connect() as connection, contextlib.suppress(ProgrammingError):  # no tables yet
            _check_tables(
                address,
                experiment,
                lambda query: connection.exec_driver_sql(query).fetchall(),
                named,
            )
    except SQLAlchemyError as error:
        words = " ".join(str(getattr(error, "orig", error)).split())[:500]
        if _LOGIN_REFUSED.search(words):
            raise UserError(
                f"{named} refuses the connection: {words}; correct the address, the password or "
                "the server's settings, or use tracking=none"
            ) from error
        raise StoreAway(
            f"{named} gave no answer: {words}; start it, correct the address, or use tracking=none"
        ) from error
