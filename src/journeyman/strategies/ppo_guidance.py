"""What leads practice besides reward: a prior the loss keeps to, and a guide that acts."""

from dataclasses import dataclass

import numpy as np
import torch

from journeyman.checkpoint import Checkpoint
from journeyman.context import MetricValue, TrainingContext
from journeyman.env.build import episode_limit
from journeyman.env.protocol import LaneEnv
from journeyman.errors import UserError
from journeyman.learning.guides import Guide, require_episode_limit
from journeyman.learning.rollout import Rollout
from journeyman.learning.update import UpdateFigures
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.policies.prior import prior_of
from journeyman.policies.protocol import Policy
from journeyman.settings.anneal import NO_GUIDE, GuideSettings
from journeyman.settings.schedule import Scheduled, ends_of, value_at
from journeyman.settings.strategy import PPOSettings


@dataclass(frozen=True, kw_only=True)
class Leading:
    """How a stage is led, as its settings say.

    Attributes:
        kl_weight: weight of KL(prior, policy) over the stage.
        guide: who acts beside the policy.
    """

    kl_weight: Scheduled = 0.0
    guide: GuideSettings = NO_GUIDE


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """The prior and the guide of a stage, ready to be asked.

    Attributes:
        leading: the stage's settings.
        prior: the policy the loss keeps to, or None.
        player: who guides, or None.
        limit: steps of a whole episode; known where a prefix is to be guided.
        rng: the guide's own stream.
    """

    leading: Leading
    prior: NumpyActorCritic | None
    player: Policy | None
    limit: int | None
    rng: np.random.Generator

    @classmethod
    def prepare(
        cls,
        context: TrainingContext,
        start: Checkpoint,
        settings: PPOSettings,
        leading: Leading,
        env: LaneEnv | None,
    ) -> "Guidance":
        """Finds the prior in a checkpoint and the guide in an environment.

        Raises:
            UserError: there is no prior, no demonstrator, or no fresh play to lead.
        """
        keeps = max(ends_of(leading.kl_weight)) > 0.0
        guided = leading.guide != NO_GUIDE
        if (keeps or guided) and settings.data_mode != "rollout":
            raise UserError(f"guide and kl_weight need data_mode=rollout, got {settings.data_mode}")
        prior = prior_of(start) if keeps else None
        if keeps and prior is None:
            raise UserError(
                "kl_weight is above 0, but the policy has no prior: no bc stage has passed"
            )
        limit = None
        if leading.guide.kind == "prefix":
            limit = episode_limit(context.settings.env)
            limit = require_episode_limit(limit, context.lane_spec.env_id)
        player = env.demonstrator() if guided and env is not None else None
        return cls(
            leading=leading, prior=prior, player=player, limit=limit, rng=context.seeds["guide"]
        )

    def guide_at(self, index: int, count: int) -> Guide | None:
        """Returns the guide of update ``index`` of ``count``; None: the policy acts alone."""
        kind, ratio = self.leading.guide.kind, value_at(self.leading.guide.ratio, index, count)
        if self.player is None or kind == "none" or ratio == 0.0:
            return None
        return Guide(
            player=self.player, kind=kind, ratio=ratio, rng=self.rng, episode_limit=self.limit
        )

    def prior_log_std(self, device: torch.device) -> torch.Tensor | None:
        """Returns (D,) of the prior, for box actions."""
        log_std = None if self.prior is None else self.prior.log_std
        return None if log_std is None else torch.from_numpy(log_std).to(device)

    def metrics(
        self, rollout: Rollout | None, figures: UpdateFigures, kl_weight: float
    ) -> dict[str, MetricValue]:
        """Returns what an update's telemetry says of prior and guide."""
        metrics: dict[str, MetricValue] = {}
        if self.prior is not None:
            metrics["anneal_kl_weight"] = kl_weight
            metrics["kl_to_prior"] = float(figures.column("kl_to_prior").mean())
        if self.player is not None and rollout is not None:
            acted = 0
            if rollout.guided is not None:
                steps = True if rollout.idle is None else ~rollout.idle
                acted = int((rollout.guided & steps).sum())
            metrics["anneal_guide_ratio"] = acted / rollout.transitions
        return metrics
