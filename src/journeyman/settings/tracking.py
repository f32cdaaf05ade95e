"""Config group ``tracking``: where metrics go besides the run folder."""

from typing import Annotated, Literal

from pydantic import Field

from journeyman.settings.base import Section


class NoTrackingSettings(Section):
    """Only the run folder's ``metrics.jsonl``."""

    kind: Literal["none"]


class MlflowSettings(Section):
    """MLflow: an embedded SQLite store, or the store at ``uri``."""

    kind: Literal["mlflow"]
    uri: str | None
    """Tracking URI; null: ``MLFLOW_TRACKING_URI``, else ``sqlite`` under the outputs folder."""
    experiment: str = Field(min_length=1, max_length=250)
    """Name of the MLflow experiment."""
    run_name: str | None
    """Name of the run; null: what varies, e.g. ``anneal seed=0``."""
    flush_seconds: float = Field(gt=0.0, le=600.0)
    """A buffer is delivered at least this often."""
    flush_metrics: int = Field(ge=1, le=1000)
    """A buffer is delivered when it holds this many values."""


TrackingSettings = Annotated[NoTrackingSettings | MlflowSettings, Field(discriminator="kind")]
