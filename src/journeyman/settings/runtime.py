"""Keys ``runtime`` and ``checkpoint``: the machine, and how often a run is saved."""

from pydantic import Field

from journeyman.settings.base import Section


class RuntimeSettings(Section):
    """Threads and device; both are recorded, since they can change the last bits."""

    device: str = Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """``auto`` (the CUDA device with most free memory, else the CPU), ``cpu``, ``cuda:N``."""
    torch_threads: int = Field(ge=1, le=1024)
    """Threads of torch and of NumPy's linear algebra; small networks are fastest with one."""
    town_threads: int = Field(ge=1, le=1024)
    """Threads of the town's kernels (worlds are simulated side by side)."""


class CheckpointSettings(Section):
    """Periodic checkpoints besides those at the ends of stages."""

    every: int = Field(ge=1)
    """Write ``checkpoints/latest.safetensors`` every this many updates or epochs."""
