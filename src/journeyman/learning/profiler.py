"""A torch profiler trace of a few updates, for chrome://tracing or Perfetto."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

ACTIVE = 3
"""Updates recorded."""


def plan(count: int) -> tuple[int, int, int]:
    """Returns how many updates of ``count`` are let pass, warmed up on, and recorded.

    The first update allocates what later ones use again, so it is recorded only if there is
    nothing else.

    >>> [plan(count) for count in (1, 2, 3, 4, 5, 100)]
    [(0, 0, 1), (0, 1, 1), (1, 1, 1), (1, 1, 2), (1, 1, 3), (1, 1, 3)]
    """
    wait, warmup = int(count > 2), int(count > 1)
    return wait, warmup, min(ACTIVE, count - wait - warmup)


@contextmanager
def traced(path: Path | None, count: int) -> Iterator[Callable[[], None]]:
    """Records a few of the updates made inside into a Chrome trace.

    Args:
        path: file to write; None, or one that is there already: nothing is recorded.
        count: updates that will be made, at least 1.

    Yields:
        What to call after each update.
    """
    if path is None or path.exists():
        yield lambda: None
        return
    wait, warmup, active = plan(count)
    schedule = None  # record all there is
    if warmup:
        schedule = torch.profiler.schedule(wait=wait, warmup=warmup, active=active, repeat=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(
        activities=activities,
        schedule=schedule,
        on_trace_ready=lambda profiler: profiler.export_chrome_trace(str(path)),
        # Without it torch warns that events of earlier cycles are dropped; there is one cycle.
        acc_events=True,
    ) as profiler:
        yield profiler.step
