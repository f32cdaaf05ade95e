"""A rollout of an untrained network in the signal environment, and its optimisation."""

from typing import Any

import numpy as np
import torch

from journeyman.learning.batch import PracticeBatch
from journeyman.learning.collector import Collector
from journeyman.learning.gae import Advantages
from journeyman.learning.gathering import rollout_advantages
from journeyman.learning.network import ActorCritic
from journeyman.learning.normalization import Normalizer
from journeyman.learning.optimizers import adam
from journeyman.learning.policy import initial_checkpoint, network_from_checkpoint
from journeyman.learning.rollout import Rollout
from journeyman.learning.update import Coefficients, UpdateFigures, optimise
from journeyman.seeding import SeedPlan
from journeyman.settings.strategy import PPOSettings
from support.signal_env import SignalEnv
from support.training import SMALL, ppo_settings

CPU = torch.device("cpu")
COEFFICIENTS = Coefficients(learning_rate=3e-3, clip=0.2, entropy_coef=0.01)


def rollout_of(env: SignalEnv, *, ticks: int) -> tuple[ActorCritic, Rollout]:
    """An untrained network, and a rollout that it has just played."""
    start = initial_checkpoint(SMALL, env.lane_spec, SeedPlan(0))
    network = network_from_checkpoint(start, CPU)
    collector = Collector(env, network, Normalizer(None, None), ticks=ticks)
    collector.begin(env.reset(seed=1)[0])
    return network, collector.collect(np.random.default_rng(0))


def advantages_of(rollout: Rollout, **changes: Any) -> Advantages:
    """Its advantages, as an update would have them; gamma and lambda are .9 unless changed."""
    return rollout_advantages(rollout, ppo_settings(**changes))


def run(
    network: ActorCritic,
    batch: PracticeBatch,
    settings: PPOSettings | None = None,
    coefficients: Coefficients = COEFFICIENTS,
    **options: Any,
) -> UpdateFigures:
    """Optimises the network on a batch with an Adam of its own."""
    return optimise(
        network,
        adam(network, 0.0, 1e-5),
        batch,
        settings or ppo_settings(),
        coefficients,
        minibatch_rng=np.random.default_rng(0),
        **options,
    )
