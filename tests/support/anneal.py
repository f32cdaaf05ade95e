"""The real schedule on the signal environment, small, with everything it logs kept."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from journeyman.composition import compose_settings
from journeyman.context import TrainingContext
from journeyman.reporting.progress import SilentProgress
from journeyman.results import AnnealSummary
from journeyman.seeding import SeedPlan
from journeyman.settings.anneal import StageSettings
from journeyman.settings.promotion import PromotionOffSettings
from journeyman.settings.root import Settings
from journeyman.strategies.training import anneal_strategy
from journeyman.tracking.null import NoTracker
from support.signal_env import SignalEnv
from support.training import SMALL, Emissions, bc_settings, ppo_settings, signal_demonstrations

IMITATE = {"cycle": 0, "mode": "bc", "epochs": 6, "bc_weight": 1.0}
PRACTISE = {"cycle": 1, "mode": "ppo", "epochs": 3, "bc_weight": {"start": 0.5, "end": 0.0}}


class Recorder(NoTracker):
    """A tracker that checks nothing and keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.emissions = Emissions()

    def log(self, group: str, metrics: Mapping[str, Any], step: int) -> None:
        self.emissions.log(group, metrics, step)


def context_for(
    run_dir: Path,
    *stages: dict[str, Any],
    seed: int = 0,
    episodes: int = 16,
    social: Mapping[str, Any] | None = None,
    **changes: Any,
) -> TrainingContext:
    """A context of the real settings, on the signal environment, without promotion.

    Args:
        run_dir: where checkpoints go.
        stages: as a config has them.
        seed: of policy, practice and play.
        episodes: of each evaluation.
        social: config group ``social_reward``; None: as shipped.
        changes: of the settings of ppo.
    """
    settings = _composed(f"evaluation.episodes={episodes}", "evaluation.bootstrap_resamples=200")
    anneal = settings.anneal.model_copy(
        update={"stages": tuple(StageSettings.model_validate(stage) for stage in stages)}
    )
    strategy = settings.strategy.model_copy(
        update={"bc": bc_settings(), "ppo": ppo_settings(**changes)}
    )
    update: dict[str, Any] = {"anneal": anneal, "strategy": strategy, "policy": SMALL}
    update["promotion"] = PromotionOffSettings(kind="off")
    if social is not None:
        update["social_reward"] = type(settings.social_reward).model_validate(social)
    made: list[SignalEnv] = []

    def environment(worlds: int, stage: str) -> Any:
        env = SignalEnv(num_worlds=worlds)
        env.set_social_stage(stage)
        made.append(env)
        return env

    context = TrainingContext(
        settings=settings.model_copy(update=update),
        seeds=SeedPlan(seed),
        run_dir=run_dir,
        tracker=Recorder(),
        progress=SilentProgress(),
        lane_spec=SignalEnv(num_worlds=1).lane_spec,
        environment=environment,
        load_demonstrations=signal_demonstrations,
        load_replay_dataset=lambda: pytest.fail("not asked for"),
        stop_requested=lambda: None,
    )
    context.made = made  # type: ignore[attr-defined]
    return context


@functools.cache
def _composed(*overrides: str) -> Settings:
    return compose_settings(overrides)


def run(context: TrainingContext) -> AnnealSummary:
    return anneal_strategy().run(context, None)
