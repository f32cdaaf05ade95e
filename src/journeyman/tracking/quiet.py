"""Keeps MLflow's own log lines off the terminal where they say nothing a user needs."""

import logging


class _Chatter(logging.Filter):
    """Passes neither progress reports, nor what becomes of each request to MLflow's API.

    An outage is reported by whoever meets it, once and in short. Requests of others in the same
    process are left alone.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return False
        return (
            record.name != "urllib3.connectionpool" or "/api/2.0/mlflow" not in record.getMessage()
        )


def quieten() -> None:
    """Filters the loggers that are loud: table creation, and requests that fail."""
    for name in ("mlflow.store.db.utils", "urllib3.connectionpool"):
        logger = logging.getLogger(name)
        if not any(isinstance(each, _Chatter) for each in logger.filters):
            logger.addFilter(_Chatter())
