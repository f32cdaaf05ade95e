"""Playing a policy and keeping what it did: captures, in memory and on disk.

Legend: T steps, L lanes, W worlds, F features, C x H x W map, N actions, E event kinds.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.checkpoint import write_json
from journeyman.data.capture import Capture
from journeyman.data.storage import save_shard, save_trajectory
from journeyman.env.protocol import LaneEnv
from journeyman.errors import UserError
from journeyman.policies.protocol import Observation, Policy, PolicyStep
from journeyman.results import CaptureResult

__all__ = ["Capture", "capture_result", "capture_rollout", "save_capture"]

LANES_PER_SHARD = 64
"""Captures of more lanes than this are saved in shards of so many."""

Progress = Callable[[int, int], None]
"""Called with what is done and what there is to do, about a hundred times."""


def capture_rollout(
    env: LaneEnv,
    policy: Policy,
    *,
    ticks: int,
    seed: int,
    rng: np.random.Generator,
    progress: Progress | None = None,
) -> Capture:
    """Resets an environment with a seed and records a policy's play in all its lanes.

    Each step is recorded with the observation *before* its action. Lanes that end go on in
    their next life or episode; the ends are marked.

    Args:
        env: the worlds; any play in progress there is given up.
        policy: who acts.
        ticks: steps of each lane, > 0.
        seed: what the worlds are reset with.
        rng: source of the policy's choices.
        progress: told of the ticks done.

    Raises:
        UserError: if ticks is not positive or the environment has no lane.
        ValueError: if the policy chose a masked action, or not one action a lane.
    """
    if ticks < 1:
        raise UserError(f"ticks: a capture needs at least 1, got {ticks}")
    if env.num_envs < 1:
        raise UserError(f"{env.lane_spec.env_id}: the environment has no agents to capture")
    record = _Record(env, ticks)
    obs, _ = env.reset(seed=seed)
    every = max(1, ticks // 100)
    for t in range(ticks):
        record.observe(t, obs)
        decision = policy.act(obs, rng)
        record.decide(t, decision, policy.label)
        obs, rewards_L, terminated_L, truncated_L, info = env.step(decision.actions)
        record.outcome(t, rewards_L, terminated_L, truncated_L, info["events"])
        if progress is not None and ((t + 1) % every == 0 or t + 1 == ticks):
            progress(t + 1, ticks)
    final = _last_seen(obs, info["final_obs"], terminated_L | truncated_L)
    return record.finish(policy, seed=seed, final=final)


class _Record:
    """Preallocated arrays of a capture, lane first, that each tick copies its part into."""

    def __init__(self, env: LaneEnv, ticks: int) -> None:
        spec, lanes = env.lane_spec, env.num_envs
        size, actions = (lanes, ticks), len(spec.action_names)
        self.spec, self.num_worlds, self.event_names = spec, env.num_worlds, env.event_names
        self.features = np.empty((*size, len(spec.feature_names)), np.float32)
        self.map = None if spec.map_shape is None else np.empty((*size, *spec.map_shape), np.uint8)
        self.action_mask = np.empty((*size, actions), np.bool_) if spec.has_action_mask else None
        self.actions = np.empty(size, np.int64)
        self.rewards = np.empty(size, np.float32)
        self.terminated = np.empty(size, np.bool_)
        self.truncated = np.empty(size, np.bool_)
        self.log_probs = np.empty(size, np.float32)
        self.values = np.empty(size, np.float32)
        self.events = np.zeros((lanes, len(env.event_names)), np.float64)

    def observe(self, t: int, obs: Observation) -> None:
        self.features[:, t] = obs["features"]
        if self.map is not None:
            self.map[:, t] = obs["map"]
        if self.action_mask is not None:
            self.action_mask[:, t] = obs["action_mask"]

    def decide(self, t: int, decision: PolicyStep, label: str) -> None:
        lanes = len(self.actions)
        if decision.actions.shape != (lanes,):
            raise ValueError(
                f"policy {label}: actions of shape {decision.actions.shape} for {lanes} lanes"
            )
        if self.action_mask is not None:
            allowed = self.action_mask[np.arange(lanes), t, decision.actions]
            if not allowed.all():
                lane = int(np.flatnonzero(~allowed)[0])
                name = self.spec.action_names[decision.actions[lane]]
                raise ValueError(
                    f"policy {label}: chose {name!r}, which the mask forbids "
                    f"(tick {t}, lane {lane})"
                )
        self.actions[:, t] = decision.actions
        self.log_probs[:, t] = decision.log_probs
        self.values[:, t] = decision.values

    def outcome(
        self,
        t: int,
        rewards_L: NDArray[np.float32],
        terminated_L: NDArray[np.bool_],
        truncated_L: NDArray[np.bool_],
        events_LE: NDArray[np.float32],
    ) -> None:
        self.rewards[:, t] = rewards_L
        self.terminated[:, t] = terminated_L
        self.truncated[:, t] = truncated_L
        self.events += events_LE

    def finish(self, policy: Policy, *, seed: int, final: Mapping[str, NDArray[Any]]) -> Capture:
        return Capture(
            lane_spec=self.spec,
            label=policy.label,
            seed=seed,
            num_worlds=self.num_worlds,
            features=self.features,
            map=self.map,
            actions=self.actions,
            action_mask=self.action_mask,
            rewards=self.rewards,
            terminated=self.terminated,
            truncated=self.truncated,
            log_probs=self.log_probs,
            values=self.values,
            final_features=final["features"],
            final_map=final.get("map"),
            event_totals={
                name: self.events[:, e].copy() for e, name in enumerate(self.event_names)
            },
            warnings=_warnings(policy, self),
        )


def _last_seen(
    obs: Observation, final_obs: Observation, ended_L: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """Returns what each lane saw after its last step: its end, not its next beginning."""
    seen = {name: np.array(obs[name]) for name in ("features", "map") if name in obs}
    for name, array in seen.items():
        array[ended_L] = final_obs[name][ended_L]
    return seen


def _warnings(policy: Policy, record: _Record) -> tuple[str, ...]:
    warnings = []
    if getattr(policy, "is_stub", False):
        warnings.append(f"the {policy.label} policy plays here: whoever imitates it learns nothing")
    first = int(record.actions.flat[0])
    if (record.actions == first).all():
        warnings.append(
            f"every captured action is {record.spec.action_names[first]!r}: "
            "there is no choice to imitate"
        )
    if record.rewards.size > 1 and (record.rewards == record.rewards.flat[0]).all():
        warnings.append("all captured rewards are the same: returns say nothing about the play")
    return tuple(warnings)


def save_capture(
    capture: Capture,
    folder: Path,
    *,
    prefix: str = "rollout_sample",
    metadata: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Writes a capture as trajectories, manifest and metrics.

    Up to ``LANES_PER_SHARD`` lanes give a file a lane, ``<prefix>_0000.npz`` and so on; more
    give shards, ``<prefix>_shard_0000.npz``. The manifest is written last: where it is, all of
    its files are.

    Args:
        capture: what to write.
        folder: where to; made if need be.
        prefix: file names start with this.
        metadata: kept as ``capture_metadata`` in every sidecar (config_id, scenario,
            seed, policy_hash, timestamp, versions, ...); ``ticks`` and ``world_seed``, what the
            worlds were reset with, are added.
        progress: told of the files written.

    Returns:
        The path of ``<prefix>_manifest.json``.

    Raises:
        UserError: if the folder cannot be written.
    """
    about = {"ticks": capture.ticks, "world_seed": capture.seed, **(metadata or {})}
    path = folder / f"{prefix}_manifest.json"
    try:
        samples = _save_samples(capture, folder / prefix, about, progress)
        write_json(folder / f"{prefix}_metrics.json", capture.metrics)
        manifest = {
            "label": capture.label,
            "metrics": capture.metrics,
            "digest": capture.digest,
            "warnings": list(capture.warnings),
            "samples": samples,
        }
        write_json(path, manifest)
    except OSError as error:
        raise UserError(f"{folder}: the capture cannot be written ({error})") from error
    return path


