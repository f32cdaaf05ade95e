"""Where tensors live."""

import torch

from journeyman.errors import UserError


def resolve_device(name: str) -> torch.device:
    """Returns the device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    ``auto`` takes the CUDA device with most free memory, else the CPU.

    Raises:
        UserError: if the name means nothing or the device is not there.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        free = [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]
        return torch.device("cuda", free.index(max(free)))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device {name!r}: not a device; use auto, cpu or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r}: not supported; use auto, cpu or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UserError(f"device {name!r}: this machine has {count} CUDA devices; use auto or cpu")
    return device


def describe_device() -> str:
    """Returns what ``auto`` would take, in words."""
    device = resolve_device("auto")
    if device.type == "cpu":
        return "cpu (torch sees no CUDA device)"
    free, total = (size / 2**30 for size in torch.cuda.mem_get_info(device))
    return f"{device}, {torch.cuda.get_device_name(device)}, {free:.1f} of {total:.1f} GiB free"
