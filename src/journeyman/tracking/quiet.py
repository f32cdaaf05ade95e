"""Keeps MLflow's own log lines off the terminal where they say nothing a user needs."""

import logging

_TABLES = "mlflow.store.db.utils"


class _Chatter(logging.Filter):
    """Passes neither progress reports, nor what becomes of each call to MLflow's API or tables.

    An outage is reported by whoever meets it, once and in short, not with a traceback of what
    MLflow raises then. Requests of others in the same process are left alone.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return False
        if record.name == _TABLES:
            return record.exc_info is None
        return (
            record.name != "urllib3.connectionpool" or "/api/2.0/mlflow" not in record.getMessage()
        )


def quieten() -> None:
    """Filters the loggers that are loud: table creation, and requests that fail."""
    for name in (_TABLES, "urllib3.connectionpool"):
        logger = logging.getLogger(name)
        if not any(isinstance(each, _Chatter) for each in logger.filters):
            logger.addFilter(_Chatter())
