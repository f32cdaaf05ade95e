"""The optimisation that follows a rollout.

Legend: B samples, M minibatches, K figures.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.errors import NotFiniteError
from journeyman.learning.batch import Minibatch, PracticeBatch, epoch_plan, minibatches
from journeyman.learning.demonstrations import DemonstrationTensors
from journeyman.learning.losses import (
    NormalisedAdvantages,
    PPOParts,
    imitation_loss,
    normalise_advantages,
    ppo_loss,
)
from journeyman.learning.network import ActorCritic
from journeyman.learning.optimizers import FlatOptimizer
from journeyman.learning.plain import PlainPractice, is_plain
from journeyman.settings.strategy import PPOSettings

FIGURES = (
    "loss_policy",
    "loss_value",
    "loss_entropy",
    "loss_total",
    "loss_bc",
    "kl_to_prior",
    "entropy",
    "clip_fraction",
    "kl_divergence",
    "kl_signed",
    "adv_mean",
    "adv_std",
    "adv_zero_std",
    "grad_norm",
)
"""What every minibatch reports, in this order."""


@dataclass(frozen=True, kw_only=True)
class Coefficients:
    """What the schedules say for one update.

    Attributes:
        learning_rate: Adam's step size.
        clip: range of the probability ratio.
        entropy_coef: weight of the entropy bonus.
        bc_weight: weight of the demonstrations' loss.
        kl_weight: weight of KL(prior, policy).
        critic_only: the policy's weights stay as they are.
    """

    learning_rate: float
    clip: float
    entropy_coef: float
    bc_weight: float = 0.0
    kl_weight: float = 0.0
    critic_only: bool = False


@dataclass(frozen=True, kw_only=True)
class UpdateFigures:
    """What an update's minibatches reported.

    Attributes:
        table: (M, K) float32, a row for each minibatch of every epoch made, columns ``FIGURES``.
        epochs: epochs made; fewer than asked for if ``target_kl`` was passed.
        samples: samples learned from, counted once an epoch.
        seconds: duration.
    """

    table: NDArray[np.float32]
    epochs: int
    samples: int
    seconds: float

    def column(self, name: str) -> NDArray[np.float64]:
        """Returns (M,) float64, one figure of every minibatch."""
        return self.table[:, FIGURES.index(name)].astype(np.float64)


def optimise(
    network: ActorCritic,
    optimizer: FlatOptimizer,
    batch: PracticeBatch,
    settings: PPOSettings,
    coefficients: Coefficients,
    *,
    minibatch_rng: np.random.Generator,
    demonstrations: DemonstrationTensors | None = None,
    demonstration_rng: np.random.Generator | None = None,
    prior_log_std: Tensor | None = None,
) -> UpdateFigures:
    """Runs the epochs of one update over one rollout.

    Args:
        network: changed in place.
        optimizer: of this network's parameters.
        batch: the rollout.
        settings: epochs, minibatches and the constants of the loss.
        coefficients: what the schedules say for this update.
        minibatch_rng: draws a fresh permutation each epoch.
        demonstrations: needed where ``bc_weight`` is above 0.
        demonstration_rng: draws demonstrated rows, with replacement.
        prior_log_std: (D,) deviations of the batch's prior, for box actions.

    Raises:
        NotFiniteError: a figure is not finite; the message names it, epoch and minibatch.
    """
    began = time.perf_counter()
    optimizer.set_learning_rate(coefficients.learning_rate)
    imitates = coefficients.bc_weight > 0.0 and not coefficients.critic_only
    if settings.normalize_advantages == "batch":
        weights = batch.columns[4] if len(batch.columns) == 5 else None
        batch.columns[2].copy_(normalise_advantages(batch.columns[2], weights).values)
    tables: list[NDArray[np.float32]] = []
    samples = 0
    plain = _plain_practice(network, optimizer, batch, settings, coefficients, imitates=imitates)
    for epoch in range(settings.epochs):
        rows: list[Tensor] = []
        order, ends = epoch_plan(batch, settings, minibatch_rng)
        samples += ends[-1]
        for minibatch in minibatches(batch, order, ends):
            if plain is not None:
                rows.append(_plain_step(plain, minibatch))
                continue
            shown = None
            if imitates:
                shown = draw(demonstrations, settings.demonstration_batch_size, demonstration_rng)
            rows.extend(
                _step(network, optimizer, minibatch, shown, settings, coefficients, prior_log_std)
            )
        table = torch.stack(rows).view(-1, len(FIGURES)).cpu().numpy()
        _check_finite(table, epoch, batch.label, demonstrations if imitates else None)
        tables.append(table)
        kl = float(table[:, FIGURES.index("kl_divergence")].mean())
        if settings.target_kl is not None and kl > settings.target_kl:
            break
    return UpdateFigures(
        table=np.concatenate(tables),
        epochs=len(tables),
        samples=samples,
        seconds=time.perf_counter() - began,
    )


def draw(
    demonstrations: DemonstrationTensors | None, size: int, rng: np.random.Generator | None
) -> DemonstrationTensors:
    """Returns ``size`` demonstrated samples, drawn with replacement.

    Raises:
        ValueError: there is nothing to draw from or nothing to draw with.
    """
    if demonstrations is None or rng is None:
        raise ValueError("bc_weight is above 0, but no demonstrations or no generator was given")
    rows = torch.from_numpy(rng.integers(0, len(demonstrations), size))
    return demonstrations.take(rows.to(demonstrations.actions.device))


def _plain_practice(
    network: ActorCritic,
    optimizer: FlatOptimizer,
    batch: PracticeBatch,
    settings: PPOSettings,
    coefficients: Coefficients,
    *,
    imitates: bool,
) -> PlainPractice | None:
    """Returns who makes the steps without torch's graph, where they are of that kind."""
    special = imitates or coefficients.critic_only or batch.prior is not None
    special = special or len(batch.columns) == 5 or settings.data_mode != "rollout"
    if special or settings.value_clip is not None or not is_plain(network):
        return None
    return PlainPractice(
        network,
        optimizer,
        clip=coefficients.clip,
        value_coef=settings.value_coef,
        entropy_coef=coefficients.entropy_coef,
        max_grad_norm=settings.max_grad_norm,
        normalise=settings.normalize_advantages == "minibatch",
    )


