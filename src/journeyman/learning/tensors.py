"""NumPy arrays as tensors."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def as_tensor(array: NDArray[Any], device: torch.device) -> Tensor:
    """Returns a tensor on a device; on the CPU it shares a writable array's memory.

    Read-only arrays are copied: torch has no read-only tensors and would warn.
    """
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)
