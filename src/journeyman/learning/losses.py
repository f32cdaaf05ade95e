"""The losses of practice and of imitation: pure, each returning its named parts.

Legend: B samples, D components of an action.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from journeyman.learning.distributions import (
    ActionDistribution,
    Categorical,
    DiagonalGaussian,
    MultiCategorical,
)


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


def clipped_surrogate(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip: float
) -> SurrogateParts:
    """The clipped surrogate of Schulman et al. 2017, equation 7, negated; all inputs (B,)."""
    log_ratio = log_probs - old_log_probs
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
    loss = -torch.minimum(ratio * advantages, clipped * advantages).mean()
    with torch.no_grad():
        change = ratio - 1.0
        clip_fraction = (change.abs() > clip).float().mean()
        kl_signed = -log_ratio.mean()
        kl = change.mean() + kl_signed
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


def normalise_advantages(advantages: Tensor, *, apply: bool = True) -> NormalisedAdvantages:
    """Normalises (B,) advantages, without asking the device for a number.

    One sample has deviation 0 and is left as it is.

    Args:
        advantages: (B,).
        apply: off: only the statistics are wanted.
    """
    std, mean = torch.std_mean(advantages, correction=0)
    flat = std < FLAT_ADVANTAGES
    if not apply:
        return NormalisedAdvantages(advantages, mean, std, flat)
    normalised = (advantages - mean) / (std + FLAT_ADVANTAGES)
    return NormalisedAdvantages(torch.where(flat, advantages, normalised), mean, std, flat)


SMALLEST_WEIGHT = 1e-12


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
    """
    surrogate = clipped_surrogate(distribution.log_prob(actions), old_log_probs, advantages, clip)
    mean_entropy = distribution.entropy().mean()
    value = value_loss(values, returns, old_values, value_clip)
    total = value_coef * value
    if not critic_only:
        total = surrogate.loss + total - entropy_coef * mean_entropy
    return PPOParts(total, surrogate, value, mean_entropy)
