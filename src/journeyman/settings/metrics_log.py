"""Key ``metrics_log``: the run folder's own log of metrics, kept whatever ``tracking`` says."""

from pydantic import Field

from journeyman.settings.base import Section


class JsonlSettings(Section):
    """``metrics.jsonl`` in the run folder: one JSON object a line, rotated by length."""

    log_frequency: int = Field(ge=1, le=1_000_000)
    """Write every n-th emission of a metric group, beginning with the first."""
    max_log_entries: int = Field(ge=1, le=100_000_000)
    """Lines a file holds before it is rotated to ``metrics.jsonl.1``."""
    max_files: int = Field(ge=1, le=10_000)
    """Files kept, the current one included; the oldest lines go first."""
