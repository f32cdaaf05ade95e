"""What can be known to be wrong before any work starts, beyond the config itself."""

import os
from collections.abc import Callable, Sequence

from journeyman.errors import UserError
from journeyman.settings.dataset import ManifestDatasetSettings, RolloutDatasetSettings
from journeyman.settings.promotion import PromotionGateSettings
from journeyman.settings.root import Settings
from journeyman.settings.strategy import CaptureSettings, EvaluateSettings
from journeyman.strategies.registry import TRAINING, require_torch

_USES_DATASET = ("bc", "anneal", "replay")


def preflight(jobs: Sequence[Settings]) -> None:
    """Checks paths, devices, data and servers of all jobs; writes nothing.

    Raises:
        UserError: with every problem found.
    """
    problems: list[str] = []
    for settings in jobs:
        for check in _CHECKS:
            try:
                check(settings)
            except UserError as error:
                problems.extend(error.problems)
    if problems:
        raise UserError(list(dict.fromkeys(problems)))


def _outputs_writable(settings: Settings) -> None:
    existing = settings.outputs_path
    while not existing.exists() and not existing.is_symlink():
        existing = existing.parent
    if not existing.is_dir():
        raise UserError(f"outputs: {existing} is not a folder (got {settings.outputs})")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"outputs: no permission to write in {existing}")


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


def _world_possible(settings: Settings) -> None:
    from journeyman.env.build import lane_spec

    lane_spec(settings.env)


def _dataset_fits(settings: Settings) -> None:
    dataset = settings.dataset
    if settings.strategy.kind not in _USES_DATASET:
        return
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


def _players_fit(settings: Settings) -> None:
    from journeyman.env.build import lane_spec
    from journeyman.services.players import check_checkpoint, check_player

    if isinstance(settings.strategy, CaptureSettings | EvaluateSettings):
        check_player(settings.strategy.policy, lane_spec(settings.env))
    promotion = settings.promotion
    if isinstance(promotion, PromotionGateSettings) and promotion.champion is not None:
        check_checkpoint(promotion.champion, lane_spec(settings.env))


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
    _tracking_reachable,
    _dataset_fits,
    _players_fit,
    _gate_metrics_are_counted,
)
