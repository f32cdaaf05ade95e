"""Playing a policy and keeping what it did: captures, in memory and on disk.

Legend: T steps, L lanes, W worlds, K trajectories, F features, C x H x W map, N actions,
E event kinds.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.checkpoint import write_json
from journeyman.data.capture import Capture
from journeyman.data.spans import Spans
from journeyman.data.storage import save_shard, save_trajectory
from journeyman.data.trajectory import Trajectory
from journeyman.env.protocol import LaneEnv, LaneSpec, StepInfo
from journeyman.errors import UserError
from journeyman.policies.actions import mask_allows, output_positions
from journeyman.policies.protocol import Observation, Policy, PolicyStep
from journeyman.results import CaptureResult

__all__ = ["Capture", "capture_result", "capture_rollout", "save_capture"]

LANES_PER_SHARD = 64
"""Captures of more trajectories than this are saved in shards of at most so many."""

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
    their next life or episode; the ends are marked. Idle steps are left out: they end a
    trajectory, and the lane's next step begins another.

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
        TrainingError: if every step was idle.
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
        record.outcome(t, rewards_L, terminated_L, truncated_L, info)
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
        self.actions = np.empty((*size, *spec.action_shape), spec.action_dtype)
        self.rewards = np.empty(size, np.float32)
        self.terminated = np.empty(size, np.bool_)
        self.truncated = np.empty(size, np.bool_)
        self.log_probs = np.empty(size, np.float32)
        self.values = np.empty(size, np.float32)
        self.spans = Spans(lanes, len(env.event_names))
        self._shown: dict[str, NDArray[Any]] = {"features": self.features}
        if self.map is not None:
            self._shown["map"] = self.map
        self._ends: tuple[NDArray[np.bool_], Observation] = (np.zeros(lanes, np.bool_), {})

    def observe(self, t: int, obs: Observation) -> None:
        self.features[:, t] = obs["features"]
        if self.map is not None:
            self.map[:, t] = obs["map"]
        if self.action_mask is not None:
            self.action_mask[:, t] = obs["action_mask"]

    def decide(self, t: int, decision: PolicyStep, label: str) -> None:
        lanes, spec = len(self.actions), self.spec
        if decision.actions.shape != (lanes, *spec.action_shape):
            raise ValueError(
                f"policy {label}: actions of shape {decision.actions.shape} for {lanes} lanes"
            )
        if self.action_mask is not None:
            allowed = mask_allows(self.action_mask[:, t], decision.actions, spec.action_sizes)
            if not allowed.all():
                lane = int(np.flatnonzero(~allowed)[0])
                raise ValueError(
                    f"policy {label}: chose {_named(spec, decision.actions[lane])}, which the "
                    f"mask forbids (tick {t}, lane {lane})"
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
        info: StepInfo,
    ) -> None:
        self.rewards[:, t] = rewards_L
        self.terminated[:, t] = terminated_L
        self.truncated[:, t] = truncated_L
        idle_L = info.get("idle")
        if idle_L is not None:
            for lane in self.spans.open_lanes(idle_L):
                self.spans.close(lane, t, self._seen_after(lane, t - 1))
        self.spans.go_on(t, idle_L, info["events"])
        # Where the next step turns out idle, this is what a lane that ended here saw last; the
        # environment leaves it alone until the step after that.
        self._ends = (terminated_L | truncated_L, info["final_obs"])

    def _seen_after(self, lane: int, t: int) -> dict[str, NDArray[Any]]:
        """Returns what a lane saw after step t, the last one recorded before an idle step."""
        ended_L, final_obs = self._ends
        if ended_L[lane]:
            return {name: final_obs[name][lane].copy() for name in self._shown}
        return {name: self._shown[name][lane, t + 1] for name in self._shown}

    def finish(self, policy: Policy, *, seed: int, final: Mapping[str, NDArray[Any]]) -> Capture:
        for lane in self.spans.open_lanes(None):
            seen = {name: final[name][lane] for name in self._shown}
            self.spans.close(lane, self.actions.shape[1], seen)
        spans, finals, events_KE = self.spans.joined(self.spec.env_id)
        played = [(lane, slice(start, stop)) for lane, start, stop in spans.tolist()]
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
            spans=spans,
            final_features=finals["features"],
            final_map=finals.get("map"),
            event_totals={name: events_KE[:, e] for e, name in enumerate(self.event_names)},
            warnings=_warnings(
                policy,
                self.spec,
                np.concatenate([self.actions[steps] for steps in played]),
                np.concatenate([self.rewards[steps] for steps in played]),
            ),
        )


def _last_seen(
    obs: Observation, final_obs: Observation, ended_L: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """Returns what each lane saw after its last step: its end, not its next beginning."""
    seen = {name: np.array(obs[name]) for name in ("features", "map") if name in obs}
    for name, array in seen.items():
        array[ended_L] = final_obs[name][ended_L]
    return seen


def _warnings(
    policy: Policy, spec: LaneSpec, actions: NDArray[Any], rewards: NDArray[np.float32]
) -> tuple[str, ...]:
    """Says why play may be no use as demonstrations; actions (S, ...), rewards (S,)."""
    warnings = []
    if getattr(policy, "is_stub", False):
        warnings.append(f"the {policy.label} policy plays here: whoever imitates it learns nothing")
    if (actions == actions[0]).all():
        warnings.append(
            f"every captured action is {_named(spec, actions[0])}: there is no choice to imitate"
        )
    if rewards.size > 1 and (rewards == rewards[0]).all():
        warnings.append("all captured rewards are the same: returns say nothing about the play")
    return tuple(warnings)


def _named(spec: LaneSpec, action: NDArray[Any]) -> str:
    """Returns one lane's action, () or (D,), in words."""
    if spec.action_kind == "box":
        return str(action.tolist())
    positions = output_positions(action[None], spec.action_sizes)
    return " with ".join(repr(spec.action_names[position]) for position in positions.ravel())


