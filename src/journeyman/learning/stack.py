"""Dense layers as one differentiable step of torch's graph.

Legend: B samples, I inputs, H hidden units, O outputs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from journeyman.learning.dense import Activations


def dense_stack(
    inputs: Tensor, layers: Sequence[nn.Linear], activation: str, head: nn.Linear | None = None
) -> Tensor:
    """Returns ``activation(layer(...))`` applied layer after layer, then the head.

    On the CPU the arithmetic is that of ``dense``, elsewhere torch's own.

    Args:
        inputs: (B, I) float32.
        layers: at least one; each has a bias.
        activation: ``tanh`` or ``relu``, after every layer.
        head: a last layer without activation, or None.

    Returns:
        (B, O) float32 of the head, or (B, H) of the last layer.
    """
    if inputs.device.type != "cpu":
        activate = torch.tanh if activation == "tanh" else torch.relu
        for layer in layers:
            inputs = activate(layer(inputs))
        return inputs if head is None else head(inputs)
    every = [*layers] if head is None else [*layers, head]
    parameters = [p for layer in every for p in (layer.weight, layer.bias)]
    if torch.is_grad_enabled():
        outputs: Tensor = _Stack.apply(activation, len(layers), inputs, *parameters)  # type: ignore[no-untyped-call]
        return outputs
    arrays = [parameter.detach().numpy() for parameter in parameters]
    found = Activations(inputs.detach().numpy(), arrays, activation, len(layers))
    found.release()
    return torch.from_numpy(found.outputs)


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, activation: str, activated: int, inputs: Tensor, *parameters: Tensor
    ) -> Tensor:
        arrays = [parameter.detach().numpy() for parameter in parameters]
        ctx.shapes, ctx.inputs_shape = [array.shape for array in arrays], inputs.shape
        ctx.found = Activations(inputs.detach().numpy(), arrays, activation, activated)
        return torch.from_numpy(ctx.found.outputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        gradients = [np.empty(shape, np.float32) for shape in ctx.shapes]
        wanted = ctx.needs_input_grad[2]
        below = np.empty(ctx.inputs_shape, np.float32) if wanted else None
        ctx.found.backwards(grad_outputs[0].numpy(), gradients, below)
        input_gradient = None if below is None else torch.from_numpy(below)
        return None, None, input_gradient, *map(torch.from_numpy, gradients)
