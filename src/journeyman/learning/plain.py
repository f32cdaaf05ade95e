"""Steps of the most common kind, without torch's graph: one choice of N, features alone, CPU.

In minibatches of a few hundred samples the graph's bookkeeping takes longer than the arithmetic.
Here the gradient goes by hand from the loss through the policy's distribution and the layers
into the optimiser's memory. The figures and gradients are those of ``losses`` and ``network``,
within rounding; everything else takes those.

Figures are numbers at once here, where ``update`` keeps them tensors until an epoch ends: on the
CPU they have been computed when NumPy returns, so that nothing is waited for.

Legend: B samples, N choices, F features.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from journeyman.learning.dense import Activations, Array
from journeyman.learning.losses import FLAT_ADVANTAGES, SMALLEST_WEIGHT
from journeyman.learning.network import ActorCritic, Body
from journeyman.learning.optimizers import FlatOptimizer


def is_plain(network: ActorCritic) -> bool:
    """Returns whether this is a network whose steps can be made here."""
    return (
        network.device.type == "cpu"
        and network.action_kind == "discrete"
        and network.critic is not None
        and not network.needs_map
    )


class _Branch:
    """A body and its head: weights and gradients as arrays, which are the network's own."""

    def __init__(self, body: Body, head: nn.Linear) -> None:
        self._activation, self._activated = body.activation, len(body.layers)
        parameters = [p for layer in (*body.layers, head) for p in layer.parameters()]
        self._arrays = [parameter.detach().numpy() for parameter in parameters]
        self._gradients: list[Array] = []
        for parameter in parameters:
            assert parameter.grad is not None
            self._gradients.append(parameter.grad.numpy())

    def forwards(self, features: Array) -> Activations:
        return Activations(features, self._arrays, self._activation, self._activated)

    def backwards(self, found: Activations, gradient: Array) -> None:
        found.backwards(gradient, self._gradients)


class _Choice(NamedTuple):
    """A policy's distributions and what was chosen; columns, so that NumPy works over samples.

    Attributes:
        log_probs: (N, B).
        probs: (N, B).
        entropies: (B,) nats.
        chosen: (B,) log-probability of each action.
        actions: (B,) int64.
        samples: (B,) int64, 0, 1, 2, ...
    """

    log_probs: Array
    probs: Array
    entropies: Array
    chosen: Array
    actions: NDArray[np.int64]
    samples: NDArray[np.int64]

    @classmethod
    def of(cls, logits: Array, bias: Array | None, actions: NDArray[np.int64]) -> "_Choice":
        """Makes it of logits (B, N)."""
        columns = logits.T if bias is None else (logits + bias).T
        log_probs = columns - columns.max(axis=0)
        probs = np.exp(log_probs)
        total = probs.sum(axis=0)
        log_probs -= np.log(total)
        probs /= total
        samples = np.arange(len(actions))
        entropies = -(probs * log_probs).sum(axis=0)
        return cls(log_probs, probs, entropies, log_probs[actions, samples], actions, samples)

    def gradient(self, of_chosen: Array, of_entropies: float = 0.0) -> Array:
        """Returns (B, N), a loss's gradient by the logits.

        Args:
            of_chosen: (B,), its gradient by the chosen log-probabilities.
            of_entropies: its gradient by each entropy.
        """
        # d log p_a / d z_j = [j = a] - p_j,  d H / d z_j = -p_j (log p_j + H)
        inner = self.log_probs + self.entropies
        inner *= np.float32(of_entropies)
        inner += of_chosen
        inner *= self.probs
        np.negative(inner, out=inner)
        inner[self.actions, self.samples] += of_chosen
        return inner.T


