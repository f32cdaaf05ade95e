"""Dense layers as one differentiable step, computed in blocks that stay in the cache.

On the CPU a minibatch of thousands of rows does not fit the cache: layer by layer, each
activation is written to memory and read back by the next. Here a block of rows goes through all
layers, forwards and backwards, while it is hot; and tanh is NumPy's, whose vectorised kernel is
several times faster than torch's (which costs as much as the matrix product before it).

Legend: B samples, I inputs, H hidden units.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

BLOCK_ROWS = 512
"""Rows of a block on the CPU: 256 KiB of each activation at 128 units."""


def dense_stack(inputs: Tensor, layers: Sequence[nn.Linear], activation: str) -> Tensor:
    """Returns ``activation(layer(...))`` applied layer after layer.

    Args:
        inputs: (B, I) float32.
        layers: at least one; each has a bias.
        activation: ``tanh`` or ``relu``, after every layer.

    Returns:
        (B, H) float32 of the last layer.
    """
    parameters = [p for layer in layers for p in (layer.weight, layer.bias)]
    if not torch.is_grad_enabled():
        return _forwards(activation, inputs, parameters)[-1]
    outputs: Tensor = _Stack.apply(activation, inputs, *parameters)  # type: ignore[no-untyped-call]
    return outputs


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, activation: str, inputs: Tensor, *parameters: Tensor) -> Tensor:
        outputs = _forwards(activation, inputs, parameters)
        ctx.activation = activation
        ctx.save_for_backward(inputs, *parameters[0::2], *outputs)
        return outputs[-1]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        inputs, *saved = ctx.saved_tensors
        depth = len(saved) // 2
        weights, outputs = saved[:depth], saved[depth:]
        weight_grads = [torch.zeros_like(weight) for weight in weights]
        bias_grads = [weight.new_zeros(len(weight)) for weight in weights]
        input_grad = torch.empty_like(inputs) if ctx.needs_input_grad[1] else None
        for rows in _blocks(inputs):
            gradient = grad_outputs[0][rows]
            for k in reversed(range(depth)):
                gradient = _derivative(gradient, outputs[k][rows], ctx.activation)
                below = outputs[k - 1][rows] if k > 0 else inputs[rows]
                weight_grads[k].addmm_(gradient.t(), below)
                bias_grads[k].add_(gradient.sum(dim=0))
                if k > 0:
                    gradient = gradient @ weights[k]
            if input_grad is not None:
                torch.mm(gradient, weights[0], out=input_grad[rows])
        pairs = zip(weight_grads, bias_grads, strict=True)
        return (None, input_grad, *(gradient for pair in pairs for gradient in pair))


def _forwards(activation: str, inputs: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Returns every layer's outputs; ``parameters`` are weight, bias, weight, bias, ..."""
    weights, biases = parameters[0::2], parameters[1::2]
    outputs = [inputs.new_empty(len(inputs), len(bias)) for bias in biases]
    for rows in _blocks(inputs):
        hidden = inputs[rows]
        for weight, bias, output in zip(weights, biases, outputs, strict=True):
            hidden = torch.addmm(bias, hidden, weight.t(), out=output[rows])
            _activate(hidden, activation)
    return outputs


def _blocks(inputs: Tensor) -> Iterator[slice]:
    """Yields slices that cover all rows: blocks on the CPU, one slice elsewhere."""
    size = BLOCK_ROWS if inputs.device.type == "cpu" else max(len(inputs), 1)
    for start in range(0, len(inputs), size):
        yield slice(start, start + size)


def _activate(values: Tensor, activation: str) -> None:
    """Applies the activation in place."""
    if activation == "relu":
        values.relu_()
    elif values.device.type == "cpu":
        view = values.numpy()
        np.tanh(view, out=view)
    else:
        values.tanh_()


def _derivative(gradient: Tensor, outputs: Tensor, activation: str) -> Tensor:
    """Returns the gradient before the activation, given its outputs."""
    result: Tensor
    if activation == "relu":
        result = torch.ops.aten.threshold_backward(gradient, outputs, 0)
    else:
        result = torch.ops.aten.tanh_backward(gradient, outputs)
    return result
