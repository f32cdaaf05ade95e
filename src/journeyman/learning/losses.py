"""The losses of practice and of imitation: pure, each returning its named parts.

Legend: B samples, D components of an action.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from journeyman.learning.distributions import (
    ActionDistribution,
    Categorical,
    DiagonalGaussian,
    MultiCategorical,
)

SMALLEST_WEIGHT = 1e-12
"""A sum of weights is divided by no less than this."""


class SurrogateParts(NamedTuple):
    """Scalars over a minibatch, but for the last two.

    Attributes:
        loss: clipped surrogate, to be minimised.
        clip_fraction: share of samples whose ratio left the clip range.
        kl: mean((r - 1) - log r), Schulman's k3 estimate of KL(old, new); never negative.
        kl_signed: mean(old - new log-probability), the unbiased estimate of the same.
        ratio: (B,) probability ratio new / old.
        gradient: (B,) of the loss by the log-probabilities.
    """

    loss: Tensor
    clip_fraction: Tensor
    kl: Tensor
    kl_signed: Tensor
    ratio: Tensor
    gradient: Tensor


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Returns the mean of (B,) values; with weights (B,) of 0 and more, 0 if all are 0."""
    if weights is None:
        return values.mean()
    return (values * weights).sum() / weights.sum().clamp_min(SMALLEST_WEIGHT)


@torch.no_grad()
def clipped_surrogate(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    clip: float,
    *,
    weights: Tensor | None = None,
    ratio_truncation: float | None = None,
) -> SurrogateParts:
    """The clipped surrogate of Schulman et al. 2017, equation 7, negated; all inputs (B,).

    Args:
        log_probs: of the policy now.
        old_log_probs: of the policy that acted; may be NaN where the weight is 0.
        advantages: how much better each action was than what was to be expected.
        clip: range of the ratio.
        weights: how much each sample counts, in the loss and in the figures; None: all the same.
        ratio_truncation: the loss takes no ratio to be larger (Ionides 2008). Clipping alone
            leaves the loss of a bad action unbounded that has become much more likely. The
            figures are of the ratio as it is.
    """
    log_ratio = log_probs - old_log_probs
    if weights is not None:
        log_ratio = torch.where(weights > 0.0, log_ratio, 0.0)
    ratio = truncated = log_ratio.exp()
    if ratio_truncation is not None:
        truncated = log_ratio.clamp(max=math.log(ratio_truncation)).exp()
    plain = truncated * advantages
    clipped = truncated.clamp(1.0 - clip, 1.0 + clip).mul_(advantages)
    # d r / d log p = r; where the clipped or truncated ratio counts, it does not change.
    slopes = torch.where(plain <= clipped, plain, 0.0)
    if ratio_truncation is not None:
        slopes = torch.where(log_ratio <= math.log(ratio_truncation), slopes, 0.0)
    change = ratio - 1.0
    kl_signed = -weighted_mean(log_ratio, weights)
    return SurrogateParts(
        loss=-weighted_mean(torch.minimum(plain, clipped), weights),
        clip_fraction=weighted_mean((change.abs() > clip).float(), weights),
        kl=weighted_mean(change, weights) + kl_signed,
        kl_signed=kl_signed,
        ratio=ratio,
        gradient=-_shares(slopes, weights),
    )


def _shares(values: Tensor, weights: Tensor | None) -> Tensor:
    """Returns (B,), what each of the values adds to their ``weighted_mean``."""
    if weights is None:
        return values / len(values)
    return values * (weights / weights.sum().clamp_min(SMALLEST_WEIGHT))


class ValueParts(NamedTuple):
    """Attributes:
    loss: scalar.
    gradient: (B,) of the loss by the values.
    """

    loss: Tensor
    gradient: Tensor


@torch.no_grad()
def value_loss(
    values: Tensor, returns: Tensor, old_values: Tensor, value_clip: float | None
) -> ValueParts:
    """Half the mean squared error; inputs (B,).

    With ``value_clip`` a value's change from the one at collection is clipped and the larger
    of both errors counts (Schulman's reference implementation of PPO).
    """
    slope = values - returns
    squared = slope.square()
    if value_clip is not None:
        change = values - old_values
        moved = old_values + change.clamp(-value_clip, value_clip) - returns
        # Where the clipped error is the larger one, it changes only while nothing is clipped.
        slope = torch.where(moved.square() > squared, moved * (change.abs() <= value_clip), slope)
        squared = torch.maximum(squared, moved.square())
    return ValueParts(0.5 * squared.mean(), slope / len(values))


class NormalisedAdvantages(NamedTuple):
    """Advantages with mean 0 and deviation 1, unless they are all alike.

    Attributes:
        values: (B,).
        mean: scalar, before.
        std: scalar, before (over B, not B - 1).
        flat: scalar bool: the deviation is under 1e-8 and the values were left as they are.
    """

    values: Tensor
    mean: Tensor
    std: Tensor
    flat: Tensor


FLAT_ADVANTAGES = 1e-8


def normalise_advantages(
    advantages: Tensor, weights: Tensor | None = None, *, apply: bool = True
) -> NormalisedAdvantages:
    """Normalises (B,) advantages, without asking the device for a number.

    One sample has deviation 0 and is left as it is.

    Args:
        advantages: (B,).
        weights: (B,), how much each counts in mean and deviation; None: all the same.
        apply: off: only the statistics are wanted.
    """
    if weights is None:
        std, mean = torch.std_mean(advantages, correction=0)
    else:
        mean = weighted_mean(advantages, weights)
        std = weighted_mean((advantages - mean).square(), weights).sqrt()
    flat = std < FLAT_ADVANTAGES
    if not apply:
        return NormalisedAdvantages(advantages, mean, std, flat)
    normalised = (advantages - mean) / (std + FLAT_ADVANTAGES)
    return NormalisedAdvantages(torch.where(flat, advantages, normalised), mean, std, flat)


