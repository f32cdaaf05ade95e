"""Keeps MLflow's own log lines off the terminal where they say nothing a user needs."""

import logging


class _Chatter(logging.Filter):
    """Passes neither progress reports, nor what a thread reports in its own words."""

    def __init__(self, thread_name: str) -> None:
        super().__init__()
        self._thread_name = thread_name

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING and record.threadName != self._thread_name


def quieten(thread_name: str) -> None:
    """Filters the two loggers that are loud: table creation, and retries over HTTP.

    Args:
        thread_name: a thread whose errors are reported by its owner, once and in short.
    """
    for name in ("mlflow.store.db.utils", "urllib3.connectionpool"):
        logger = logging.getLogger(name)
        if not any(isinstance(each, _Chatter) for each in logger.filters):
            logger.addFilter(_Chatter(thread_name))
