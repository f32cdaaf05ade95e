"""What can be known to be wrong before any work starts, beyond the config itself."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from journeyman.errors import TrainingError, UserError
from journeyman.folders import nearest_existing
from journeyman.policies.registry import how_to_set, is_dataset_path
from journeyman.settings.dataset import (
    ManifestDatasetSettings,
    RolloutDatasetSettings,
    ScriptedDatasetSettings,
)
from journeyman.settings.env import TownSettings
from journeyman.settings.promotion import PromotionGateSettings
from journeyman.settings.root import Settings
from journeyman.settings.strategy import CaptureSettings, EvaluateSettings
from journeyman.strategies.registry import TRAINING, require_torch

_USES_DATASET = ("bc", "anneal", "replay")


def preflight(jobs: Sequence[Settings], *, resumed: bool = False) -> None:
    """Checks paths, devices, data and servers of all jobs; writes nothing.

    Args:
        jobs: what is to be run.
        resumed: it was begun before: its folder knows the tracking store, which need not be there.

    Raises:
        UserError: with every problem found.
    """
    from journeyman.tracking.tags import PARENT_RUN_VARIABLE

    # A job of a sweep is begun too: the sweep's own run is in the store.
    resumed = resumed or PARENT_RUN_VARIABLE in os.environ
    problems: list[str] = []
    asked: set[tuple[str, str]] = set()
    for settings in jobs:
        store = (repr(settings.tracking), str(settings.outputs_path))
        checks = _CHECKS
        # The jobs of a sweep share one, and its answer takes seconds at worst.
        if not resumed and store not in asked:
            checks = (*_CHECKS, _tracking_reachable)
            asked.add(store)
        for check in checks:
            try:
                check(settings)
            except UserError as error:
                problems.extend(error.problems)
    if problems:
        raise UserError(list(dict.fromkeys(problems)))


def require_writable(folder: Path, key: str) -> None:
    """Raises ``UserError``, which names the key, where a folder is not there and cannot be made."""
    try:
        existing = nearest_existing(folder)
    except UserError as error:
        raise UserError(f"{key}: {error}") from error
    if not existing.is_dir():
        raise UserError(f"{key}: {existing} is not a folder (got {folder})")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{key}: no permission to write in {existing}")


def _outputs_writable(settings: Settings) -> None:
    require_writable(settings.outputs_path, "outputs")


def _threads_exist(settings: Settings) -> None:
    cores = len(os.sched_getaffinity(0))
    if settings.runtime.town_threads > cores:
        raise UserError(
            f"runtime.town_threads: {settings.runtime.town_threads} asked for, "
            f"this process may use {cores} cores"
        )


def _torch_and_device(settings: Settings) -> None:
    if settings.strategy.kind not in TRAINING:
        return
    require_torch(settings.strategy.kind)
    if settings.runtime.device.startswith("cuda"):
        from journeyman.learning.devices import resolve_device

        resolve_device(settings.runtime.device)


def _tracking_reachable(settings: Settings) -> None:
    from journeyman.tracking.address import check_reachable

    _outputs_writable(settings)  # else the embedded store has the same problem in other words
    check_reachable(settings.tracking, settings.outputs_path)


def _tracking_installed(settings: Settings) -> None:
    if getattr(settings.tracking, "system_metrics", False):
        from journeyman.tracking.system import require_psutil

        require_psutil()


def _world_possible(settings: Settings) -> None:
    from journeyman.env.build import lane_spec

    lane_spec(settings.env)


def _network_sees(settings: Settings) -> None:
    if settings.strategy.kind not in TRAINING:
        return
    from journeyman.env.build import lane_spec
    from journeyman.services.sight import sight_problems

    problems = sight_problems(settings.policy, lane_spec(settings.env))
    if problems:
        raise UserError(problems)


def _dataset_fits(settings: Settings) -> None:
    if settings.strategy.kind not in _USES_DATASET:
        return
    from journeyman.services.demonstrations import demonstrated_by

    dataset = demonstrated_by(settings)
    if settings.strategy.kind in TRAINING and getattr(dataset, "worlds", 2) < 2:
        raise UserError("dataset.worlds: imitation holds worlds out, so it needs at least 2, got 1")
    from journeyman.env.build import lane_spec

    if isinstance(dataset, ManifestDatasetSettings):
        from journeyman.services import dataset as service

        if settings.strategy.kind == "replay":
            service.build_replay_dataset(dataset)  # any trajectory can be summarised
        else:
            service.check_against(lane_spec(settings.env), service.load_demonstrations(dataset))
    elif isinstance(dataset, RolloutDatasetSettings):
        from journeyman.services.players import check_player

        check_player(dataset.policy, lane_spec(settings.env))


def _imitation_fits(settings: Settings) -> None:
    from journeyman.env.build import lane_spec
    from journeyman.services.imitation import imitation_problems

    bc = settings.bc()
    problems = [] if bc is None else imitation_problems(bc, lane_spec(settings.env))
    if problems:
        raise UserError(problems)


def _recorded_play_fits(settings: Settings) -> None:
    dataset, ppo = settings.dataset, settings.ppo()
    if ppo is None or ppo.data_mode == "rollout":
        return
    if isinstance(dataset, ManifestDatasetSettings):
        from journeyman.env.build import lane_spec
        from journeyman.services import dataset as service

        recorded = service.build_replay_dataset(dataset)
        service.check_against(lane_spec(settings.env), recorded)
        if not dataset.recompute_log_probs:
            service.check_log_probs(recorded)


def _players_fit(settings: Settings) -> None:
    from journeyman.env.build import lane_spec
    from journeyman.services.players import check_checkpoint, check_player

    if isinstance(settings.strategy, CaptureSettings | EvaluateSettings):
        check_player(settings.strategy.policy, lane_spec(settings.env))
    promotion = settings.promotion
    if isinstance(promotion, PromotionGateSettings) and promotion.champion is not None:
        check_checkpoint(promotion.champion, lane_spec(settings.env))


def _demonstrator_fits(settings: Settings) -> None:
    from journeyman.env.build import lane_spec
    from journeyman.services.players import check_demonstrator, has_demonstrator

    env = settings.env
    if isinstance(env, TownSettings):
        return
    if has_demonstrator(env):
        check_demonstrator(env)
        return
    strategy, wanting, other = settings.strategy, None, "strategy.policy=random"
    if isinstance(strategy, CaptureSettings | EvaluateSettings):
        wanting = "strategy.policy" if strategy.policy == "demonstrator" else None
    elif strategy.kind in _USES_DATASET and strategy.kind != "anneal":  # its stages are asked
        wanting, other = _shown_by_demonstrator(settings), "dataset=manifest"
    if wanting is not None:
        spec = lane_spec(env)
        raise UserError(
            f"{wanting}: it is the demonstrator who plays, and {spec.env_id} has none; "
            f"{how_to_set(spec)}; or use {other}"
        )


def _shown_by_demonstrator(settings: Settings) -> str | None:
    """Returns the key by which the demonstrator plays the dataset; None: others do."""
    dataset, env = settings.dataset, settings.env
    if isinstance(dataset, RolloutDatasetSettings):
        return "dataset.policy" if dataset.policy == "demonstrator" else None
    recorded = not isinstance(env, TownSettings) and is_dataset_path(env.demonstrator)
    return (
        "dataset=scripted"
        if isinstance(dataset, ScriptedDatasetSettings) and not recorded
        else None
    )


def _stages_fit(settings: Settings) -> None:
    """Refuses, naming them, stages that ask for a demonstrator or a prior in vain."""
    from journeyman.env.build import episode_limit, lane_spec
    from journeyman.learning.guides import NO_LIMIT
    from journeyman.services.players import has_demonstrator

    ppo = settings.ppo()
    if settings.strategy.kind != "anneal" or ppo is None:
        return
    spec = lane_spec(settings.env)
    problems: dict[str, list[int]] = {}

    def found(problem: str, index: int) -> None:
        problems.setdefault(problem, []).append(index)

    absent = not has_demonstrator(settings.env)
    none = f"is the demonstrator's play, and {spec.env_id} has none; {how_to_set(spec)}"
    shown_by = _shown_by_demonstrator(settings)
    for index, stage in enumerate(settings.anneal.stages):
        guided = stage.guide.kind != "none"
        if absent and stage.demonstrates and shown_by is not None:
            found(f"what imitation learns from ({shown_by}) {none}; or use dataset=manifest", index)
        if absent and guided:
            found(f"a guide {none}", index)
        if stage.guide.kind == "prefix" and episode_limit(settings.env) is None:
            found(NO_LIMIT.format(spec.env_id), index)
        inherits = stage.mode == "ppo" and stage.critic_warmup is None
        if inherits and ppo.critic_warmup >= stage.epochs:
            found(
                f"strategy.ppo.critic_warmup={ppo.critic_warmup} takes all of its {stage.epochs} "
                "updates, and the policy would learn nothing; set the stage's own critic_warmup",
                index,
            )
        if ppo.data_mode != "rollout" and (guided or stage.keeps_to_prior):
            found(
                "guide and kl_weight need fresh play, strategy.ppo.data_mode=rollout (got "
                f"{ppo.data_mode})",
                index,
            )
    if problems:
        raise UserError(
            [
                f"{', '.join(f'anneal.stages.{index}' for index in stages)}: {problem}"
                for problem, stages in problems.items()
            ]
        )


def _film_possible(settings: Settings) -> None:
    strategy, env = settings.strategy, settings.env
    if not isinstance(strategy, EvaluateSettings) or strategy.render == "off":
        return
    from journeyman.env.build import make_env
    from journeyman.reporting.film import picture_of, require_writer

    require_writer(strategy.render)
    if isinstance(env, TownSettings):  # it draws itself, and compiles when it is built
        return
    world = make_env(env, num_worlds=1)
    try:
        world.reset(seed=[0])
        picture_of(world)
    except TrainingError as error:
        raise UserError(f"strategy.render: {error}") from error
    finally:
        world.close()


def _social_rewards_exist(settings: Settings) -> None:
    if isinstance(settings.env, TownSettings):
        return
    stages = {step.stage for step in settings.social_reward.schedule}
    if settings.social_reward.override is not None:
        stages = {settings.social_reward.override}
    problems = []
    if stages != {"OFF"}:
        problems.append("social_reward: only the town has social rewards; use social_reward=off")
    if settings.evaluation.social_stage != "OFF":
        problems.append(
            "evaluation.social_stage: only the town has social rewards; use OFF "
            f"(got {settings.evaluation.social_stage})"
        )
    if problems:
        raise UserError(problems)


def _gate_metrics_are_counted(settings: Settings) -> None:
    from journeyman.env.build import event_names

    promotion = settings.promotion
    if settings.strategy.kind not in TRAINING or not isinstance(promotion, PromotionGateSettings):
        return
    counted = event_names(settings.env)
    unknown = [name for name in promotion.max_rate_increase or () if name not in counted]
    if unknown:
        raise UserError(
            f"promotion.max_rate_increase: the environment counts no {', '.join(unknown)} "
            f"(it counts {', '.join(counted) or 'nothing'}); null judges what it calls harmful"
        )


_CHECKS: tuple[Callable[[Settings], None], ...] = (
    _outputs_writable,
    _threads_exist,
    _world_possible,
    _torch_and_device,
    _tracking_installed,
    _network_sees,
    _dataset_fits,
    _recorded_play_fits,
    _imitation_fits,
    _players_fit,
    _demonstrator_fits,
    _stages_fit,
    _film_possible,
    _social_rewards_exist,
    _gate_metrics_are_counted,
)
