"""Apprenticeship: behaviour cloning of demonstrations, judged on trajectories held out."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from journeyman.checkpoint import Checkpoint
from journeyman.context import TrainingContext
from journeyman.data.trajectory import Demonstrations
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.learning.bc import EpochFigures, rarity_weights, train_epoch
from journeyman.learning.demonstrations import (
    DemonstrationTensors,
    check_demonstrations,
    split_rows,
)
from journeyman.learning.devices import resolve_device
from journeyman.learning.judgement import HeldOutFigures, choice_figures, held_out_figures
from journeyman.learning.network import ActorCritic
from journeyman.learning.normalization import RunningMoments
from journeyman.learning.optimizers import FlatOptimizer, adamw
from journeyman.learning.policy import (
    load_weights,
    network_from_checkpoint,
    require_same_spec,
    weights,
)
from journeyman.learning.practice import finished_schedule, restore_streams
from journeyman.policies.numpy_actor_critic import Whitening
from journeyman.results import BCTrainingResult
from journeyman.services.imitation import imitation_problems
from journeyman.settings.strategy import BCSettings
from journeyman.strategies.base import StageOutcome
from journeyman.strategies.keeping import Keeper


def train_bc(
    context: TrainingContext,
    start: Checkpoint,
    settings: BCSettings,
    *,
    epochs: int | None = None,
    bc_weight: Callable[[int], float] | None = None,
) -> StageOutcome:
    """Imitates the run's demonstrations; the best epoch's weights are kept.

    Args:
        context: the run's surroundings.
        start: where to go on from, also in the middle of a stage.
        settings: of behaviour cloning.
        epochs: length of the stage; None: ``settings.epochs``.
        bc_weight: multiplies the step size at each epoch of the stage, from 0 on (AdamW does
            not notice the scale of a loss, so weighting the loss alone would do nothing);
            None: 1.

    Raises:
        UserError: the policy, the settings and the demonstrations do not fit together, nothing
            can be held out, what is held out says nothing, or the device is absent.
        TrainingError: something was not finite, naming it, the epoch and the minibatch.
    """
    began = time.perf_counter()
    require_same_spec(start, context.lane_spec)
    torch.set_num_threads(context.settings.runtime.torch_threads)
    device = resolve_device(context.settings.runtime.device)
    restore_streams(context.seeds, start, ("minibatch",))
    network = network_from_checkpoint(start, device)
    lesson = _Lesson.prepare(context, start, settings, network)
    keeper = Keeper(context, start, settings.epochs if epochs is None else epochs)
    with keeper.rescue():
        checkpoint, course = _imitate(context, start, settings, network, lesson, keeper, bc_weight)
    result = lesson.result(
        network,
        course,
        settings,
        manifest=getattr(context.settings.dataset, "manifest", None),
        device=str(device),
        seconds=time.perf_counter() - began,
        digest=checkpoint.digest("policy"),
    )
    return StageOutcome(result=result, checkpoint=checkpoint)


def _imitate(
    context: TrainingContext,
    start: Checkpoint,
    settings: BCSettings,
    network: ActorCritic,
    lesson: "_Lesson",
    keeper: Keeper,
    bc_weight: Callable[[int], float] | None,
) -> tuple[Checkpoint, "_Course"]:
    """The training loop; leaves the best epoch's weights in the network."""
    optimizer = adamw(network, settings.learning_rate, settings.weight_decay)
    optimizer.restore(start.part("bc_optimizer"))
    course, best = _Course.of(start), start.part("bc_best")
    counters = dict(start.state["counters"])
    rng, count = context.seeds["minibatch"], keeper.count

    def now() -> Checkpoint:
        parts = _parts(network, optimizer, lesson) | {"bc_best": best}
        return _checkpoint(context, start, parts, counters, course, settings)

    while course.done < count and not course.exhausted(settings.patience):
        if keeper.asked_to_stop():
            keeper.stop(now())
        began, epoch = time.perf_counter(), course.done + 1
        weight = 1.0 if bc_weight is None else bc_weight(course.done)
        learning_rate = settings.learning_rate * weight
        optimizer.set_learning_rate(learning_rate)
        with context.spans.span("update"):
            trained = train_epoch(network, optimizer, lesson.train, settings, rng=rng, epoch=epoch)
        with context.spans.span("evaluate"):
            held_out = held_out_figures(network, lesson.held_out, lesson.decisions, epoch=epoch)
        course = course.after(trained, held_out)
        if course.best_epoch == epoch:
            best = weights(network)
        counters["bc_epochs"] += 1
        seconds = time.perf_counter() - began
        samples_per_sec = len(lesson.train) / seconds
        _emit(context, trained, held_out, learning_rate, samples_per_sec, counters)
        context.progress.advance(epoch, count, **_shown(held_out))
        if keeper.wants(epoch, seconds):
            keeper.keep(epoch, now())
    load_weights(network, best)
    parts = _parts(network, optimizer, lesson)
    return _checkpoint(context, start, parts, counters, None, settings), course