class PlainPractice:
    """Makes the steps of one PPO update.

    Args:
        network: a plain one.
        optimizer: of its weights.
        clip: range of the probability ratio.
        value_coef: weight of the value loss.
        entropy_coef: weight of the entropy bonus.
        max_grad_norm: clip the gradient's norm to this; 0: never.
        normalise: each minibatch's advantages get mean 0 and deviation 1.
    """

    def __init__(
        self,
        network: ActorCritic,
        optimizer: FlatOptimizer,
        *,
        clip: float,
        value_coef: float,
        entropy_coef: float,
        max_grad_norm: float,
        normalise: bool,
    ) -> None:
        assert network.critic is not None
        optimizer.bind_gradients()
        self._actor = _Branch(network.actor, network.policy_head)
        self._critic = _Branch(network.critic, network.value_head)
        self._optimizer, self._max_grad_norm = optimizer, max_grad_norm
        self._clip, self._value_coef = np.float32(clip), np.float32(value_coef)
        self._entropy_coef, self._normalise = entropy_coef, normalise

    def step(
        self, features: Array, bias: Array | None, actions: NDArray[np.int64], columns: Array
    ) -> dict[str, float]:
        """Makes one gradient step.

        Args:
            features: (B, F).
            bias: (B, N) of ``mask_bias``, or None.
            actions: (B,).
            columns: (4, B) as in ``PracticeBatch``.

        Returns:
            The minibatch's figures, named as in ``update.FIGURES``.
        """
        with np.errstate(all="ignore"):  # figures that are not finite are found by the caller
            return self._step(features, bias, actions, columns)

    def _step(
        self, features: Array, bias: Array | None, actions: NDArray[np.int64], columns: Array
    ) -> dict[str, float]:
        count, (old_log_probs, _, advantages, returns) = len(actions), columns
        mean, std = float(advantages.mean()), float(advantages.std())
        flat = std < FLAT_ADVANTAGES
        if self._normalise and not flat:
            advantages = (advantages - np.float32(mean)) / np.float32(std + FLAT_ADVANTAGES)
        actor, critic = self._actor.forwards(features), self._critic.forwards(features)
        policy = _Choice.of(actor.outputs, bias, actions)
        log_ratio = policy.chosen - old_log_probs
        ratio = np.exp(log_ratio)
        plain = ratio * advantages
        clipped = ratio.clip(1 - self._clip, 1 + self._clip)
        clipped *= advantages
        slopes: Array = np.where(plain <= clipped, plain, np.float32(0.0))
        slopes /= np.float32(-count)
        errors = critic.outputs[:, 0] - returns
        self._actor.backwards(actor, policy.gradient(slopes, -self._entropy_coef / count))
        self._critic.backwards(critic, (errors * (self._value_coef / count))[:, None])
        norm = self._optimizer.step(self._max_grad_norm)
        change = ratio - np.float32(1.0)
        entropy = float(policy.entropies.mean())
        loss = -float(np.minimum(plain, clipped).mean())
        value = 0.5 * float(errors @ errors) / count
        signed = -float(log_ratio.mean())
        return {
            "loss_policy": loss,
            "loss_value": value,
            "loss_entropy": -entropy,
            "loss_total": loss + float(self._value_coef) * value - self._entropy_coef * entropy,
            "entropy": entropy,
            "clip_fraction": np.count_nonzero(np.abs(change) > self._clip) / count,
            "kl_divergence": float(change.mean()) + signed,
            "kl_signed": signed,
            "adv_mean": mean,
            "adv_std": std,
            "adv_zero_std": float(flat),
            "grad_norm": norm.item(),
        }


class PlainImitation:
    """Makes the steps of one epoch of behaviour cloning.

    Args:
        network: a plain one; its value function stays as it is.
        optimizer: of its weights.
        max_grad_norm: clip the gradient's norm to this; 0: never.
    """

    def __init__(
        self, network: ActorCritic, optimizer: FlatOptimizer, *, max_grad_norm: float
    ) -> None:
        optimizer.bind_gradients()
        self._actor = _Branch(network.actor, network.policy_head)
        self._optimizer, self._max_grad_norm = optimizer, max_grad_norm

    def step(
        self, features: Array, bias: Array | None, actions: NDArray[np.int64], weights: Array
    ) -> Sequence[float]:
        """Makes one gradient step on the weighted mean cross-entropy.

        Args:
            features: (B, F).
            bias: (B, N) of ``mask_bias``, or None.
            actions: (B,).
            weights: (B,), how much each sample counts; if all are 0 the loss is 0.

        Returns:
            Loss, share answered right and gradient norm.
        """
        with np.errstate(all="ignore"):
            actor = self._actor.forwards(features)
            policy = _Choice.of(actor.outputs, bias, actions)
            shares = weights / max(weights.sum(), np.float32(SMALLEST_WEIGHT))
            self._actor.backwards(actor, policy.gradient(-shares))
            norm = self._optimizer.step(self._max_grad_norm, value=False)
            right = np.count_nonzero(policy.log_probs.argmax(axis=0) == actions)
            return -float(shares @ policy.chosen), right / len(actions), norm.item()
