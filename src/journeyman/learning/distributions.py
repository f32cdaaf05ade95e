"""What a policy's outputs mean: distributions over actions, on tensors.

Legend: B samples, N outputs of the policy (choices, or components of a box action),
D components of an action.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from journeyman.policies.actions import FORBIDDEN, LOG_SQRT_2PI, LOG_STD_HIGH, LOG_STD_LOW


class ActionDistribution(Protocol):
    """B independent distributions over actions; log-probabilities, entropies in nats."""

    def log_prob(self, actions: Tensor) -> Tensor:
        """Returns (B,), the log-probability (box: log-density) of each row's action."""
        ...

    def entropy(self) -> Tensor:
        """Returns (B,); masked actions contribute nothing. Box: the differential entropy."""
        ...

    def log_prob_and_entropy(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what ``log_prob`` and ``entropy`` do, in fewer steps."""
        ...

    def kl_divergence(self, other: Self) -> Tensor:
        """Returns (B,), KL(self, other) in closed form, never negative but for rounding.

        Args:
            other: of the same kind, over the same mask.
        """
        ...

    def mode(self) -> Tensor:
        """Returns each row's most probable action, component by component, as stored."""
        ...


def mask_bias(mask: Tensor) -> Tensor:
    """Returns (B, N) float32: 0 where ``mask (B, N) bool`` allows an action, else -1e9.

    A finite bias and not -inf: a masked action then adds exactly 0 to the entropy and not NaN.
    """
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float(FORBIDDEN))


def masked_log_probs(logits: Tensor, bias: Tensor | None) -> Tensor:
    """Returns log-probabilities (B, N) of every action; masked ones have probability 0.

    It is computed over columns: torch vectorises over samples then, where over rows it would
    over the few actions, at a fifth of the speed.
    """
    biased = logits if bias is None else logits + bias
    return torch.log_softmax(biased.t(), dim=0).t()


