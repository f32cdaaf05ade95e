"""Everything practice changes, to and from a checkpoint.

Legend: L lanes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from journeyman.checkpoint import Checkpoint
from journeyman.env.protocol import LaneEnv, LaneSpec
from journeyman.errors import UserError
from journeyman.learning.collector import Collector
from journeyman.learning.network import ActorCritic
from journeyman.learning.normalization import Normalizer
from journeyman.learning.optimizers import FlatOptimizer, adam
from journeyman.learning.policy import network_from_checkpoint, weights
from journeyman.seeding import SeedPlan
from journeyman.settings.strategy import PPOSettings

PRACTICE_STREAMS = ("act", "minibatch", "demonstration_minibatch", "guide")
"""Generators that practice draws from; the others are left to their owners."""


def restore_streams(seeds: SeedPlan, checkpoint: Checkpoint, names: Iterable[str]) -> None:
    """Puts the named generators back to where a checkpoint has them, if it has any."""
    states = checkpoint.state.get("generators")
    if states is not None:
        for name in names:
            seeds[name].bit_generator.state = states[name]


@dataclass
class Practice:
    """What PPO works on.

    Attributes:
        network: acts and learns.
        optimizer: Adam on all its weights.
        normalizer: how the network sees features and rewards.
        collector: the lanes, and where each stands in its episode; None: nobody plays.
        env: the environment behind the lanes, or None.
    """

    network: ActorCritic
    optimizer: FlatOptimizer
    normalizer: Normalizer
    collector: Collector | None
    env: LaneEnv | None

    @classmethod
    def resume(
        cls,
        checkpoint: Checkpoint,
        env: LaneEnv | None,
        settings: PPOSettings,
        seeds: SeedPlan,
        device: torch.device,
        *,
        lane_spec: LaneSpec,
        social_stage: str,
    ) -> Self:
        """Goes on exactly where a checkpoint stands; what it lacks starts anew.

        Lanes start anew, from ``seeds.integer("env")``, if the checkpoint has none or another
        number of worlds. Without an environment there are none, and those of the checkpoint
        are left as they are.

        Raises:
            UserError: the weights were learned with features whitened and are not to be now, or
                the other way round.
        """
        _check_whitening(checkpoint, settings)
        restore_streams(seeds, checkpoint, PRACTICE_STREAMS)
        network = network_from_checkpoint(checkpoint, device)
        optimizer = adam(network, 0.0, settings.adam_eps)
        optimizer.restore(checkpoint.part("ppo_optimizer"))
        statistics = checkpoint.part("normalizer")
        normalizer = Normalizer.start(
            statistics,
            width=len(lane_spec.feature_names),
            lanes=len(statistics.get("running_return", ())) if env is None else env.num_envs,
            gamma=settings.gamma,
            normalize_features=settings.normalize_features,
            normalize_rewards=settings.normalize_rewards,
        )
        collector = None
        if env is not None:
            collector = Collector(env, network, normalizer, ticks=settings.rollout_ticks)
            _take_places(collector, env, checkpoint, seeds)
            env.set_social_stage(social_stage)
        return cls(network, optimizer, normalizer, collector, env)

    def checkpoint(self, base: Checkpoint, seeds: SeedPlan, **state: Any) -> Checkpoint:
        """Returns ``base`` with everything practice changes replaced.

        Args:
            base: parts of other owners are kept.
            seeds: generators, saved as they are now.
            state: further top-level state keys.
        """
        parts: dict[str, Mapping[str, NDArray[Any]]] = {
            "policy": weights(self.network),
            "ppo_optimizer": self.optimizer.arrays(),
            "normalizer": self.normalizer.arrays(),
        }
        if self.collector is not None and self.env is not None:
            parts["env"] = self.env.state()
            parts["lanes"] = {
                "episode_return": self.collector.episode_return,
                "episode_length": self.collector.episode_length,
            }
            state["env"] = {"worlds": self.env.num_worlds}
        return base.with_parts(parts, generators=seeds.state(), **state)


def _take_places(
    collector: Collector, env: LaneEnv, checkpoint: Checkpoint, seeds: SeedPlan
) -> None:
    """Puts the lanes where a checkpoint has them, or at the start of their episodes."""
    if checkpoint.state.get("env", {}).get("worlds") == env.num_worlds:
        obs = env.restore(checkpoint.part("env"))
        collector.begin(obs, **checkpoint.part("lanes"))
    else:
        obs, _ = env.reset(seed=seeds.integer("env"))
        collector.begin(obs)


def _check_whitening(checkpoint: Checkpoint, settings: PPOSettings) -> None:
    counters = checkpoint.state["counters"]
    trained = counters["bc_epochs"] + counters["ppo_updates"] > 0
    whitened = "feature_count" in checkpoint.part("normalizer")
    if trained and whitened != settings.normalize_features:
        raise UserError(
            f"normalize_features={str(settings.normalize_features).lower()}: the checkpoint's "
            f"policy was trained {'with' if whitened else 'without'} feature statistics; "
            f"set it to {str(whitened).lower()} to go on with these weights"
        )


@dataclass
class PracticeCourse:
    """How far a ppo stage has come; JSON-able, so that it can be resumed in the middle.

    Attributes:
        done: updates made.
        transitions: transitions collected, those of updates rolled back included; where nobody
            plays, recorded ones, counted once an update.
        learning_rate_scale: halved at each rollback.
        rollbacks: updates rolled back so far.
        losses: ``loss_total`` without the terms of demonstrations and prior, of as many last
            updates as a quarter of the stage has.
        returns: sum and number of the returns of episodes that ended in each of these.
        last_update: telemetry of the last update.
    """

    done: int = 0
    transitions: int = 0
    learning_rate_scale: float = 1.0
    rollbacks: int = 0
    losses: list[float] = field(default_factory=list)
    returns: list[tuple[float, int]] = field(default_factory=list)
    last_update: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "PracticeCourse":
        """Returns where a checkpoint stands inside a ppo stage; at its start if it does not."""
        schedule = checkpoint.state.get("schedule", {})
        if schedule.get("stage_update", 0) == 0 or "practice" not in schedule:
            return cls()
        return cls(**schedule["practice"])

    def schedule(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Returns the checkpoint's ``schedule`` with this course in it."""
        outer = checkpoint.state.get("schedule", {})
        return {**outer, "stage_update": self.done, "practice": asdict(self)}

    def record(
        self,
        metrics: Mapping[str, Any],
        loss: float,
        episode_returns: NDArray[np.float64],
        count: int,
    ) -> None:
        """Counts an update of ``count`` in all; a quarter's figures are kept."""
        kept = max(1, count // 4)
        self.losses = [*self.losses, loss][-kept:]
        returns = (float(episode_returns.sum()), len(episode_returns))
        self.returns = [*self.returns, returns][-kept:]
        self.done += 1
        self.last_update = dict(metrics)

    @property
    def loss_total_mean(self) -> float:
        """Mean over the last updates, a quarter of the stage."""
        return float(np.mean(self.losses))

    @property
    def episode_return_mean(self) -> float | None:
        """Mean over the episodes that ended in these updates; None if none did."""
        episodes = sum(number for _, number in self.returns)
        return None if episodes == 0 else sum(total for total, _ in self.returns) / episodes


def finished_schedule(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns the checkpoint's ``schedule`` as a stage leaves it: between stages."""
    outer = checkpoint.state.get("schedule", {})
    kept = {name: value for name, value in outer.items() if name not in ("practice", "imitation")}
    return {**kept, "stage_update": 0}
