"""Config group ``dataset``: where demonstrations come from."""

from typing import Annotated, Literal

from pydantic import Field

from journeyman.settings.base import Section


class BatchingSettings(Section):
    """How trajectories become batches in a replay."""

    batch_size: int = Field(ge=1, le=1_000_000)
    """Trajectories a batch; all of one shape."""
    shuffle: bool
    """Draw a fresh order each epoch."""
    drop_last: bool
    """Leave out a bucket's last batch when it is not full."""
    streaming: bool
    """Read each file when its batch is due instead of keeping all in memory."""


class ScriptedDatasetSettings(Section):
    """The environment's own demonstrator, captured at the start of the run."""

    kind: Literal["scripted"]
    worlds: int = Field(ge=1, le=100_000)
    """Worlds captured side by side."""
    ticks: int = Field(ge=1, le=10_000_000)
    """Steps captured from each world."""
    save: bool
    """Also write the capture into the run folder."""
    recompute_log_probs: bool
    """For practice on recorded play (``data_mode`` replay, mixed): take the log-probabilities of
    the policy as the stage begins instead of the recorded ones."""
    batching: BatchingSettings


class ManifestDatasetSettings(Section):
    """Trajectories on disk, named by a manifest (JSON, JSONL or YAML)."""

    kind: Literal["manifest"]
    manifest: str
    """Path of the manifest."""
    allow_external_paths: bool
    """Let entries lie outside the manifest's folder and the working directory."""
    recompute_log_probs: bool
    """For practice on recorded play (``data_mode`` replay, mixed): take the log-probabilities of
    the policy as the stage begins instead of the recorded ones."""
    batching: BatchingSettings


class RolloutDatasetSettings(Section):
    """Play of a policy of one's choice, captured at the start of the run."""

    kind: Literal["rollout"]
    policy: str
    """``demonstrator``, ``random``, or the path of a checkpoint."""
    worlds: int = Field(ge=1, le=100_000)
    """Worlds captured side by side."""
    ticks: int = Field(ge=1, le=10_000_000)
    """Steps captured from each world."""
    save: bool
    """Also write the capture into the run folder."""
    recompute_log_probs: bool
    """For practice on recorded play (``data_mode`` replay, mixed): take the log-probabilities of
    the policy as the stage begins instead of the recorded ones."""
    batching: BatchingSettings


DatasetSettings = Annotated[
    ScriptedDatasetSettings | ManifestDatasetSettings | RolloutDatasetSettings,
    Field(discriminator="kind"),
]
