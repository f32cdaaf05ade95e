"""What a network says of many states at once, in parts that stay in the processor's cache.

Legend: S states, F features, N outputs of the policy, D components of an action.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.learning.distributions import mask_bias
from journeyman.learning.network import ActorCritic
from journeyman.learning.tensors import as_tensor

VALUE_ROWS = 4096
"""States looked at at once; more would leave the cache."""


def state_values(
    network: ActorCritic, features: NDArray[np.float32], grid: NDArray[Any] | None
) -> NDArray[np.float32]:
    """Returns the values of any number of states, float32; leading axes are kept.

    Args:
        network: the critic.
        features: (..., F) as the network sees them.
        grid: (..., C, h, w), or None where the network reads no map.
    """
    lead = features.shape[:-1]
    rows = features.reshape(math.prod(lead), features.shape[-1])  # F may be 0
    maps = None if grid is None else grid.reshape(-1, *grid.shape[-3:])
    values = np.empty(len(rows), np.float32)
    with torch.inference_mode():
        for start in range(0, len(rows), VALUE_ROWS):
            part = slice(start, start + VALUE_ROWS)
            tensor: Tensor = network.values(
                as_tensor(rows[part], network.device),
                None if maps is None else as_tensor(maps[part], network.device),
            )
            values[part] = tensor.cpu().numpy()
    return values.reshape(lead)


def action_log_probs(
    network: ActorCritic,
    features: NDArray[np.float32],
    grid: NDArray[Any] | None,
    mask: NDArray[np.bool_] | None,
    actions: NDArray[Any],
) -> NDArray[np.float32]:
    """Returns the log-probabilities (S,) that the policy gives to actions, float32.

    Args:
        network: the actor.
        features: (S, F) as the network sees them.
        grid: (S, C, h, w), or None where the network reads no map.
        mask: (S, N), or None.
        actions: (S,) or (S, D).
    """
    log_probs = np.empty(len(actions), np.float32)
    device = network.device
    with torch.inference_mode():
        for start in range(0, len(actions), VALUE_ROWS):
            part = slice(start, start + VALUE_ROWS)
            outputs = network.outputs(
                as_tensor(features[part], device),
                None if grid is None else as_tensor(grid[part], device),
            )
            bias = None if mask is None else mask_bias(as_tensor(mask[part], device))
            found = network.distribution(outputs, bias).log_prob(as_tensor(actions[part], device))
            log_probs[part] = found.cpu().numpy()
    return log_probs
