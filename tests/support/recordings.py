"""Recorded play of a policy in the signal environment."""

from typing import Any

import numpy as np

from journeyman.checkpoint import Checkpoint
from journeyman.data.replay import ReplayDataset
from journeyman.data.trajectory import Trajectory
from journeyman.learning.policy import policy_from_checkpoint
from journeyman.services.rollout import capture_rollout
from journeyman.settings.dataset import BatchingSettings
from support.signal_env import SignalEnv

BATCHING = BatchingSettings(batch_size=4, shuffle=False, drop_last=False, streaming=False)


def recording(
    checkpoint: Checkpoint, *, worlds: int = 8, ticks: int = 20, seed: int = 5, **env: Any
) -> ReplayDataset:
    """A policy's play, with its log-probabilities, one trajectory a lane."""
    capture = capture_rollout(
        SignalEnv(num_worlds=worlds, **env),
        policy_from_checkpoint(checkpoint),
        ticks=ticks,
        seed=seed,
        rng=np.random.default_rng(seed),
    )
    return ReplayDataset.from_trajectories(capture.trajectories, BATCHING, label="diary")


def signal_trajectory(steps: int, *, seed: int = 0, **arrays: Any) -> Trajectory:
    """A trajectory of one lane that saw signals at random; ``None`` leaves an array out."""
    rng = np.random.default_rng(seed)
    spec = SignalEnv().lane_spec
    columns: dict[str, Any] = {
        "features": rng.normal(size=(steps, 4)).astype(np.float32),
        "actions": rng.integers(0, 4, steps),
        "old_log_probs": np.full(steps, -np.log(4.0), np.float32),
        "value_preds": np.zeros(steps, np.float32),
        "rewards": rng.normal(size=steps).astype(np.float32),
        "terminated": np.zeros(steps, np.bool_),
        "truncated": np.zeros(steps, np.bool_),
        "action_mask": np.ones((steps, 4), np.bool_),
        "final_features": rng.normal(size=4).astype(np.float32),
    }
    columns |= arrays
    columns["dones"] = columns["terminated"] | columns["truncated"]
    metadata = {
        "feature_names": list(spec.feature_names),
        "action_names": list(spec.action_names),
        "forced_actions": [0],
        "env_id": spec.env_id,
    }
    return Trajectory(**columns, metadata=metadata)
