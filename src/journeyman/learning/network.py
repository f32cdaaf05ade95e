"""The actor and the critic.

Legend: B samples, F features, N outputs of the policy, D components of a box action,
C x h x w the map.
"""

import math
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from journeyman.env.protocol import LaneSpec
from journeyman.learning.distributions import (
    ActionDistribution,
    Categorical,
    DiagonalGaussian,
    MultiCategorical,
    bounded_log_std,
)
from journeyman.learning.stack import dense_stack
from journeyman.settings.policy import PolicySettings

HIDDEN_GAIN = math.sqrt(2.0)
POLICY_HEAD_GAIN = 0.01
VALUE_HEAD_GAIN = 1.0
NEAR_CHANNELS, FAR_CHANNELS = 16, 32
"""Channels after the first and the second 3 x 3 convolution of the ``conv`` map encoder."""


class MapEncoder(nn.Module):
    """Turns the egocentric map (B, C, h, w) uint8 into (B, map_features)."""

    def __init__(
        self, map_shape: tuple[int, int, int], map_scale: float, settings: PolicySettings
    ) -> None:
        super().__init__()
        self.activation, self.scale = settings.activation, map_scale
        channels, height, width = map_shape
        inputs = channels * height * width
        self.convolves = settings.map_encoder == "conv"
        if self.convolves:
            self.near = nn.Conv2d(channels, NEAR_CHANNELS, 3, padding=1)
            self.far = nn.Conv2d(NEAR_CHANNELS, FAR_CHANNELS, 3, stride=2, padding=1)
            inputs = FAR_CHANNELS * ((height + 1) // 2) * ((width + 1) // 2)
        self.project = nn.Linear(inputs, settings.map_features)

    def forward(self, grid: Tensor) -> Tensor:
        hidden = grid.float() if self.scale == 1.0 else grid * self.scale
        if self.convolves:
            activate = torch.tanh if self.activation == "tanh" else torch.relu
            hidden = activate(self.far(activate(self.near(hidden))))
        return dense_stack(hidden.flatten(1), [self.project], self.activation)


class Body(nn.Module):
    """Map encoder and trunk: everything before a head."""

    def __init__(self, spec: LaneSpec, settings: PolicySettings) -> None:
        super().__init__()
        self.activation = settings.activation
        width = len(spec.feature_names)
        self.map_encoder: MapEncoder | None = None
        if spec.map_shape is not None and settings.map_encoder != "none":
            self.map_encoder = MapEncoder(spec.map_shape, spec.map_scale, settings)
            width += settings.map_features
        if width == 0:
            raise ValueError(f"{spec.env_id} shows no features, and its map is not read")
        widths = (width, *settings.hidden_sizes)
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))
        self.width = widths[-1]

    def forward(
        self, features: Tensor, grid: Tensor | None, head: nn.Linear | None = None
    ) -> Tensor:
        """Returns (B, H), or the head's outputs (B, O) if it is given."""
        hidden = features
        if self.map_encoder is not None:
            if grid is None:
                raise ValueError("this network reads the map, but none was given")
            hidden = torch.cat([features, self.map_encoder(grid)], dim=1)
        layers = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        return dense_stack(hidden, layers, self.activation, head)


class ActorCritic(nn.Module):
    """Policy head and value head, on trunks of their own or on a shared one.

    The policy head's outputs (B, N) are unmasked logits, or the means of a box action, whose
    log deviations ``log_std (D,)`` are weights of their own.
    """

    def __init__(self, spec: LaneSpec, settings: PolicySettings) -> None:
        super().__init__()
        self.settings = settings
        self.action_kind, self.action_sizes = spec.action_kind, spec.action_sizes
        self.log_std: nn.Parameter | None = None
        if spec.action_kind == "box":
            self.log_std = nn.Parameter(torch.empty(len(spec.action_names)))
        self.actor = Body(spec, settings)
        self.critic = None if settings.share_trunk else Body(spec, settings)
        width = self.actor.width
        self.policy_head = nn.Linear(width, len(spec.action_names))
        self.value_head = nn.Linear(width, 1)

    @property
    def needs_map(self) -> bool:
        """Whether the map is read at all."""
        return self.actor.map_encoder is not None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        weight: Tensor = self.policy_head.weight
        return weight.device

    def outputs(self, features: Tensor, grid: Tensor | None = None) -> Tensor:
        """Returns (B, N) float32 from features (B, F) and the map (B, C, h, w) uint8."""
        outputs: Tensor = self.actor(features, grid, self.policy_head)
        return outputs

    def distribution(
        self, outputs: Tensor, bias: Tensor | None = None, *, log_std: Tensor | None = None
    ) -> ActionDistribution:
        """Returns what outputs (B, N) mean.

        Args:
            outputs: of ``outputs`` or ``forward``.
            bias: (B, N) of ``mask_bias``, or None; a box action has no mask.
            log_std: (D,) of another network whose outputs these are; None: this one's.
        """
        if self.log_std is not None:
            return DiagonalGaussian(
                outputs, bounded_log_std(self.log_std if log_std is None else log_std)
            )
        if self.action_kind == "multi_discrete":
            return MultiCategorical.of(outputs, self.action_sizes, bias)
        return Categorical.of(outputs, bias)

    def log_std_array(self) -> NDArray[np.float32] | None:
        """Returns a copy of ``log_std (D,)`` as it is, unbounded; None unless box."""
        return None if self.log_std is None else self.log_std.detach().cpu().numpy().copy()

    def values(self, features: Tensor, grid: Tensor | None = None) -> Tensor:
        """Returns (B,) float32."""
        body = self.actor if self.critic is None else self.critic
        values: Tensor = body(features, grid, self.value_head).squeeze(1)
        return values

    def forward(
        self, features: Tensor, grid: Tensor | None = None, *, critic_only: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Returns outputs (B, N) and values (B,).

        Args:
            features: (B, F) float32, whitened if the policy whitens.
            grid: (B, C, h, w) uint8, needed if the network reads the map.
            critic_only: no gradient reaches the policy, nor a trunk it shares.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not critic_only):
            if self.critic is not None:
                outputs = self.outputs(features, grid)
            else:
                hidden = self.actor(features, grid)
                outputs = self.policy_head(hidden)
        if self.critic is not None:
            return outputs, self.values(features, grid)
        return outputs, self.value_head(hidden).squeeze(1)


def build_network(spec: LaneSpec, settings: PolicySettings) -> ActorCritic:
    """Returns a network on the CPU whose weights are yet to be set.

    Layers are made without storage first: their constructors would draw from torch's global
    generator otherwise.
    """
    with torch.device("meta"):
        network = ActorCritic(spec, settings)
    return network.to_empty(device="cpu")


def initialise(network: ActorCritic, generator: torch.Generator) -> None:
    """Draws orthogonal weights (Saxe et al. 2014) and zero biases; deviations as set.

    Gains are sqrt(2) in the bodies, 0.01 for the policy head, so that an untrained policy is
    close to uniform, and 1 for the value head. Every draw comes from ``generator``.
    """
    gains = {"policy_head.weight": POLICY_HEAD_GAIN, "value_head.weight": VALUE_HEAD_GAIN}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter is network.log_std:
                parameter.fill_(network.settings.initial_log_std)
            elif parameter.ndim == 1:
                parameter.zero_()
            else:
                gain = gains.get(name, HIDDEN_GAIN)
                nn.init.orthogonal_(parameter, gain, generator=generator)
