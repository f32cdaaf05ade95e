"""What a strategy is handed: everything it may use, nothing it has to look up."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from journeyman.checkpoint import Checkpoint, save_checkpoint
from journeyman.data.demonstrations import split_rows
from journeyman.env.protocol import LaneEnv, LaneSpec
from journeyman.seeding import SeedPlan
from journeyman.settings.root import Settings
from journeyman.settings.schedule import Scheduled, value_at
from journeyman.timing import Spans
from journeyman.tracking.protocol import DatasetInfo, Tracker

if TYPE_CHECKING:
    from journeyman.data.replay import ReplayDataset
    from journeyman.data.trajectory import Demonstrations

MetricValue = float | int | bool | str

HEALTH = ("kl_divergence", "grad_norm", "batch_entropy_mean")
"""The figures of each PPO update that guardrails look back on."""


class RunStopped(BaseException):
    """A signal asked the run to end; what is saved is whole.

    Not an ``Exception``: nothing on the way up may take it for a failure and go on.

    Attributes:
        signal_number: the signal, so that the process can exit with 128 + number.
    """

    def __init__(self, signal_number: int) -> None:
        self.signal_number = signal_number
        super().__init__(f"stopped by signal {signal_number}")


class Progress(Protocol):
    """A live display of what the run is doing."""

    def begin(self, name: str) -> None:
        """Opens a line for a piece of work."""
        ...

    def advance(self, done: int, total: int, **figures: float) -> None:
        """Moves the current line on."""
        ...

    def end(self, note: str = "") -> None:
        """Closes the current line with a word on how it went."""
        ...

    def close(self) -> None:
        """Takes the display off the screen, whatever line is open."""
        ...


@dataclass
class AnnealRatio:
    """The weight of the demonstration loss now; setting it pins it until the next stage."""

    current: float = 0.0
    pinned: float | None = None

    def begin_stage(self) -> None:
        """Lets go of a pinned weight: the stage's own schedule counts."""
        self.pinned = None

    def at(self, scheduled: Scheduled, index: int, count: int) -> float:
        """Returns the weight at update ``index`` of ``count`` and remembers it as current."""
        scheduled_now = value_at(scheduled, index, count)
        self.current = scheduled_now if self.pinned is None else self.pinned
        return self.current


