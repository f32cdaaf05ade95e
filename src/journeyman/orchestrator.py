"""Builds what a run needs, runs it, and is the facade for Python users."""

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from journeyman.checkpoint import Checkpoint
from journeyman.context import AnnealRatio, TrainingContext
from journeyman.data.replay import ReplayDataset
from journeyman.data.trajectory import Demonstrations
from journeyman.env.build import lane_spec, make_env
from journeyman.env.protocol import LaneEnv
from journeyman.errors import UserError
from journeyman.preflight import preflight
from journeyman.reporting.progress import ConsoleProgress, SilentProgress
from journeyman.reporting.summary import print_summary
from journeyman.results import (
    AnnealSummary,
    CaptureResult,
    ReplaySummary,
    RunResult,
    TrainingSummary,
)
from journeyman.seeding import SeedPlan, run_token
from journeyman.services.demonstrations import capture_dataset, gather_demonstrations
from journeyman.session import RunSession
from journeyman.settings.root import Settings
from journeyman.settings.strategy import CaptureSettings, PPOSettings
from journeyman.strategies.registry import load_strategy, require_torch

if TYPE_CHECKING:
    from journeyman.learning.policy import TorchPolicy


class Orchestrator:
    """Runs what a configuration says.

    ``run`` and the other ``run_*`` methods that train open a run folder and a tracked run each;
    captures and replays called from Python work in memory, unless told where to save.

    >>> settings = compose_settings(["debug=fast"])             # doctest: +SKIP
    >>> summary = Orchestrator(settings).run()                  # doctest: +SKIP
    >>> summary.status, summary.final.episode_return.mean       # doctest: +SKIP

    Args:
        settings: a validated configuration (``composition.compose_settings`` makes one).
        run_dir: folder of the run; None: a new one under ``settings.outputs``.
        overrides: what was asked for on the command line, for names and tags.
        show: display progress and the final table on the terminal.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        run_dir: str | Path | None = None,
        overrides: Sequence[str] = (),
        show: bool = False,
    ) -> None:
        self.settings = settings
        self.run_dir = None if run_dir is None else Path(run_dir).resolve()
        self._overrides = tuple(overrides)
        self._progress = ConsoleProgress() if show else SilentProgress()
        self._anneal_ratio = AnnealRatio()

    def run(self, start: Checkpoint | None = None) -> RunResult:
        """Runs ``settings.strategy``.

        Args:
            start: state to train on from; None: an untrained policy.

        Raises:
            UserError: for what the user can mend, before anything is written.
            TrainingError: if training met NaN or infinity; checkpoints remain.
        """
        return self._tracked(self.settings, start)

    def run_bc(self, start: Checkpoint | None = None) -> TrainingSummary:
        """Imitates the demonstrations."""
        settings = self._with_strategy("bc", self.settings.bc())
        return cast(TrainingSummary, self._tracked(settings, start))

    def run_ppo(self, start: Checkpoint | None = None) -> TrainingSummary:
        """Practises by PPO, from ``start`` or from an untrained policy."""
        settings = self._with_strategy("ppo", self.settings.ppo())
        return cast(TrainingSummary, self._tracked(settings, start))

    def run_rollout_ppo(
        self,
        *,
        ticks: int,
        worlds: int | None = None,
        updates: int = 1,
        start: Checkpoint | None = None,
    ) -> TrainingSummary:
        """Practises on live rollouts of a given size.

        Args:
            ticks: steps of each lane in a rollout, > 1.
            worlds: worlds practised in; None: as the settings say.
            updates: rollouts, each followed by its optimisation.
            start: state to train on from; None: an untrained policy.
        """
        settings = self._with_strategy("ppo", self.settings.ppo())
        changes: dict[str, int] = {"rollout_ticks": ticks, "updates": updates}
        if worlds is not None:
            changes["worlds"] = worlds
        ppo = PPOSettings.model_validate(settings.strategy.model_dump() | changes)
        settings = settings.model_copy(update={"strategy": ppo})
        return cast(TrainingSummary, self._tracked(settings, start))

    def run_anneal(self, start: Checkpoint | None = None) -> AnnealSummary:
        """Goes through the schedule of ``settings.anneal``."""
        if self.settings.strategy.kind != "anneal":
            raise UserError(
                "run_anneal needs settings with strategy=anneal, "
                f"got strategy={self.settings.strategy.kind}"
            )
        return cast(AnnealSummary, self._tracked(self.settings, start))

    def capture_rollout(
        self,
        *,
        ticks: int,
        worlds: int = 1,
        policy: str = "demonstrator",
        save_to: str | Path | None = None,
        prefix: str = "rollout_sample",
    ) -> CaptureResult:
        """Plays a policy and keeps its trajectories.

        Args:
            ticks: steps of each world, > 0.
            worlds: worlds side by side.
            policy: ``demonstrator``, ``random``, or the path of a checkpoint.
            save_to: folder for npz, json, manifest and metrics; None: nothing is written.
            prefix: file names start with this.
        """
        if ticks < 1:
            raise UserError(f"capture_rollout: ticks must be at least 1, got {ticks}")
        settings = CaptureSettings(
            kind="capture",
            policy=policy,
            worlds=worlds,
            ticks=ticks,
            save=save_to is not None,
            prefix=prefix,
        )
        from journeyman.strategies.capture import capture

        return capture(
            self._context(self.settings, Path(save_to or "."), None),
            settings,
            folder=None if save_to is None else Path(save_to),
        )
