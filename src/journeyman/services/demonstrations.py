"""Demonstrations of a run, wherever its dataset settings say they come from."""

from collections.abc import Callable

import numpy as np

from journeyman.env.protocol import LaneEnv
from journeyman.errors import UserError
from journeyman.policies.registry import is_dataset_path
from journeyman.services.players import build_player
from journeyman.services.rollout import Capture, capture_rollout
from journeyman.settings.dataset import (
    DatasetSettings,
    ManifestDatasetSettings,
    ScriptedDatasetSettings,
)
from journeyman.settings.env import TownSettings
from journeyman.settings.root import Settings

Watch = Callable[[int, int], None]
"""Called with what is done and what there is to do."""


def demonstrated_by(settings: Settings) -> DatasetSettings:
    """Returns where demonstrations come from, with a dataset as demonstrator looked up.

    ``dataset=scripted`` means the environment's demonstrator. Where ``env.demonstrator`` is the
    path of a manifest, that is what it stands for.
    """
    dataset, env = settings.dataset, settings.env
    named = None if isinstance(env, TownSettings) else env.demonstrator
    if not isinstance(dataset, ScriptedDatasetSettings) or not is_dataset_path(named):
        return dataset
    assert named is not None
    return ManifestDatasetSettings(
        kind="manifest",
        manifest=named,
        allow_external_paths=False,
        recompute_log_probs=dataset.recompute_log_probs,
        batching=dataset.batching,
    )


def play_and_keep(
    make_env: Callable[[int], LaneEnv],
    policy_name: str,
    *,
    worlds: int,
    ticks: int,
    seed: int,
    rng: np.random.Generator,
    watch: Watch | None = None,
) -> Capture:
    """Builds an environment, has a named policy play in it, and returns what it did.

    Args:
        make_env: builds the environment with a number of worlds.
        policy_name: ``demonstrator``, ``random``, or the path of a checkpoint.
        worlds: worlds side by side.
        ticks: steps of each world, > 0.
        seed: the worlds' seed.
        rng: source of the policy's choices.
        watch: told of the progress.

    Raises:
        UserError: if the policy cannot be had, or ticks or worlds are not positive.
    """
    if worlds < 1:
        raise UserError(f"worlds: a capture needs at least 1, got {worlds}")
    env = make_env(worlds)
    try:
        if policy_name == "demonstrator":
            policy = env.demonstrator()
        else:
            policy = build_player(policy_name, env.lane_spec)
        return capture_rollout(env, policy, ticks=ticks, seed=seed, rng=rng, progress=watch)
    finally:
        env.close()
