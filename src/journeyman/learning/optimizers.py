"""Adam, and its state as arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.learning.network import ActorCritic

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def adam(network: ActorCritic, learning_rate: float, eps: float) -> torch.optim.Adam:
    """Returns Adam (Kingma & Ba 2015), fused into one kernel."""
    return torch.optim.Adam(network.parameters(), lr=learning_rate, eps=eps, fused=True)


def adamw(network: ActorCritic, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Returns AdamW (Loshchilov & Hutter 2019), fused into one kernel."""
    return torch.optim.AdamW(
        network.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True
    )


def optimizer_arrays(
    optimizer: torch.optim.Optimizer, network: ActorCritic
) -> dict[str, NDArray[Any]]:
    """Returns the optimiser's state as ``<parameter>:<moment>`` -> array.

    Parameters that have not been stepped yet have none.
    """
    arrays = {}
    for name, parameter in network.named_parameters():
        for moment, tensor in optimizer.state.get(parameter, {}).items():
            arrays[f"{name}:{moment}"] = np.atleast_1d(tensor.cpu().numpy()).copy()
    return arrays


def restore_optimizer(
    optimizer: torch.optim.Optimizer, network: ActorCritic, arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Replaces the optimiser's state by arrays that ``optimizer_arrays`` returned."""
    optimizer.state.clear()
    for name, parameter in network.named_parameters():
        if f"{name}:step" not in arrays:
            continue
        state: dict[str, Tensor] = {}
        for moment in MOMENTS:
            tensor = torch.from_numpy(np.array(arrays[f"{name}:{moment}"]))
            state[moment] = tensor.reshape(()) if moment == "step" else tensor
            state[moment] = state[moment].to(parameter.device)
        optimizer.state[parameter] = state


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the step size of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def clip_gradients(network: ActorCritic, max_norm: float) -> Tensor:
    """Scales gradients to a global norm of at most ``max_norm`` (0: never).

    Returns:
        The norm before, a scalar tensor; the device is not waited for.
    """
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients]))
    if max_norm > 0.0:
        # The same rule as torch's clip_grad_norm_, whose bookkeeping costs more than the work.
        scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(scale)
    return norm
