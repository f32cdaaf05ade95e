"""Builds what a run needs, runs it, and is the facade for Python users."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from threadpoolctl import threadpool_limits

from journeyman.checkpoint import Checkpoint
from journeyman.context import AnnealRatio, TrainingContext
from journeyman.data.replay import ReplayDataset
from journeyman.data.storage import load_samples
from journeyman.data.trajectory import Demonstrations
from journeyman.env.build import lane_spec, make_env
from journeyman.env.protocol import LaneEnv
from journeyman.errors import UserError
from journeyman.heap import importing, settle
from journeyman.preflight import preflight
from journeyman.reporting.profile import TRACE, keep_profile, profile_table
from journeyman.reporting.progress import ConsoleProgress, SilentProgress
from journeyman.reporting.summary import print_summary
from journeyman.results import (
    AnnealSummary,
    CaptureResult,
    ReplaySummary,
    RunResult,
    TrainingSummary,
)
from journeyman.run_folder import disk_errors, held, new_run_dir, resume_point, start_of
from journeyman.seeding import SeedPlan
from journeyman.services import dataset as dataset_service
from journeyman.services.capture_cache import CaptureCache
from journeyman.services.demonstrations import demonstrated_by, play_and_keep
from journeyman.services.rollout import Capture, capture_result, save_capture
from journeyman.session import RunSession
from journeyman.settings.dataset import ManifestDatasetSettings, RolloutDatasetSettings
from journeyman.settings.root import Settings
from journeyman.settings.strategy import PPOSettings
from journeyman.strategies.registry import load_strategy, require_torch
from journeyman.tracking.composite import prepare_tracking

if TYPE_CHECKING:
    from journeyman.learning.policy import TorchPolicy


class Orchestrator:
    """Runs what a configuration says.

    ``run`` and the ``run_*`` methods that train open a run folder and a tracked run each;
    captures and replays called from Python work in memory, unless told where to save.

    Args:
        settings: a validated configuration (``composition.compose_settings`` makes one).
        run_dir: folder of the run; None: a new one under ``settings.outputs``.
        overrides: what was asked for on the command line, for names and tags; None: nobody knows.
        show: display progress and the final table on the terminal.
        asked_to_stop: asked at every safe point; a signal's number ends the run as that signal.
        capture_cache: where captured demonstrations are shared with other runs; None: they are not.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        run_dir: str | Path | None = None,
        overrides: Sequence[str] | None = None,
        show: bool = False,
        asked_to_stop: Callable[[], int | None] | None = None,
        capture_cache: CaptureCache | None = None,
    ) -> None:
        self.settings = settings
        self.run_dir = None if run_dir is None else Path(run_dir).resolve()
        self._overrides = None if overrides is None else tuple(overrides)
        self._progress = ConsoleProgress() if show else SilentProgress()
        self._anneal_ratio = AnnealRatio()
        self._asked_to_stop, self._capture_cache = asked_to_stop or (lambda: None), capture_cache

    def run(self, start: Checkpoint | None = None) -> RunResult:
        """Runs ``settings.strategy``.

        Args:
            start: state to train on from; None: an untrained policy.

        Raises:
            UserError: for what the user can mend, before anything is written.
            TrainingError: if training met NaN or infinity; checkpoints remain.
        """
        return self._tracked(self.settings, start)

    def resume(self) -> RunResult:
        """Goes on with the run in ``run_dir`` from its last checkpoint, or from its beginning.

        It ends with the weights and metrics of a run that was never interrupted.

        Raises:
            UserError: there is no such folder, its run is finished, or it is still at work.
        """
        if self.run_dir is None or not self.run_dir.is_dir():
            raise UserError(f"{self.run_dir}: no run folder to resume")
        return self._tracked(self.settings, start_of(self.run_dir), resume=True)

    def run_bc(self, start: Checkpoint | None = None) -> TrainingSummary:
        """Imitates the demonstrations, and plays the policy before and after."""
        return cast(TrainingSummary, self._tracked(self._as("bc", self.settings.bc()), start))

    def run_ppo(self, start: Checkpoint | None = None) -> TrainingSummary:
        """Practises by PPO, from ``start`` or from an untrained policy."""
        return cast(TrainingSummary, self._tracked(self._as("ppo", self.settings.ppo()), start))

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
            ticks: steps of each lane in a rollout, at least 2.
            worlds: worlds practised in; None: as the settings say.
            updates: rollouts, each followed by its optimisation.
            start: state to train on from; None: an untrained policy.

        Raises:
            pydantic.ValidationError: if a number is out of the settings' bounds.
        """
        settings = self._as("ppo", self.settings.ppo())
        changes = {"rollout_ticks": ticks, "updates": updates}
        if worlds is not None:
            changes["worlds"] = worlds
        ppo = PPOSettings.model_validate(settings.strategy.model_dump() | changes)
        settings = settings.model_copy(update={"strategy": ppo})
        return cast(TrainingSummary, self._tracked(settings, start))

    def run_anneal(self, start: Checkpoint | None = None) -> AnnealSummary:
        """Goes through the schedule of ``settings.anneal``."""
        kind = self.settings.strategy.kind
        if kind != "anneal":
            raise UserError(f"run_anneal needs strategy=anneal, these settings have {kind}")
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
            worlds: worlds side by side, > 0.
            policy: ``demonstrator``, ``random``, or the path of a checkpoint.
            save_to: folder for npz, json, manifest and metrics; None: nothing is written.
            prefix: file names start with this.
        """
        began = time.monotonic()
        seeds = SeedPlan(self.settings.seed)
        capture = self._capture(policy, worlds, ticks, seeds.integer("env"), seeds)
        manifest = None
        if save_to is not None:
            metadata = {"seed": self.settings.seed}
            manifest = save_capture(capture, Path(save_to), prefix=prefix, metadata=metadata)
        return capture_result(capture, manifest, time.monotonic() - began)

    @functools.cached_property
    def _replay_dataset(self) -> ReplayDataset:
        return self.build_replay_dataset()

    def build_replay_dataset(self) -> ReplayDataset:
        """Returns the dataset of ``settings.dataset`` as homogeneous batches."""
        dataset = demonstrated_by(self.settings)
        if isinstance(dataset, ManifestDatasetSettings):
            return dataset_service.build_replay_dataset(dataset)
        seeds = SeedPlan(self.settings.seed)
        return dataset_service.replay_dataset_from_capture(
            self._capture_dataset(seeds), dataset.batching
        )

    def run_replay(self, sample: str | Path) -> ReplaySummary:
        """Reads one sample (the path of its npz) and returns what it holds."""
        trajectories = load_samples(Path(sample))
        batching, label = self.settings.dataset.batching, Path(sample).stem
        dataset = ReplayDataset.from_trajectories(trajectories, batching, label=label)
        return dataset_service.run_replay(dataset, rng=self._replay_rng())

    def run_replay_batch(self, index: int = 0) -> dict[str, Any]:
        """Returns the summary of one batch of the dataset, in its unshuffled order."""
        return dataset_service.run_replay_batch(self._replay_dataset, index)

    def run_replay_dataset(self, epochs: int = 1) -> ReplaySummary:
        """Reads the whole dataset batch by batch and returns what it holds."""
        rng = self._replay_rng()
        return dataset_service.run_replay(self._replay_dataset, rng=rng, epochs=epochs)

    def _replay_rng(self) -> np.random.Generator:
        return SeedPlan(self.settings.seed)["minibatch"]

    def build_policy_network(self) -> "TorchPolicy":
        """Returns the untrained policy of these settings, ready to act; needs torch."""
        require_torch(self.settings.strategy.kind)
        from journeyman.learning.devices import resolve_device
        from journeyman.learning.policy import initial_checkpoint, policy_from_checkpoint

        checkpoint = initial_checkpoint(
            self.settings.policy, lane_spec(self.settings.env), SeedPlan(self.settings.seed)
        )
        device = resolve_device(self.settings.runtime.device)
        return policy_from_checkpoint(checkpoint, "untrained", device)

    @property
    def current_anneal_ratio(self) -> float:
        """The weight of the demonstration loss, as of the last update."""
        return self._anneal_ratio.current

    def set_anneal_ratio(self, ratio: float) -> None:
        """Pins the weight of the demonstration loss until the next stage begins.

        For use while a schedule runs, from another thread: a stage that begins goes by its own
        schedule again, and outside a schedule there is no such loss.

        Raises:
            ValueError: if it is outside [0, 1].
        """
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(f"the anneal ratio must be in [0, 1], got {ratio}")
        self._anneal_ratio.pinned = self._anneal_ratio.current = ratio

    def _as(self, kind: str, strategy: object) -> Settings:
        """Returns the settings with another strategy, of which they hold the values already."""
        if strategy is None:
            raise UserError(
                f"run_{kind} needs settings of strategy={kind} or strategy=anneal, "
                f"these have strategy={self.settings.strategy.kind}"
            )
        return self.settings.model_copy(update={"strategy": strategy})

    def _tracked(
        self, settings: Settings, start: Checkpoint | None, *, resume: bool = False
    ) -> RunResult:
        """Opens a run, does the strategy's work in it, and closes it with its true status."""
        if settings.plan:
            raise UserError(
                "plan: true draws the schedule and trains nothing, which is the command line's "
                "doing; to run it leave plan out, to draw it call journeyman.reporting.plan"
            )
        prepare_tracking(settings.tracking)  # takes as long as importing torch does
        with importing():
            preflight([settings], resumed=resume)
            strategy = load_strategy(settings.strategy.kind)
        settle()
        run_dir = self.run_dir or new_run_dir(settings.outputs_path)
        with disk_errors(run_dir), held(run_dir):
            latest, position = resume_point(run_dir) if resume else (None, None)
            session = RunSession(settings, run_dir, self._overrides, self._progress, position)
            with threadpool_limits(settings.runtime.torch_threads), session:
                context = self._context(settings, session, latest)
                first = None if start is None else start.as_start(context.seeds.state())
                if first is not None:
                    session.tracker.artifact(context.save(first, "start"), "checkpoints")
                began = time.perf_counter()
                result = strategy.run(context, first)
                shares = context.spans.shares(time.perf_counter() - began)
                if settings.profile:
                    keep_profile(shares, run_dir, session.tracker)
                session.conclude(result, context.seconds)
        if isinstance(self._progress, ConsoleProgress):
            console = self._progress.console
            print_summary(result, console, confidence=settings.evaluation.confidence)
            if settings.profile:
                console.print(profile_table(shares))
            console.print(f"run folder: {run_dir}", markup=False)
        return result

    def _context(
        self, settings: Settings, session: RunSession, latest: Checkpoint | None
    ) -> TrainingContext:
        context = TrainingContext(
            settings=settings,
            seeds=SeedPlan(settings.seed),
            run_dir=session.run_dir,
            tracker=session.tracker,
            progress=self._progress,
            lane_spec=lane_spec(settings.env),
            environment=self._environment,
            load_demonstrations=lambda: self._demonstrations(context),
            load_replay_dataset=self.build_replay_dataset,
            stop_requested=lambda: session.signals.take() or self._asked_to_stop(),
            tracker_position=lambda: session.tracker.position,
            resumed=latest,
            anneal_ratio=self._anneal_ratio,
            trace=session.run_dir / TRACE if settings.profile == "trace" else None,
        )
        session.describe_course = lambda: context.describe_course()
        return context

    def _environment(self, num_worlds: int, social_stage: str) -> LaneEnv:
        return make_env(
            self.settings.env,
            num_worlds=num_worlds,
            social_stage=social_stage,
            town_threads=self.settings.runtime.town_threads,
        )

    def _demonstrations(self, context: TrainingContext) -> Demonstrations:
        dataset = demonstrated_by(self.settings)
        context.progress.begin("demonstrations")
        if isinstance(dataset, ManifestDatasetSettings):
            demonstrations = dataset_service.load_demonstrations(dataset)
            dataset_service.check_against(context.lane_spec, demonstrations)
        else:
            # Generators of its own: a resumed run, whose others stand elsewhere, captures the same.
            capture = self._capture_dataset(SeedPlan(self.settings.seed), context.watch)
            demonstrations = capture.demonstrations
            if dataset.save:
                metadata = {"seed": self.settings.seed}
                folder = context.run_dir / "capture"
                save_capture(capture, folder, prefix="rollout_sample", metadata=metadata)
        context.progress.end(f"{len(demonstrations):,} transitions of {demonstrations.label}")
        return demonstrations

    def _capture_dataset(self, seeds: SeedPlan, watch: Any = None) -> Capture:
        dataset = self.settings.dataset
        assert not isinstance(dataset, ManifestDatasetSettings)
        policy = dataset.policy if isinstance(dataset, RolloutDatasetSettings) else "demonstrator"
        size, seed = (dataset.worlds, dataset.ticks), seeds.integer("demonstrator")
        play = functools.partial(self._capture, policy, *size, seed, seeds, watch)
        if self._capture_cache is None:
            return play()
        stage = self.settings.social_reward.stage_at(0)
        about = {"policy": policy, "size": size, "seed": seed, "social_stage": stage}
        rng, wait = seeds["demonstrator"], lambda: watch and watch(0, dataset.ticks)
        return self._capture_cache.get(self.settings, about, rng, play=play, wait=wait)

    def _capture(
        self, policy: str, worlds: int, ticks: int, seed: int, seeds: SeedPlan, watch: Any = None
    ) -> Capture:
        stage = self.settings.social_reward.stage_at(0)
        return play_and_keep(
            lambda count: self._environment(count, stage),
            policy,
            worlds=worlds,
            ticks=ticks,
            seed=seed,
            rng=seeds["demonstrator"],
            watch=watch,
        )
