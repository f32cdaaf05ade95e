"""Demonstrations of a run, wherever its dataset settings say they come from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from journeyman.data.trajectory import Demonstrations
from journeyman.env.protocol import LaneEnv, LaneSpec
from journeyman.services.dataset import check_against, load_demonstrations
from journeyman.services.players import build_player
from journeyman.services.rollout import Capture, capture_rollout, save_capture
from journeyman.settings.dataset import (
    DatasetSettings,
    ManifestDatasetSettings,
    RolloutDatasetSettings,
    ScriptedDatasetSettings,
)

Watch = Callable[[int, int], None]