def _plain_step(plain: PlainPractice, minibatch: Minibatch) -> Tensor:
    """One gradient step; returns ``FIGURES`` (K,)."""
    figures = plain.step(
        minibatch.features.numpy(),
        None if minibatch.bias is None else minibatch.bias.numpy(),
        minibatch.actions.numpy(),
        minibatch.columns.numpy(),
    )
    return torch.tensor([figures.get(name, 0.0) for name in FIGURES])


def _step(
    network: ActorCritic,
    optimizer: FlatOptimizer,
    minibatch: Minibatch,
    shown: DemonstrationTensors | None,
    settings: PPOSettings,
    coefficients: Coefficients,
    prior_log_std: Tensor | None,
) -> tuple[Tensor, ...]:
    """One gradient step; returns ``FIGURES`` as K scalar tensors, so that nothing waits."""
    old_log_probs, old_values, raw_advantages, returns, *rest = minibatch.columns.unbind(0)
    weights = rest[0] if rest else None
    advantages = normalise_advantages(
        raw_advantages, weights, apply=settings.normalize_advantages == "minibatch"
    )
    critic_only = coefficients.critic_only
    outputs, values = network(minibatch.features, minibatch.grid, critic_only=critic_only)
    policy = network.distribution(outputs, minibatch.bias)
    parts = ppo_loss(
        policy,
        values,
        actions=minibatch.actions,
        old_log_probs=old_log_probs,
        advantages=advantages.values,
        returns=returns,
        old_values=old_values,
        clip=coefficients.clip,
        value_clip=settings.value_clip,
        value_coef=settings.value_coef,
        entropy_coef=coefficients.entropy_coef,
        critic_only=critic_only,
        weights=weights,
        ratio_truncation=None if settings.data_mode == "rollout" else settings.ratio_truncation,
    )
    total, imitation = parts.total, torch.zeros_like(parts.total)
    kl_to_prior = imitation
    if minibatch.prior is not None:
        prior = network.distribution(minibatch.prior, minibatch.bias, log_std=prior_log_std)
        kl_to_prior = prior.kl_divergence(policy).mean()
        if not critic_only:
            total = total + coefficients.kl_weight * kl_to_prior
    if shown is not None:
        shown_outputs = network.outputs(shown.features, shown.grid)
        imitated = network.distribution(shown_outputs, shown.bias)
        imitation = imitation_loss(imitated, shown.actions, shown.weights).loss
        total = total + coefficients.bc_weight * imitation
    norm = optimizer.descend(total, settings.max_grad_norm, policy=not critic_only)
    return _figures(parts, total, imitation, kl_to_prior, advantages, norm)


def _figures(
    parts: PPOParts,
    total: Tensor,
    imitation: Tensor,
    kl_to_prior: Tensor,
    advantages: NormalisedAdvantages,
    norm: Tensor,
) -> tuple[Tensor, ...]:
    """Returns ``FIGURES`` in their order."""
    return (
        parts.surrogate.loss,
        parts.value,
        -parts.entropy,
        total.detach(),
        imitation.detach(),
        kl_to_prior.detach(),
        parts.policy_entropy,
        parts.surrogate.clip_fraction,
        parts.surrogate.kl,
        parts.surrogate.kl_signed,
        advantages.mean,
        advantages.std,
        advantages.flat.float(),
        norm,
    )


def _check_finite(
    table: NDArray[np.float32],
    epoch: int,
    dataset: str,
    demonstrations: DemonstrationTensors | None,
) -> None:
    bad = np.argwhere(~np.isfinite(table))
    if len(bad):
        minibatch, figure = bad[0]
        if demonstrations is not None and FIGURES[figure] == "loss_bc":
            dataset = demonstrations.label
        raise NotFiniteError(
            f"{FIGURES[figure]} is {table[minibatch, figure]} "
            f"(dataset {dataset}, epoch {epoch + 1}, minibatch {minibatch + 1})"
        )
