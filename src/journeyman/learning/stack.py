"""Dense layers as one differentiable step, computed in blocks that stay in the cache.

On the CPU a minibatch of thousands of rows does not fit the cache: layer by layer, each
activation is written to memory and read back by the next. Here a block of rows goes through all
layers, forwards and backwards, while it is hot. The arithmetic is NumPy's: its calls cost a
third of torch's, which for small networks is most of the work, and its tanh is several times
faster. Elsewhere than on the CPU the layers are torch's own.

Legend: B samples, I inputs, H hidden units, O outputs.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float32]

BLOCK_ROWS = 512
"""Rows of a block: 256 KiB of each activation at 128 units."""


def dense_stack(
    inputs: Tensor, layers: Sequence[nn.Linear], activation: str, head: nn.Linear | None = None
) -> Tensor:
    """Returns ``activation(layer(...))`` applied layer after layer, then the head.

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
    activations = _forwards(activation, len(layers), inputs, parameters)
    _HIDDEN.give(activations[:-1])
    return torch.from_numpy(activations[-1])


class _Spares:
    """Arrays that are not needed now, by capacity and width.

    An activation of a large minibatch is larger than what the allocator keeps: it would be
    fetched from the operating system, page by page, at every step anew.
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple[int, int], list[Array]] = {}

    def take(self, rows: int, width: int) -> Array:
        """Returns an array (rows, width) of any content."""
        # Rounded up to a power of two: minibatches of many sizes then share a few arrays.
        capacity = 1 << max(rows - 1, 0).bit_length()
        spare = self._arrays.setdefault((capacity, width), [])
        whole = spare.pop() if spare else np.empty((capacity, width), np.float32)
        return whole[:rows]

    def give(self, arrays: Sequence[Array]) -> None:
        """Takes back arrays of ``take`` that nobody will look at again."""
        for array in arrays:
            whole = array.base
            assert whole is not None
            spare = self._arrays[whole.shape[0], whole.shape[1]]
            if len(spare) < MOST_SPARES:
                spare.append(whole)


MOST_SPARES = 8
_HIDDEN = _Spares()


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, activation: str, activated: int, inputs: Tensor, *parameters: Tensor
    ) -> Tensor:
        ctx.activation, ctx.activated = activation, activated
        ctx.weights = [weight.detach().numpy() for weight in parameters[0::2]]
        ctx.inputs = inputs.detach().numpy()
        ctx.activations = _forwards(activation, activated, inputs, parameters)
        outputs = torch.from_numpy(ctx.activations[-1])
        if activated < len(ctx.weights):
            ctx.activations.pop()  # the head's outputs have no derivative to be found
        return outputs

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.activations is None:
            raise RuntimeError("a gradient can be taken once")
        inputs, weights, activations = ctx.inputs, ctx.weights, ctx.activations
        weight_grads = [np.zeros_like(weight) for weight in weights]
        bias_grads = [np.zeros(len(weight), np.float32) for weight in weights]
        input_grad = np.empty_like(inputs) if ctx.needs_input_grad[2] else None
        incoming = grad_outputs[0].numpy()
        for rows in _blocks(len(inputs)):
            gradient = incoming[rows]
            ones = np.ones(len(gradient), np.float32)
            for k in reversed(range(len(weights))):
                if k < ctx.activated:
                    gradient = _derivative(gradient, activations[k][rows], ctx.activation)
                hidden = activations[k - 1][rows] if k > 0 else inputs[rows]
                _add_product(gradient.T, hidden, weight_grads[k], first=rows.start == 0)
                _add_product(ones, gradient, bias_grads[k], first=rows.start == 0)
                if k > 0:
                    gradient = gradient @ weights[k]
            if input_grad is not None:
                np.matmul(gradient, weights[0], out=input_grad[rows])
        _HIDDEN.give(activations[: len(weights) - 1])
        ctx.activations = None
        gradients = [
            torch.from_numpy(gradient)
            for pair in zip(weight_grads, bias_grads, strict=True)
            for gradient in pair
        ]
        below = None if input_grad is None else torch.from_numpy(input_grad)
        return None, None, below, *gradients


def _forwards(
    activation: str, activated: int, inputs: Tensor, parameters: Sequence[Tensor]
) -> list[Array]:
    """Returns every layer's outputs, the last in an array of its own.

    Args:
        activation: ``tanh`` or ``relu``.
        activated: layers, from the first on, that have it.
        inputs: (B, I).
        parameters: weight, bias, weight, bias, ...
    """
    arrays = [parameter.detach().numpy() for parameter in parameters]
    rows_all = len(inputs)
    outputs = [_HIDDEN.take(rows_all, len(bias)) for bias in arrays[1:-1:2]]
    outputs.append(np.empty((rows_all, len(arrays[-1])), np.float32))
    below = inputs.detach().numpy()
    with np.errstate(all="ignore"):  # whoever learns from it looks for what is not finite
        for rows in _blocks(rows_all):
            hidden = below[rows]
            for k, output in enumerate(outputs):
                hidden = np.matmul(hidden, arrays[2 * k].T, out=output[rows])
                hidden += arrays[2 * k + 1]
                if k < activated:
                    _activate(hidden, activation)
    return outputs


def _blocks(count: int) -> Iterator[slice]:
    """Yields slices that cover all rows."""
    for start in range(0, count, BLOCK_ROWS):
        yield slice(start, start + BLOCK_ROWS)


def _activate(values: Array, activation: str) -> None:
    """Applies the activation in place."""
    if activation == "tanh":
        np.tanh(values, out=values)
    else:
        np.maximum(values, np.float32(0.0), out=values)


def _derivative(gradient: Array, outputs: Array, activation: str) -> Array:
    """Returns the gradient before the activation, given its outputs."""
    if activation == "relu":
        return gradient * (outputs > 0.0)
    slope = np.multiply(outputs, outputs)
    np.subtract(np.float32(1.0), slope, out=slope)
    return np.multiply(gradient, slope, out=slope)


def _add_product(left: Array, right: Array, total: Array, *, first: bool) -> None:
    """Adds ``left @ right`` to the total; the first one replaces what it holds."""
    if first:
        np.matmul(left, right, out=total)
    else:
        total += left @ right
