"""Recorded play for practice: read once, checked, its log-probabilities known.

Legend: S steps of all trajectories.
"""

import logging

import numpy as np
import torch
from numpy.typing import NDArray

from journeyman.checkpoint import Checkpoint
from journeyman.context import TrainingContext
from journeyman.errors import UserError
from journeyman.learning.practice import Practice
from journeyman.learning.replay import RecordedPlay, learn_statistics
from journeyman.learning.valuation import action_log_probs
from journeyman.services.dataset import check_against, unknown_log_probs
from journeyman.settings.strategy import PPOSettings

_LOG = logging.getLogger(__name__)


def recorded_play(
    context: TrainingContext, settings: PPOSettings, start: Checkpoint, device: torch.device
) -> tuple[RecordedPlay | None, Checkpoint]:
    """Returns the recorded play a stage learns from, and the checkpoint it starts from.

    What is fitted to the play is in that checkpoint: statistics where features or rewards are
    normalised and there were none, and recomputed log-probabilities, so that a stage resumed in
    its middle goes on with those of its start.

    Args:
        context: the run's surroundings.
        settings: of PPO; where they learn from rollouts alone there is no such play.
        start: what the stage was given, possibly in its middle.
        device: where the network is.

    Raises:
        UserError: the play does not fit the environment, nothing in it can be learned from, or
            its log-probabilities are unknown and are not to be recomputed.
    """
    if settings.data_mode == "rollout":
        return None, start
    dataset = context.replay_dataset()
    for warning in dataset.warnings:
        _LOG.warning("dataset %s: %s", dataset.label, warning)
    check_against(context.lane_spec, dataset)
    practice = Practice.resume(
        start,
        None,
        settings,
        context.seeds,
        device,
        lane_spec=context.lane_spec,
        social_stage="OFF",
    )
    play = RecordedPlay.of(
        (part for file in range(len(dataset.files)) for part in dataset.read(file)),
        context.lane_spec,
        label=dataset.label,
        needs_map=practice.network.needs_map,
    )
    if left_out := int((~play.usable).sum()):
        _LOG.warning(
            "dataset %s: %d of %d steps are left out: it was not recorded where they led",
            play.label,
            left_out,
            len(play),
        )
    learn_statistics(play, practice.normalizer)
    fitted = start.with_parts({"normalizer": practice.normalizer.arrays()})
    if context.settings.dataset.recompute_log_probs:
        log_probs = _at_the_stages_start(play, practice, start, dataset.digest)
        part = {"log_probs": log_probs}
        fitted = fitted.with_parts({"replay": part}, replay={"dataset": dataset.digest})
        return play.with_log_probs(log_probs), fitted
    if play.unknown:
        raise UserError(unknown_log_probs(dataset.label, play.unknown, len(play)))
    return play, fitted


def _at_the_stages_start(
    play: RecordedPlay, practice: Practice, start: Checkpoint, digest: str
) -> NDArray[np.float32]:
    """Returns log-probabilities (S,) of the policy as the stage began."""
    kept = start.part("replay")
    if kept and (start.state.get("replay") or {}).get("dataset") == digest:
        return kept["log_probs"]
    _LOG.warning(
        "dataset %s: its log-probabilities are replaced by those of the policy as the stage "
        "begins, as if this policy had acted; staleness is measured from there",
        play.label,
    )
    features = play.features
    if practice.normalizer.features is not None:
        features = practice.normalizer.features(features)
    return action_log_probs(practice.network, features, play.grid, play.mask, play.actions)