class ImitationParts(NamedTuple):
    """Scalars over a minibatch of demonstrations.

    Attributes:
        loss: weighted mean cross-entropy, nats; box: negative log-density of the action.
        correct: share of samples, whatever their weight, whose most probable action is the
            demonstrated, in all components; box: 0, there is no such thing.
        absolute_error: mean over samples and components of |mean - action|; 0 unless box.
    """

    loss: Tensor
    correct: Tensor
    absolute_error: Tensor


def imitation_loss(
    distribution: ActionDistribution,
    actions: Tensor,
    weights: Tensor,
    label_smoothing: float = 0.0,
) -> ImitationParts:
    """Negative log-likelihood of demonstrated actions.

    Args:
        distribution: of the policy, over B samples.
        actions: (B,) or (B, D) int64, or (B, D) float32.
        weights: (B,), how much each sample counts; if all are 0 the loss is 0.
        label_smoothing: probability mass spread evenly over the allowed actions.

    Raises:
        ValueError: label smoothing is asked for on box actions.
    """
    losses = -distribution.log_prob(actions)
    if label_smoothing > 0.0:
        if not isinstance(distribution, Categorical | MultiCategorical):
            raise ValueError("label smoothing needs choices, not continuous actions")
        spread = distribution.uniform_cross_entropy()
        losses = (1.0 - label_smoothing) * losses + label_smoothing * spread
    loss = (losses * weights).sum() / weights.sum().clamp_min(SMALLEST_WEIGHT)
    with torch.no_grad():
        mode = distribution.mode()
        none = torch.zeros_like(loss)
        if isinstance(distribution, DiagonalGaussian):
            return ImitationParts(loss, none, (mode - actions).abs().mean())
        right = mode == actions
        if right.ndim > 1:
            right = right.all(dim=1)
        return ImitationParts(loss, right.float().mean(), none)


class PPOParts(NamedTuple):
    """Every part of ``L = L_clip + c_v L_value - c_e H + bc_weight L_bc``, all scalars.

    Attributes:
        total: the loss.
        surrogate: L_clip and its figures.
        value: L_value.
        entropy: H, over the samples that count.
        policy_entropy: of the policy in all states, whoever acted in them.
    """

    total: Tensor
    surrogate: SurrogateParts
    value: Tensor
    entropy: Tensor
    policy_entropy: Tensor


def ppo_loss(
    distribution: ActionDistribution,
    values: Tensor,
    *,
    actions: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    returns: Tensor,
    old_values: Tensor,
    clip: float,
    value_clip: float | None,
    value_coef: float,
    entropy_coef: float,
    critic_only: bool = False,
    weights: Tensor | None = None,
    ratio_truncation: float | None = None,
) -> PPOParts:
    """The loss of one minibatch of practice, the demonstrations' term not yet added.

    Args:
        distribution: of the policy, over B samples, masks included.
        values: (B,).
        actions: (B,) or (B, D) int64, or (B, D) float32.
        old_log_probs: (B,) of the network that acted.
        advantages: (B,), normalised.
        returns: (B,) targets of the value.
        old_values: (B,) of the network that acted.
        clip: range of the ratio.
        value_clip: range of the value's change, or None.
        value_coef: weight of the value loss.
        entropy_coef: weight of the entropy bonus.
        critic_only: the total is the value's term alone; the other parts are still measured.
        weights: (B,), how much each sample counts in all but the value's term; None: all the
            same. A guide's actions have 0: what it did says nothing of the policy, but the
            value function may learn from what came of it.
        ratio_truncation: see ``clipped_surrogate``.
    """
    log_probs, entropies = distribution.log_prob_and_entropy(actions)
    surrogate = clipped_surrogate(
        log_probs,
        old_log_probs,
        advantages,
        clip,
        weights=weights,
        ratio_truncation=ratio_truncation,
    )
    value = value_loss(values, returns, old_values, value_clip)
    known = [(values, value_coef * value.gradient)]
    with torch.no_grad():
        policy_entropy = entropies.mean()
        mean_entropy = policy_entropy if weights is None else weighted_mean(entropies, weights)
        total = value_coef * value.loss
        if not critic_only:
            total = surrogate.loss + total - entropy_coef * mean_entropy
            of_entropies = _shares(torch.full_like(entropies, -entropy_coef), weights)
            known += [(log_probs, surrogate.gradient), (entropies, of_entropies)]
    total = _with_gradients(total, known)
    return PPOParts(total, surrogate, value.loss, mean_entropy, policy_entropy)


class _Known(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, total: Tensor, *pairs: Tensor) -> Tensor:
        ctx.gradients = pairs[1::2]
        return total.view_as(total)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        found: list[Tensor | None] = [None]
        for gradient in ctx.gradients:
            found += [gradient * grad_outputs[0], None]
        return tuple(found)


def _with_gradients(total: Tensor, known: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Returns a scalar whose gradients are known.

    Written out they are a few operations; torch's graph of the same loss has thirty nodes, and
    for a minibatch of a few hundred samples its bookkeeping is half of the whole step.

    Args:
        total: scalar without a graph.
        known: what it depends on, each with its gradient by that.
    """
    pairs = [tensor for pair in known for tensor in pair]
    scalar: Tensor = _Known.apply(total, *pairs)  # type: ignore[no-untyped-call]
    return scalar
