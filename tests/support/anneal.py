"""The real schedule on the signal environment, small, with everything it logs kept."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from journeyman.composition import compose_settings
from journeyman.context import TrainingContext
from journeyman.reporting.progress import SilentProgress
from journeyman.results import AnnealSummary
from journeyman.seeding import SeedPlan
from journeyman.settings.anneal import StageSettings
from journeyman.settings.guardrails import GuardrailSettings
from journeyman.settings.promotion import PromotionOffSettings
from journeyman.settings.root import Settings
from journeyman.strategies.training import anneal_strategy
from journeyman.tracking.null import NoTracker
from support.signal_env import SignalEnv
from support.training import SMALL, Emissions, bc_settings, ppo_settings, signal_demonstrations

IMITATE = {"cycle": 0, "mode": "bc", "epochs": 6, "bc_weight": 1.0}
PRACTISE = {"cycle": 1, "mode": "ppo", "epochs": 3, "bc_weight": {"start": 0.5, "end": 0.0}}


class QueueingEnv(SignalEnv):
    """Two agents of a world who give the same answer at once are in each other's way."""

    event_names = (*SignalEnv.event_names, "queue_conflict", "queue_conflict_intensity")

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        *seen, info = super().step(actions)
        one, other = np.array(actions).reshape(-1, 2).T
        met = np.repeat((one == other) & (one != 0), 2).astype(np.float32)
        events = np.column_stack([info["events"], met, 1.5 * met])
        return (*seen, {**info, "events": events})


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
    world: type[SignalEnv] = SignalEnv,
    guardrails: Mapping[str, Mapping[str, Any]] | None = None,
    **changes: Any,
) -> TrainingContext:
    """A context of the real settings, on the signal environment, without promotion.

    Args:
        run_dir: where checkpoints go.
        stages: as a config has them.
        seed: of policy, practice and play.
        episodes: of each evaluation.
        social: config group ``social_reward``; None: as shipped.
        world: the signal environment, or one made of it.
        guardrails: keys of guardrails that differ from the shipped ones.
        changes: of the settings of ppo.
    """
    settings = _composed(f"evaluation.episodes={episodes}", "evaluation.bootstrap_resamples=200")
    rules = settings.anneal.guardrails.model_dump()
    for name, keys in (guardrails or {}).items():
        rules[name] |= keys
    anneal = settings.anneal.model_copy(
        update={
            "stages": tuple(StageSettings.model_validate(stage) for stage in stages),
            "guardrails": GuardrailSettings.model_validate(rules),
        }
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
        env = world(num_worlds=worlds)
        env.set_social_stage(stage)
        made.append(env)
        return env

    context = TrainingContext(
        settings=settings.model_copy(update=update),
        seeds=SeedPlan(seed),
        run_dir=run_dir,
        tracker=Recorder(),
        progress=SilentProgress(),
        lane_spec=world(num_worlds=1).lane_spec,
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