def save_capture(
    capture: Capture,
    folder: Path,
    *,
    prefix: str = "rollout_sample",
    metadata: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Writes a capture as trajectories, manifest and metrics.

    Up to ``LANES_PER_SHARD`` trajectories give a file each, ``<prefix>_0000.npz`` and so on; more
    give shards of trajectories of one length, ``<prefix>_shard_0000.npz``. The manifest is
    written last: where it is, all of its files are.

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
    """Writes the trajectories, a file each or in shards; returns their manifest entries."""
    single = len(capture.trajectories) <= LANES_PER_SHARD
    files = [[t] for t in capture.trajectories] if single else _shards(capture.trajectories)
    samples = []
    for number, trajectories in enumerate(files):
        part = [
            trajectory.with_metadata(capture_metadata=dict(about)) for trajectory in trajectories
        ]
        path = stem.with_name(f"{stem.name}_{'' if single else 'shard_'}{number:04d}")
        sha256 = save_trajectory(part[0], path) if single else save_shard(part, path)
        samples.append({"sample": f"{path.name}.npz", "sha256": sha256, "accepted": True})
        if progress is not None:
            progress(number + 1, len(files))
    return samples


def _shards(trajectories: Sequence[Trajectory]) -> list[list[Trajectory]]:
    """Returns the trajectories by length, in order of first appearance, in parts of a shard."""
    by_length: dict[int, list[Trajectory]] = {}
    for trajectory in trajectories:
        by_length.setdefault(len(trajectory), []).append(trajectory)
    return [
        alike[start : start + LANES_PER_SHARD]
        for alike in by_length.values()
        for start in range(0, len(alike), LANES_PER_SHARD)
    ]


def capture_result(capture: Capture, manifest: Path | None, duration_sec: float) -> CaptureResult:
    """Returns the typed result of a capture, saved (``manifest``) or not (None)."""
    return CaptureResult(
        policy=capture.label,
        env_id=capture.lane_spec.env_id,
        ticks=capture.ticks,
        worlds=capture.num_worlds,
        lanes=capture.lanes,
        samples=capture.samples,
        trajectories=len(capture.trajectories),
        digest=capture.digest,
        manifest=None if manifest is None else str(manifest),
        metrics=capture.metrics,
        warnings=capture.warnings,
        duration_sec=duration_sec,
    )
