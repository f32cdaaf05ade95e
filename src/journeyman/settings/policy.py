"""Config group ``policy``: the network."""

from typing import Annotated, Literal

from pydantic import Field

from journeyman.settings.base import Section


class PolicySettings(Section):
    """Actor and critic."""

    hidden_sizes: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = Field(
        min_length=1, max_length=8
    )
    """Width of each hidden layer of a trunk, each in [1, 8192]."""
    activation: Literal["tanh", "relu"]
    """Nonlinearity between layers."""
    share_trunk: bool
    """Actor and critic share a trunk; off: imitation leaves the critic's features alone."""
    map_encoder: Literal["flatten", "conv", "none"]
    """How the egocentric map enters: flattened, through a small convolution, or not at all."""
    map_features: int = Field(ge=1, le=4096)
    """Outputs of the map encoder."""
    initial_log_std: float = Field(default=0.0, ge=-5.0, le=2.0)
    """Log of the deviation a policy of continuous actions starts with, in [-5, 2]."""
