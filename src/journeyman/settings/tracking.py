"""Config group ``tracking``: where metrics go besides the run folder."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from journeyman.settings.base import Section

SECRET_VARIABLE = "JOURNEYMAN_TRACKING_URI"
"""Where this process and those it starts find the password of a tracking URI."""
MASK = "***"

_DATABASE_PASSWORD = re.compile(r"(\w+sql(?:\+\w+)?://[^/:@]*):[^@]*@")
_PASSWORD = re.compile(r"(://[^/:@\s]*):(?!\d+(?:[/'\"\s,]|$))[^\s'\"]*@")
"""Up to the last @ of the word: a password that should have been escaped is one all the same."""
_IN_QUERY = re.compile(r"([?&]password=)[^&'\"]*")


def masked(text: str) -> str:
    """Returns a text with ``***`` in the place of a URI's password.

    >>> masked("postgresql://me:secret@host/runs")
    'postgresql://me:***@host/runs'
    >>> masked("no answer from http://me:se/c@ret@host:5000/api, http://host:80/a@b")
    'no answer from http://me:***@host:5000/api, http://host:80/a@b'
    """
    text = _DATABASE_PASSWORD.sub(rf"\1:{MASK}@", text)
    return _IN_QUERY.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1:{MASK}@", text))


def without_passwords(words: Iterable[str]) -> list[str]:
    """Returns a command line in which no tracking URI has a password: it is in the environment."""
    shown = []
    for word in words:
        key, separator, value = word.partition("=")
        if key.lstrip("+") == "tracking.uri":
            word = f"{key}{separator}{_hidden(value)}"
        shown.append(word)
    return shown


def hide_passwords_in(folder: Path) -> None:
    """Takes them out of what Hydra has saved of a config with a tracking URI in a file.

    A pickle of such a config is removed: nothing can be taken out of it.
    """
    secret = os.environ.get(SECRET_VARIABLE, "").encode()
    for pickle in folder.glob("*.pickle") if secret else ():
        if secret in pickle.read_bytes():
            pickle.unlink()
    for file in folder.glob("*.yaml"):
        lines = file.read_text().splitlines(keepends=True)
        shown = [masked(line) if "uri" in line else line for line in lines]
        if shown != lines:
            file.write_text("".join(shown))


def _hidden(uri: str) -> str:
    shown = masked(uri)
    if shown != uri:
        os.environ[SECRET_VARIABLE] = uri.strip("'\"")
    return shown


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
    flush_metrics: int = Field(ge=1, le=10_000)
    """A buffer is delivered when it holds this many values."""
    system_metrics: bool
    """Sample processor, memory, disk and GPUs while a run is at work; needs ``psutil``."""
    system_metrics_seconds: float = Field(gt=0.0, le=3600.0)
    """Seconds between two such samples."""

    @field_validator("uri")
    @classmethod
    def _keep_no_password(cls, uri: str | None) -> str | None:
        """Moves a password to the environment: whatever is written of these settings has none."""
        return None if uri is None else _hidden(uri)


TrackingSettings = Annotated[NoTrackingSettings | MlflowSettings, Field(discriminator="kind")]
