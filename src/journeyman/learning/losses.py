"""The losses of practice and of imitation: pure, each returning its named parts.

Legend: B samples, D components of an action.
"""

import math
from typing import NamedTuple

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
    """Scalars over a minibatch.

    Attributes:
        loss: clipped surrogate, to be minimised.
        clip_fraction: share of samples whose ratio left the clip range.
        kl: mean((r - 1) - log r), Schulman's k3 estimate of KL(old, new); never negative.
        kl_signed: mean(old - new log-probability), the unbiased estimate of the same.
        ratio: (B,) probability ratio new / old.
    """

    loss: Tensor
    clip_fraction: Tensor
    kl: Tensor
    kl_signed: Tensor
    ratio: Tensor


def weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Returns the mean of (B,) values; with weights (B,) of 0 and more, 0 if all are 0."""
    if weights is None:
        return values.mean()
    return (values * weights).sum() / weights.sum().clamp_min(SMALLEST_WEIGHT)


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
    clipped = truncated.clamp(1.0 - clip, 1.0 + clip)
    gains = torch.minimum(truncated * advantages, clipped * advantages)
    loss = -weighted_mean(gains, weights)
    with torch.no_grad():
        change = ratio - 1.0
        clip_fraction = weighted_mean((change.abs() > clip).float(), weights)
        kl_signed = -weighted_mean(log_ratio, weights)
        kl = weighted_mean(change, weights) + kl_signed
    return SurrogateParts(loss, clip_fraction, kl, kl_signed, ratio.detach())


def value_loss(
    values: Tensor, returns: Tensor, old_values: Tensor, value_clip: float | None
) -> Tensor:
    """Half the mean squared error; inputs (B,).

    With ``value_clip`` a value's change from the one at collection is clipped and the larger
    of both errors counts (Schulman's reference implementation of PPO).
    """
    error = (values - returns).square()
    if value_clip is not None:
        moved = old_values + (values - old_values).clamp(-value_clip, value_clip)
        error = torch.maximum(error, (moved - returns).square())
    return 0.5 * error.mean()


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
    """Every part of ``L = L_clip + c_v L_value - c_e H + bc_weight L_bc``, all scalars."""

    total: Tensor
    surrogate: SurrogateParts
    value: Tensor
    entropy: Tensor


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
    surrogate = clipped_surrogate(
        distribution.log_prob(actions),
        old_log_probs,
        advantages,
        clip,
        weights=weights,
        ratio_truncation=ratio_truncation,
    )
    mean_entropy = weighted_mean(distribution.entropy(), weights)
    value = value_loss(values, returns, old_values, value_clip)
    total = value_coef * value
    if not critic_only:
        total = surrogate.loss + total - entropy_coef * mean_entropy
    return PPOParts(total, surrogate, value, mean_entropy)