@dataclass(frozen=True)
class _Course:
    """How far a bc stage has come; JSON-able, so that it can be resumed in the middle."""

    done: int = 0
    best_epoch: int = 0
    best_loss: float | None = None
    loss: float = 0.0
    accuracy: float | None = None

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "_Course":
        schedule = checkpoint.state.get("schedule", {})
        if schedule.get("stage_update", 0) == 0 or "imitation" not in schedule:
            return cls()
        return cls(**schedule["imitation"])

    def exhausted(self, patience: int) -> bool:
        return patience > 0 and self.done - self.best_epoch >= patience

    def after(self, trained: EpochFigures, held_out: HeldOutFigures) -> "_Course":
        course = replace(self, done=self.done + 1, loss=trained.loss, accuracy=trained.accuracy)
        if self.best_loss is None or held_out.loss < self.best_loss:
            course = replace(course, best_epoch=course.done, best_loss=held_out.loss)
        return course


@dataclass(frozen=True, kw_only=True)
class _Lesson:
    """The demonstrations, split and as the policy sees them."""

    spec: LaneSpec
    train: DemonstrationTensors
    held_out: DemonstrationTensors
    decisions: NDArray[np.bool_]
    """Of the held-out samples."""
    train_decisions: NDArray[np.bool_]
    normalizer: Mapping[str, NDArray[Any]]
    """The checkpoint's ``normalizer`` part, with feature statistics if the policy whitens."""

    @classmethod
    def prepare(
        cls,
        context: TrainingContext,
        start: Checkpoint,
        settings: BCSettings,
        network: ActorCritic,
    ) -> "_Lesson":
        demonstrations, spec = context.demonstrations(), context.lane_spec
        problems = imitation_problems(settings, spec)
        if problems:
            raise UserError(problems)
        check_demonstrations(demonstrations, spec)
        rows = split_rows(demonstrations, settings.val_fraction, context.seeds.integer("split"))
        decisions = demonstrations.decisions()
        _refuse_meaningless(demonstrations, rows[1], decisions)
        normalizer = _statistics(context, start, demonstrations, rows[0])
        whitening = Whitening.from_part(normalizer)
        train, held_out = (
            DemonstrationTensors.from_rows(
                demonstrations, part, needs_map=network.needs_map, device=network.device
            ).whitened(whitening)
            for part in rows
        )
        if settings.class_weighting == "inverse_frequency":
            sizes = spec.action_sizes or (len(spec.action_names),)
            chosen = train.actions.cpu().numpy().reshape(len(train), -1)
            rarity = torch.from_numpy(rarity_weights(chosen, sizes)).to(network.device)
            train = replace(train, weights=train.weights * rarity)
        return cls(
            spec=spec,
            train=train,
            held_out=held_out,
            decisions=decisions[rows[1]],
            train_decisions=decisions[rows[0]],
            normalizer=normalizer,
        )

    def result(
        self,
        network: ActorCritic,
        course: _Course,
        settings: BCSettings,
        *,
        manifest: str | None,
        device: str,
        seconds: float,
        digest: str,
    ) -> BCTrainingResult:
        """Judges the kept weights."""
        best = held_out_figures(network, self.held_out, self.decisions, epoch=course.best_epoch)
        choices = choice_figures(
            best,
            self.spec,
            train=self.train.actions.cpu().numpy(),
            train_decisions=self.train_decisions,
            held_out=self.held_out.actions.cpu().numpy(),
            decisions=self.decisions,
        )
        figures: dict[str, Any] = {**best.named(), **vars(choices)}
        return BCTrainingResult(
            manifest=manifest,
            accuracy=course.accuracy,
            loss=course.loss,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            epochs=course.done,
            best_epoch=course.best_epoch,
            weight_decay=settings.weight_decay,
            device=device,
            duration_sec=seconds,
            samples=len(self.train),
            val_samples=len(self.held_out),
            weights_digest=digest,
            **figures,
        )


