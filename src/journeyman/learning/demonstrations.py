"""Demonstrations as tensors, split into what is trained on and what is held out.

Legend: S samples, B samples of a minibatch, F features, N outputs of the policy,
D components of an action, C x h x w the map.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.data.demonstrations import split_rows
from journeyman.data.trajectory import Demonstrations
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.learning.distributions import mask_bias
from journeyman.learning.tensors import as_tensor
from journeyman.policies.actions import mask_allows
from journeyman.policies.numpy_actor_critic import Whitening

__all__ = ["DemonstrationTensors", "check_demonstrations", "split_rows"]


def check_demonstrations(demonstrations: Demonstrations, spec: LaneSpec) -> None:
    """Refuses demonstrations that a policy of this spec cannot imitate.

    Raises:
        UserError: they are of another spec, or show actions forbidden by their own mask.
    """
    label = demonstrations.label
    problems = [
        f"demonstrations {label}: {problem}"
        for problem in spec.mismatches(demonstrations.lane_spec)
    ]
    mask, actions = demonstrations.action_mask, demonstrations.actions
    if mask is not None and not problems:
        forbidden = int((~mask_allows(mask, actions, spec.action_sizes)).sum())
        if forbidden:
            problems.append(
                f"demonstrations {label}: {forbidden} actions are forbidden by their own mask"
            )
    if problems:
        raise UserError(problems)


@dataclass(frozen=True, kw_only=True)
class DemonstrationTensors:
    """Demonstrated samples on a device.

    Attributes:
        label: the dataset's name, for messages.
        features: (S, F) float32, raw.
        grid: (S, C, h, w) uint8, or None where the network reads no map.
        bias: (S, N) float32 of ``mask_bias``, or None.
        actions: (S,) or (S, D) int64, or (S, D) float32.
        weights: (S,) float32.
    """

    label: str
    features: Tensor
    grid: Tensor | None
    bias: Tensor | None
    actions: Tensor
    weights: Tensor

    @classmethod
    def from_rows(
        cls,
        demonstrations: Demonstrations,
        rows: NDArray[np.int64],
        *,
        needs_map: bool,
        device: torch.device,
    ) -> Self:
        """Copies rows (B,) onto a device; the map is left alone unless it is needed."""
        mask, grid = demonstrations.action_mask, demonstrations.map
        return cls(
            label=demonstrations.label,
            features=as_tensor(demonstrations.features[rows], device),
            grid=as_tensor(grid[rows], device) if needs_map and grid is not None else None,
            bias=None if mask is None else mask_bias(as_tensor(mask[rows], device)),
            actions=as_tensor(demonstrations.actions[rows], device),
            weights=as_tensor(demonstrations.weights[rows], device),
        )

    def __len__(self) -> int:
        return len(self.actions)

    def take(self, rows: Tensor) -> Self:
        """Returns the rows (B,) int64."""
        return replace(
            self,
            features=self.features.index_select(0, rows),
            grid=None if self.grid is None else self.grid.index_select(0, rows),
            bias=None if self.bias is None else self.bias.index_select(0, rows),
            actions=self.actions.index_select(0, rows),
            weights=self.weights.index_select(0, rows),
        )

    def whitened(self, whitening: Whitening | None) -> Self:
        """Returns the samples with whitened features; unchanged without statistics."""
        if whitening is None:
            return self
        features = whitening(self.features.cpu().numpy())
        return replace(self, features=as_tensor(features, self.features.device))
