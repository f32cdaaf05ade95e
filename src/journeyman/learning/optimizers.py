"""Adam on weights that lie in one piece of memory, and its state as arrays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
import torch._dynamo  # an optimiser imports it at its first step; imports belong before a run
from numpy.typing import NDArray
from torch import Tensor, nn

from journeyman.learning.network import ActorCritic

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
CRITIC = ("critic.", "value_head.")
"""How the names of weights begin that only the value function has; the others are the policy's,
a shared trunk included."""


@dataclass(frozen=True)
class _Part:
    """Weights that are stepped together: the policy's, or the value function's.

    Attributes:
        weights: all of them, one after the other.
        gradients: theirs.
        places: name -> where it lies in these, and its shape.
    """

    weights: nn.Parameter
    gradients: Tensor
    places: Mapping[str, tuple[slice, torch.Size]]


class FlatOptimizer:
    """Steps a network's weights, which it moves into one piece of memory.

    A small network has a dozen small tensors, and doing anything to each costs more than the
    arithmetic: here gradients are zeroed, measured, clipped and stepped as one. The network's
    parameters become views; whoever optimises the same network anew takes them over.

    Args:
        network: on its device already.
        make: builds torch's optimiser of the two parts, the policy's weights and the value
            function's.
    """

    def __init__(
        self, network: ActorCritic, make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    ) -> None:
        named = sorted(network.named_parameters(), key=lambda one: one[0].startswith(CRITIC))
        weights = torch.cat([parameter.detach().flatten() for _, parameter in named])
        self._gradients = torch.zeros_like(weights)
        self._views: list[tuple[nn.Parameter, Tensor]] = []
        ends = [0, *accumulate(parameter.numel() for _, parameter in named)]
        for (_, parameter), start, end in zip(named, ends[:-1], ends[1:], strict=True):
            parameter.data = weights[start:end].view_as(parameter)
            self._views.append((parameter, self._gradients[start:end].view_as(parameter)))
        border = ends[sum(not name.startswith(CRITIC) for name, _ in named)]
        self._policy, self._value = (
            _Part(
                nn.Parameter(weights[start:end]),
                self._gradients[start:end],
                {
                    name: (slice(first - start, first - start + parameter.numel()), parameter.shape)
                    for (name, parameter), first in zip(named, ends, strict=False)
                    if start <= first < end
                },
            )
            for start, end in ((0, border), (border, ends[-1]))
        )
        self.torch = make([self._policy.weights, self._value.weights])

    def set_learning_rate(self, learning_rate: float) -> None:
        """Sets the step size."""
        for group in self.torch.param_groups:
            group["lr"] = learning_rate

    def descend(
        self, loss: Tensor, max_norm: float, *, policy: bool = True, value: bool = True
    ) -> Tensor:
        """Takes the loss's gradient and makes a step.

        Args:
            loss: scalar.
            max_norm: gradients are scaled to a global norm of at most this; 0: never.
            policy: step the policy's weights; off: they and their moments stay.
            value: step the value function's weights.

        Returns:
            The gradient's global norm before scaling, a scalar tensor; the device is not waited
            for.
        """
        self.bind_gradients()
        self._gradients.zero_()
        torch.autograd.backward(loss)
        return self.step(max_norm, policy=policy, value=value)

    def bind_gradients(self) -> None:
        """Makes the parameters' gradients views of the one piece of memory, if they are not."""
        for parameter, view in self._views:
            if parameter.grad is not view:
                parameter.grad = view

    def step(self, max_norm: float, *, policy: bool = True, value: bool = True) -> Tensor:
        """Makes a step along the gradients as they are; otherwise as ``descend``."""
        gradients = self._gradients
        if not (policy and value):
            gradients = (self._policy if policy else self._value).gradients
        norm: Tensor = torch.linalg.vector_norm(gradients)
        if max_norm > 0.0:
            # The same rule as torch's clip_grad_norm_, whose bookkeeping costs more than the work.
            gradients.mul_((max_norm / (norm + 1e-6)).clamp_(max=1.0))
        self._policy.weights.grad = self._policy.gradients if policy else None
        self._value.weights.grad = self._value.gradients if value else None
        self.torch.step()
        return norm

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns copies of Adam's state as ``<parameter>:<moment>`` -> array.

        Parameters that have not been stepped yet have none.
        """
        arrays = {}
        for part in (self._policy, self._value):
            state = self.torch.state.get(part.weights, {})
            for moment, tensor in state.items():
                array = np.atleast_1d(tensor.cpu().numpy())
                for name, (place, shape) in part.places.items():
                    piece = array if moment == "step" else array[place].reshape(shape)
                    arrays[f"{name}:{moment}"] = piece.copy()
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replaces the state by arrays that ``arrays`` returned."""
        self.torch.state.clear()
        for part in (self._policy, self._value):
            if not all(f"{name}:step" in arrays for name in part.places):
                continue
            state = {}
            for moment in MOMENTS:
                pieces = [np.ravel(arrays[f"{name}:{moment}"]) for name in part.places]
                array = np.array(pieces[0][0]) if moment == "step" else np.concatenate(pieces)
                state[moment] = torch.from_numpy(array).to(part.weights.device)
            self.torch.state[part.weights] = state


def adam(network: ActorCritic, learning_rate: float, eps: float) -> FlatOptimizer:
    """Returns Adam (Kingma & Ba 2015), fused into one kernel."""
    return FlatOptimizer(
        network, lambda parts: torch.optim.Adam(parts, lr=learning_rate, eps=eps, fused=True)
    )


def adamw(network: ActorCritic, learning_rate: float, weight_decay: float) -> FlatOptimizer:
    """Returns AdamW (Loshchilov & Hutter 2019), fused into one kernel."""
    return FlatOptimizer(
        network,
        lambda parts: torch.optim.AdamW(
            parts, lr=learning_rate, weight_decay=weight_decay, fused=True
        ),
    )