class _Chosen(torch.autograd.Function):
    """Log-probability of what was chosen, and entropy, with the gradient written out.

    In a minibatch of a few hundred samples a node of torch's graph costs more than its
    arithmetic; this one stands for seven.
    """

    @staticmethod
    def forward(ctx: Any, log_probs: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        columns, chosen = log_probs.t(), positions.t()
        probabilities = columns.exp()
        terms = probabilities * columns
        ctx.save_for_backward(probabilities, terms, chosen)
        return columns.gather(0, chosen).sum(dim=0), terms.sum(dim=0).neg_()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        of_choice, of_entropy = grad_outputs
        probabilities, terms, chosen = ctx.saved_tensors
        # d (p log p) / d log p = p log p + p
        gradient = (terms + probabilities).mul_(of_entropy).neg_()
        gradient.scatter_add_(0, chosen, of_choice.expand(chosen.shape))
        return gradient.t(), None


def _chosen(log_probs: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Returns (B,) each: the chosen log-probabilities' sum, and the entropy.

    Args:
        log_probs: (B, N), normalised component by component.
        positions: (B, D) int64, of one choice in each component.
    """
    found: tuple[Tensor, Tensor] = _Chosen.apply(log_probs, positions)  # type: ignore[no-untyped-call]
    return found


@dataclass(frozen=True)
class Categorical:
    """One choice of N.

    Attributes:
        log_probs: (B, N), normalised; masked choices have probability 0.
        bias: (B, N) of ``mask_bias``, or None.
    """

    log_probs: Tensor
    bias: Tensor | None = None

    @classmethod
    def of(cls, logits: Tensor, bias: Tensor | None) -> "Categorical":
        """Makes it of unmasked logits (B, N)."""
        return cls(masked_log_probs(logits, bias), bias)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Returns (B,) for actions (B,) int64."""
        return self.log_probs.gather(1, actions.unsqueeze(1)).squeeze(1)

    def entropy(self) -> Tensor:
        """Returns (B,)."""
        return -(self.log_probs.exp() * self.log_probs).sum(dim=1)

    def log_prob_and_entropy(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (B,) each."""
        return _chosen(self.log_probs, actions.unsqueeze(1))

    def kl_divergence(self, other: "Categorical") -> Tensor:
        """Returns (B,), ``sum p (log p - log q)``."""
        return (self.log_probs.exp() * (self.log_probs - other.log_probs)).sum(dim=1)

    def mode(self) -> Tensor:
        """Returns (B,) int64."""
        return self.log_probs.argmax(dim=1)

    def uniform_cross_entropy(self) -> Tensor:
        """Returns (B,), the cross-entropy against the uniform choice of what is allowed."""
        if self.bias is None:
            return -self.log_probs.mean(dim=1)
        allowed = (self.bias == 0.0).float()
        return -(self.log_probs * allowed).sum(dim=1) / allowed.sum(dim=1)


@dataclass(frozen=True)
class MultiCategorical:
    """D independent choices, component k one of ``sizes[k]``; the sizes sum to N.

    Attributes:
        log_probs: (B, N), each component's normalised; masked choices have probability 0.
        sizes: D numbers.
        bias: (B, N) of ``mask_bias``, or None.
    """

    log_probs: Tensor
    sizes: tuple[int, ...]
    bias: Tensor | None = None

    @classmethod
    def of(cls, logits: Tensor, sizes: tuple[int, ...], bias: Tensor | None) -> "MultiCategorical":
        """Makes it of unmasked logits (B, N)."""
        biased = logits if bias is None else logits + bias
        parts = [torch.log_softmax(part, dim=0) for part in torch.split(biased.t(), list(sizes))]
        return cls(torch.cat(parts).t(), sizes, bias)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Returns (B,) for actions (B, D) int64."""
        positions = actions + _offsets(self.sizes, actions.device)
        return self.log_probs.gather(1, positions).sum(dim=1)

    def entropy(self) -> Tensor:
        """Returns (B,), the sum over components."""
        return -(self.log_probs.exp() * self.log_probs).sum(dim=1)

    def log_prob_and_entropy(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (B,) each."""
        return _chosen(self.log_probs, actions + _offsets(self.sizes, actions.device))

    def kl_divergence(self, other: "MultiCategorical") -> Tensor:
        """Returns (B,), the sum over components."""
        return (self.log_probs.exp() * (self.log_probs - other.log_probs)).sum(dim=1)

    def mode(self) -> Tensor:
        """Returns (B, D) int64."""
        parts = torch.split(self.log_probs, list(self.sizes), dim=1)
        return torch.stack([part.argmax(dim=1) for part in parts], dim=1)

    def uniform_cross_entropy(self) -> Tensor:
        """Returns (B,), the sum over components of what ``Categorical`` returns."""
        biases = (
            [None] * len(self.sizes)
            if self.bias is None
            else torch.split(self.bias, list(self.sizes), 1)
        )
        parts = zip(torch.split(self.log_probs, list(self.sizes), dim=1), biases, strict=True)
        return torch.stack([Categorical(*part).uniform_cross_entropy() for part in parts]).sum(0)


@lru_cache(maxsize=64)
def _offsets(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """Returns (D,) int64: where each component's choices begin."""
    # Not an inference tensor, even if first asked for in inference mode: it is kept.
    with torch.inference_mode(False):
        return torch.tensor([0, *accumulate(sizes)][:-1], device=device)


@dataclass(frozen=True)
class DiagonalGaussian:
    """D independent normals with a deviation that does not depend on the state.

    Attributes:
        mean: (B, D).
        log_std: (D,), within its bounds (``bounded_log_std``).
    """

    mean: Tensor
    log_std: Tensor

    def log_prob(self, actions: Tensor) -> Tensor:
        """Returns (B,) log-densities of actions (B, D) float32, unclipped."""
        distance = (actions - self.mean) * torch.exp(-self.log_std)
        constant = self.log_std.sum() + len(self.log_std) * LOG_SQRT_2PI
        return -0.5 * distance.square().sum(dim=1) - constant

    def entropy(self) -> Tensor:
        """Returns (B,), ``sum log_std + D (1 + log 2 pi) / 2``, the same in every row."""
        total = self.log_std.sum() + len(self.log_std) * (0.5 + LOG_SQRT_2PI)
        return total.expand(len(self.mean))

    def log_prob_and_entropy(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (B,) each."""
        return self.log_prob(actions), self.entropy()

    def kl_divergence(self, other: "DiagonalGaussian") -> Tensor:
        """Returns (B,), ``sum log(t / s) + (s^2 + (m - n)^2) / (2 t^2) - 1/2``.

        Here s, m are this one's deviation and mean, t, n the other's (Kullback 1959, 9.1).
        """
        scale = torch.exp(-2.0 * other.log_std)
        moved = (self.mean - other.mean).square() * scale
        widened = torch.exp(2.0 * self.log_std) * scale
        change = other.log_std - self.log_std
        return (change + 0.5 * (widened + moved - 1.0)).sum(dim=1)

    def mode(self) -> Tensor:
        """Returns (B, D) float32, the mean."""
        return self.mean


def bounded_log_std(log_std: Tensor) -> Tensor:
    """Returns (D,) within ``LOG_STD_LOW`` and ``LOG_STD_HIGH``.

    The gradient passes unchanged: beyond a bound it must still be able to lead back.
    """
    fixed = log_std.detach()
    return log_std + (fixed.clamp(LOG_STD_LOW, LOG_STD_HIGH) - fixed)
