"""What stays the same in a stage of practice, and what follows from it for each update."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from journeyman.checkpoint import Checkpoint
from journeyman.context import MetricValue, TrainingContext
from journeyman.env.protocol import LaneEnv
from journeyman.learning.demonstrations import (
    DemonstrationTensors,
    check_demonstrations,
    split_rows,
)
from journeyman.learning.gathering import Gathered
from journeyman.learning.practice import Practice, PracticeCourse
from journeyman.learning.replay import RecordedPlay
from journeyman.learning.telemetry import rollout_metrics, update_metrics
from journeyman.learning.update import Coefficients, UpdateFigures
from journeyman.settings.schedule import value_at
from journeyman.settings.strategy import PPOSettings
from journeyman.strategies.keeping import Keeper
from journeyman.strategies.ppo_guidance import Leading


@dataclass(frozen=True, kw_only=True)
class PracticeStage:
    """What stays the same from one update of a stage to the next.

    Attributes:
        context: the run's surroundings.
        settings: of PPO, the stage's overrides in them.
        keeper: keeps good states; knows how many updates there are.
        bc_weight: weight of the demonstrations' loss by update, or None.
        leading: prior and guide.
        social_stage: social rewards in force.
        telemetry: constants added to every update's metrics.
        device: where the network is.
        start: what the stage began with.
        play: recorded play to learn from, or None.
    """

    context: TrainingContext
    settings: PPOSettings
    keeper: Keeper
    bc_weight: Callable[[int], float] | None
    leading: Leading
    social_stage: str
    telemetry: Mapping[str, MetricValue]
    device: torch.device
    start: Checkpoint
    play: RecordedPlay | None

    def resume(self, env: LaneEnv | None, checkpoint: Checkpoint) -> Practice:
        """Goes on exactly where a checkpoint stands."""
        return Practice.resume(
            checkpoint,
            env,
            self.settings,
            self.context.seeds,
            self.device,
            lane_spec=self.context.lane_spec,
            social_stage=self.social_stage,
        )

    def coefficients(self, course: PracticeCourse) -> Coefficients:
        """Returns what the schedules say for the update to come."""
        settings, index, count = self.settings, course.done, self.keeper.count
        learning_rate = value_at(settings.learning_rate, index, count)
        return Coefficients(
            learning_rate=learning_rate * course.learning_rate_scale,
            clip=value_at(settings.clip, index, count),
            entropy_coef=value_at(settings.entropy_coef, index, count),
            bc_weight=0.0 if self.bc_weight is None else self.bc_weight(index),
            kl_weight=value_at(self.leading.kl_weight, index, count),
            critic_only=index < settings.critic_warmup,
        )

    def demonstrations(self, practice: Practice) -> DemonstrationTensors:
        """Loads what the demonstrations' loss draws from: never what imitation is judged by."""
        context = self.context
        demonstrations = context.demonstrations()
        check_demonstrations(demonstrations, context.lane_spec)
        rows = np.arange(len(demonstrations.actions))
        fraction = context.settings.held_out_fraction()
        if fraction is not None:
            rows, _ = split_rows(demonstrations, fraction, context.seeds.integer("split"))
        return DemonstrationTensors.from_rows(
            demonstrations, rows, needs_map=practice.network.needs_map, device=self.device
        )

    def metrics(
        self,
        env: LaneEnv | None,
        gathered: Gathered,
        figures: UpdateFigures,
        coefficients: Coefficients,
    ) -> dict[str, MetricValue]:
        """Returns an update's telemetry, the run's counters and the guidance left out."""
        metrics = update_metrics(
            figures,
            gathered.learned,
            learning_rate=coefficients.learning_rate,
            data_mode=self.settings.data_mode,
            ticks=gathered.ticks,
        )
        if gathered.rollout is not None and env is not None:
            metrics |= rollout_metrics(gathered.rollout, env.event_names)
        if self.play is not None and gathered.staleness is not None:
            metrics |= self.play.baselines
            metrics["replay_kl"] = gathered.staleness.kl
            metrics["replay_effective_sample_share"] = gathered.staleness.effective_sample_share
        if self.bc_weight is not None:
            metrics["anneal_bc_weight"] = coefficients.bc_weight
        if coefficients.bc_weight > 0.0 and not coefficients.critic_only:
            metrics["loss_bc"] = float(figures.column("loss_bc").mean())
        return metrics | dict(self.telemetry)

    def state(
        self, practice: Practice, course: PracticeCourse, counters: Mapping[str, int]
    ) -> Checkpoint:
        """Returns the state between two updates."""
        state = {"counters": dict(counters), "schedule": course.schedule(self.start)}
        return practice.checkpoint(self.start, self.context.seeds, **state)


def as_the_policy_sees(
    demonstrations: DemonstrationTensors | None, practice: Practice
) -> DemonstrationTensors | None:
    """Returns demonstrations whitened as the policy whitens what it sees."""
    features = practice.normalizer.features
    if demonstrations is None or features is None:
        return demonstrations
    return demonstrations.whitened(features.whitening)


def own_loss(metrics: Mapping[str, MetricValue], coefficients: Coefficients) -> float:
    """Returns the loss of practice itself.

    The terms of demonstrations and prior fade by schedule: their fall is no progress.
    """
    loss = float(metrics["loss_total"])
    if not coefficients.critic_only:
        loss -= coefficients.bc_weight * float(metrics.get("loss_bc", 0.0))
        loss -= coefficients.kl_weight * float(metrics.get("kl_to_prior", 0.0))
    return loss