def _save_samples(
    capture: Capture, stem: Path, about: Mapping[str, Any], progress: Progress | None
) -> list[dict[str, Any]]:
    """Writes the lanes, a file each or in shards; returns their manifest entries."""
    single = capture.lanes <= LANES_PER_SHARD
    size = 1 if single else LANES_PER_SHARD
    count = -(-capture.lanes // size)
    samples = []
    for number in range(count):
        lanes = capture.trajectories[number * size : (number + 1) * size]
        part = [trajectory.with_metadata(capture_metadata=dict(about)) for trajectory in lanes]
        path = stem.with_name(f"{stem.name}_{'' if single else 'shard_'}{number:04d}")
        sha256 = save_trajectory(part[0], path) if single else save_shard(part, path)
        samples.append({"sample": f"{path.name}.npz", "sha256": sha256, "accepted": True})
        if progress is not None:
            progress(number + 1, count)
    return samples


def capture_result(capture: Capture, manifest: Path | None, duration_sec: float) -> CaptureResult:
    """Returns the typed result of a capture, saved (``manifest``) or not (None)."""
    return CaptureResult(
        policy=capture.label,
        env_id=capture.lane_spec.env_id,
        ticks=capture.ticks,
        worlds=capture.num_worlds,
        lanes=capture.lanes,
        samples=capture.actions.size,
        trajectories=capture.lanes,
        digest=capture.digest,
        manifest=None if manifest is None else str(manifest),
        metrics=capture.metrics,
        warnings=capture.warnings,
        duration_sec=duration_sec,
    )
