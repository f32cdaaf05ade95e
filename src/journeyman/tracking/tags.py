"""Tags of a run in MLflow's own words and ours."""

import getpass
import os

from journeyman.tracking.protocol import RunInfo
from journeyman.tracking.values import cut_tags

PARENT_RUN_VARIABLE = "JOURNEYMAN_PARENT_RUN_ID"
"""Id of the sweep's run, handed to its jobs (MLflow's own variable would take them over)."""


def job_tags(run: RunInfo) -> dict[str, str]:
    """Returns a job's tags: its own, its source, and its parent where a sweep started it."""
    tags = {"mlflow.source.name": "journeyman", "mlflow.source.type": "LOCAL", "kind": "job"}
    tags.update(run.tags)
    if commit := run.tags.get("git.commit"):
        tags["mlflow.source.git.commit"] = commit
    if parent := os.environ.get(PARENT_RUN_VARIABLE):
        tags["mlflow.parentRunId"] = parent
    return cut_tags(tags)


def user_tags() -> dict[str, str]:
    """Returns the tag that fills MLflow's column of users."""
    try:
        return {"mlflow.user": getpass.getuser()}
    except (OSError, KeyError):  # a container's user without a name
        return {}
