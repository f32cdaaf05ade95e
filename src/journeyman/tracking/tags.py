"""Tags of a run in MLflow's own words and ours."""

import getpass
import os

from journeyman.tracking.protocol import RunInfo
from journeyman.tracking.values import cut_tags

PARENT_RUN_VARIABLE = "JOURNEYMAN_PARENT_RUN_ID"
"""Id of the sweep's run, handed to its jobs (MLflow's own variable would take them over)."""

COLOURS = (
    "#1f77b4",
    "#ff7f0e",
    "#2ca02c",
    "#d62728",
    "#9467bd",
    "#8c564b",
    "#e377c2",
    "#7f7f7f",
    "#bcbd22",
    "#17becf",
)
"""One a seed, where MLflow would draw colours from the run's id, and two of a sweep can be alike;
one a configuration in the order of a report's table."""


def job_tags(run: RunInfo) -> dict[str, str]:
    """Returns a job's tags: its own, its source, and its parent where a sweep started it."""
    tags = {"mlflow.source.name": "journeyman", "mlflow.source.type": "LOCAL", "kind": "job"}
    tags.update(run.tags)
    if (seed := run.tags.get("seed", "")).isdigit():
        tags["mlflow.runColor"] = COLOURS[int(seed) % len(COLOURS)]
    if commit := run.tags.get("git.commit"):
        tags["mlflow.source.git.commit"] = commit
    if parent := os.environ.get(PARENT_RUN_VARIABLE):
        tags["mlflow.parentRunId"] = parent
        tags["sweep.job"] = run.run_dir.name
    return cut_tags(tags)


def user_tags() -> dict[str, str]:
    """Returns the tag that fills MLflow's column of users."""
    try:
        return {"mlflow.user": getpass.getuser()}
    except (OSError, KeyError):  # a container's user without a name
        return {}
