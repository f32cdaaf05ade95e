"""The masked categorical distribution, on tensors.

Legend: B samples, N actions.
"""

import torch
from torch import Tensor

from journeyman.policies.numpy_actor_critic import FORBIDDEN


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


def log_prob_of(log_probs: Tensor, actions: Tensor) -> Tensor:
    """Returns (B,), the log-probability of each row's action (B,) int64."""
    return log_probs.gather(1, actions.unsqueeze(1)).squeeze(1)


def entropy(log_probs: Tensor) -> Tensor:
    """Returns (B,) nats; masked actions contribute nothing."""
    return -(log_probs.exp() * log_probs).sum(dim=1)