@dataclass(kw_only=True)
class TrainingContext:
    """The surroundings of one run.

    Attributes:
        settings: the whole configuration.
        seeds: the named generators; their states travel in checkpoints.
        run_dir: absolute run folder.
        tracker: where metrics go.
        progress: the live display.
        lane_spec: what policies see and do in this run's environment.
        environment: builds lanes: (number of worlds, social stage) -> environment.
        load_demonstrations: captures or reads the demonstrations; called once, when needed.
        load_replay_dataset: captures or reads the dataset as batches.
        stop_requested: signal number asked for by the outside, or None.
        tracker_position: where the metrics log stands, for checkpoints.
        describe_course: what the strategy knows besides the policy, JSON-able, for checkpoints.
        resumed: the last checkpoint of this very run, which was ended too early; None: it is new.
        anneal_ratio: the current weight of the demonstration loss.
        telemetry: ``HEALTH`` of every PPO update since the list was last cleared.
        spans: where the wall time goes.
        trace: where a profiler's trace of a few updates goes; None: none is wanted.
        emitted: calls of ``emit`` so far, those included that the tracker refused.
    """

    settings: Settings
    seeds: SeedPlan
    run_dir: Path
    tracker: Tracker
    progress: Progress
    lane_spec: LaneSpec
    environment: Callable[[int, str], LaneEnv]
    load_demonstrations: Callable[[], "Demonstrations"]
    load_replay_dataset: Callable[[], "ReplayDataset"]
    stop_requested: Callable[[], int | None]
    tracker_position: Callable[[], Mapping[str, Any]] = dict
    describe_course: Callable[[], Mapping[str, Any]] = dict
    resumed: Checkpoint | None = None
    anneal_ratio: AnnealRatio = field(default_factory=AnnealRatio)
    telemetry: list[Mapping[str, MetricValue]] = field(default_factory=list)
    spans: Spans = field(default_factory=Spans)
    trace: Path | None = None
    emitted: int = field(default=0, init=False)
    _began: float = field(default_factory=time.monotonic, init=False)
    _demonstrations: "Demonstrations | None" = field(default=None, init=False)
    _replay_dataset: "ReplayDataset | None" = field(default=None, init=False)

    def make_env(self, num_worlds: int, social_stage: str) -> LaneEnv:
        """Builds the run's environment with this many worlds under a social stage."""
        return self.environment(num_worlds, social_stage)

    def demonstrations(self) -> "Demonstrations":
        """Returns the run's demonstrations, captured or read on the first call."""
        if self._demonstrations is None:
            with self.spans.span("data"):
                self._demonstrations = self.load_demonstrations()
                self._tell_demonstrations(self._demonstrations)
        return self._demonstrations

    def replay_dataset(self) -> "ReplayDataset":
        """Returns the run's dataset as trajectories, captured or read on the first call."""
        if self._replay_dataset is None:
            with self.spans.span("data"):
                dataset = self._replay_dataset = self.load_replay_dataset()
                info = DatasetInfo(
                    name=dataset.label,
                    digest=dataset.digest,
                    source=dataset.origin,
                    context="replay" if self.settings.strategy.kind == "replay" else "training",
                    profile={
                        "transitions": dataset.transitions,
                        "trajectories": len(dataset.samples),
                    },
                )
                self.tracker.dataset(info)
        return self._replay_dataset

    def _tell_demonstrations(self, data: "Demonstrations") -> None:
        """Names demonstrations as an input, and those of them that no stage learns from."""
        profile: dict[str, int | str] = {
            "transitions": len(data),
            "trajectories": data.trajectories,
        }
        held_out: DatasetInfo | None = None
        fraction = self.settings.held_out_fraction()
        if fraction is not None:
            rows = split_rows(data, fraction, self.seeds.integer("split"))[1]
            profile["held_out_transitions"] = len(rows)
            held_out = DatasetInfo(
                name=f"{data.label}, held out",
                digest=hashlib.sha256(data.digest.encode() + rows.tobytes()).hexdigest(),
                source=data.origin,
                context="held-out",
                profile={
                    "transitions": len(rows),
                    "trajectories": len(np.unique(data.trajectory_ids[rows])),
                    "of": data.digest,
                },
            )
        info = DatasetInfo(
            name=data.label,
            digest=data.digest,
            source=data.origin,
            context="training",
            profile=profile,
        )
        for each in (info, held_out):
            if each is not None:
                self.tracker.dataset(each)

    def emit(self, group: str, metrics: Mapping[str, MetricValue], step: int) -> None:
        """Hands metrics to the tracker; the health of PPO updates is also kept for guardrails."""
        if group == "ppo":
            self.telemetry.append({name: metrics[name] for name in HEALTH if name in metrics})
        self.emitted += 1
        with self.spans.span("tracking"):
            self.tracker.log(group, metrics, step)

    def should_stop(self) -> None:
        """Raises ``RunStopped`` if a signal has asked the run to end."""
        number = self.stop_requested()
        if number is not None:
            raise RunStopped(number)

    def watch(self, done: int, total: int) -> None:
        """Moves the progress line on and stops if asked to: the callback of long services."""
        self.progress.advance(done, total)
        self.should_stop()

    def save(self, checkpoint: Checkpoint, name: str = "latest") -> Path:
        """Writes ``checkpoints/<name>.safetensors`` atomically and returns its path.

        The position of the metrics log and the strategy's course go with it, so that a resumed
        run knows which lines came after, and what it need not do again.

        Raises:
            OSError: it cannot be written; the one before is left as it is.
        """
        state: dict[str, Any] = {}
        if position := self.tracker_position():
            state["tracker"] = dict(position)
        if course := self.describe_course():
            state["course"] = {**course, "seconds": self.seconds}
        path = self.checkpoint_path(name)
        with self.spans.span("checkpoint"):
            save_checkpoint(checkpoint.with_parts({}, **state), path)
        return path

    def checkpoint_path(self, name: str) -> Path:
        """Returns where the run keeps a checkpoint of this name."""
        return self.run_dir / "checkpoints" / f"{name}.safetensors"

    @property
    def seconds(self) -> float:
        """Wall time of the run so far, with what a resumed one took up to its checkpoint."""
        before = 0.0 if self.resumed is None else float(self.resumed.state["course"]["seconds"])
        return before + time.monotonic() - self._began
