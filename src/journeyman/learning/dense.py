"""Dense layers in NumPy, forwards and backwards, computed in blocks that stay in the cache.

A minibatch of thousands of rows does not fit the cache: layer by layer, each activation is
written to memory and read back by the next. Here a block of rows goes through all layers while
it is hot. NumPy's calls cost a third of torch's, which for small networks is most of the work,
and its tanh is several times faster.

Legend: B samples, I inputs, H hidden units, O outputs.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

BLOCK_ROWS = 512
"""Rows of a block: 256 KiB of each activation at 128 units."""


class Activations:
    """What every layer put out for the same inputs.

    Args:
        inputs: (B, I).
        parameters: weight, bias, weight, bias, ...
        activation: ``tanh`` or ``relu``.
        activated: layers, from the first on, that have it.

    Attributes:
        outputs: (B, O) of the last layer, in an array of its own.
    """

    def __init__(
        self, inputs: Array, parameters: Sequence[Array], activation: str, activated: int
    ) -> None:
        self._inputs, self._activation, self._activated = inputs, activation, activated
        self._weights = parameters[0::2]
        count = len(inputs)
        self.outputs = np.empty((count, len(parameters[-1])), np.float32)
        self._hidden = [_SPARES.take(count, len(bias)) for bias in parameters[1:-1:2]]
        every = [*self._hidden, self.outputs]
        with np.errstate(all="ignore"):  # whoever learns from it looks for what is not finite
            for rows in _blocks(count):
                hidden = inputs[rows]
                for k, output in enumerate(every):
                    hidden = np.matmul(hidden, parameters[2 * k].T, out=output[rows])
                    hidden += parameters[2 * k + 1]
                    if k < activated:
                        _activate(hidden, activation)

    def backwards(
        self, gradient: Array, gradients: Sequence[Array], input_gradient: Array | None = None
    ) -> None:
        """Writes the parameters' gradients; it can be done once.

        Args:
            gradient: (B, O), of the outputs.
            gradients: arrays to write to, shaped as the parameters.
            input_gradient: (B, I) array to write to, or None.

        Raises:
            RuntimeError: it is done already.
        """
        if len(self._weights) == 0:
            raise RuntimeError("a gradient can be taken once")
        weights, hidden, every = self._weights, self._hidden, [*self._hidden, self.outputs]
        if len(self._inputs) == 0:
            for array in gradients:
                array.fill(0.0)
        with np.errstate(all="ignore"):
            for rows in _blocks(len(self._inputs)):
                above, first = gradient[rows], rows.start == 0
                ones = np.ones(len(above), np.float32)
                for k in reversed(range(len(weights))):
                    if k < self._activated:
                        above = _derivative(above, every[k][rows], self._activation)
                    below = hidden[k - 1][rows] if k > 0 else self._inputs[rows]
                    _add_product(above.T, below, gradients[2 * k], first=first)
                    _add_product(ones, above, gradients[2 * k + 1], first=first)
                    if k > 0:
                        above = above @ weights[k]
                if input_gradient is not None:
                    np.matmul(above, weights[0], out=input_gradient[rows])
        self.release()

    def release(self) -> None:
        """Says that no gradient is wanted, or that it was taken."""
        _SPARES.give(self._hidden)
        self._weights, self._hidden = (), []


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
_SPARES = _Spares()


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