def _refuse_meaningless(
    demonstrations: Demonstrations, rows: NDArray[np.int64], decisions: NDArray[np.bool_]
) -> None:
    """Raises ``UserError`` where held-out rows (S,) could not tell skill from none."""
    held_out = f"demonstrations {demonstrations.label}: no held-out"
    if not decisions[rows].any():
        raise UserError(
            f"{held_out} step has a real choice (the mask allows only forced actions), so "
            "accuracy means nothing; hold out more or capture longer"
        )
    actions = demonstrations.actions[rows]
    if demonstrations.lane_spec.action_kind == "box" and (actions == actions[0]).all():
        raise UserError(
            f"{held_out} action differs from another, so explained variance means nothing; "
            "hold out more or capture longer"
        )


def _statistics(
    context: TrainingContext,
    start: Checkpoint,
    demonstrations: Demonstrations,
    rows: NDArray[np.int64],
) -> dict[str, NDArray[Any]]:
    """Returns the ``normalizer`` part: feature statistics are fitted if practice will whiten.

    Practice goes on from the weights learned here, so both must see the same features.
    """
    part = start.part("normalizer")
    ppo = context.settings.ppo()
    if ppo is None or not ppo.normalize_features or "feature_count" in part:
        return part
    moments = RunningMoments(len(context.lane_spec.feature_names))
    moments.update(demonstrations.features[rows])
    return {**part, **moments.arrays("feature")}


def _emit(
    context: TrainingContext,
    trained: EpochFigures,
    held_out: HeldOutFigures,
    learning_rate: float,
    samples_per_sec: float,
    counters: Mapping[str, int],
) -> None:
    metrics = {
        "loss": trained.loss,
        "grad_norm": trained.grad_norm,
        **held_out.metrics(),
        "lr": learning_rate,
        "samples_per_sec": samples_per_sec,
    }
    if trained.accuracy is not None:
        metrics["accuracy"] = trained.accuracy
    if trained.mean_absolute_error is not None:
        metrics["mean_absolute_error"] = trained.mean_absolute_error
    context.emit("bc", metrics, counters["bc_epochs"])


def _shown(held_out: HeldOutFigures) -> dict[str, float]:
    """Returns the figure that the progress line has room for."""
    if held_out.decision_accuracy is not None:
        return {"val_accuracy": held_out.decision_accuracy}
    return {"val_explained_variance": held_out.metrics()["val_explained_variance"]}


def _parts(
    network: ActorCritic, optimizer: FlatOptimizer, lesson: _Lesson
) -> dict[str, Mapping[str, NDArray[Any]]]:
    return {
        "policy": weights(network),
        "bc_optimizer": optimizer.arrays(),
        "bc_best": {},
        "normalizer": lesson.normalizer,
    }


def _checkpoint(
    context: TrainingContext,
    start: Checkpoint,
    parts: Mapping[str, Mapping[str, NDArray[Any]]],
    counters: Mapping[str, int],
    course: _Course | None,
    settings: BCSettings,
) -> Checkpoint:
    """Returns the state after an epoch; without a course, between stages."""
    schedule = finished_schedule(start)
    if course is not None:
        schedule |= {"stage_update": course.done, "imitation": asdict(course)}
    return start.with_parts(
        parts,
        generators=context.seeds.state(),
        counters=dict(counters),
        schedule=schedule,
    )
