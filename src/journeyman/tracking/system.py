"""What a run takes of its machine, sampled on a thread: processor, memory, disk, GPU.

The figures go to MLflow alone, as ``system/...`` over the seconds since the run began: they are
not the same twice, and ``metrics.jsonl`` is what a rerun is compared by.
"""

import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from journeyman.errors import UserError
from journeyman.tracking.null import NoTracker
from journeyman.tracking.protocol import RunInfo, RunStatus

THREAD_NAME = "journeyman-system"
_GPU_QUERY = "--query-gpu=index,utilization.gpu,memory.used"
_GPU_SECONDS = 10.0
_MEGABYTE = 1e6
_logger = logging.getLogger(__name__)

Sink = Callable[[Mapping[str, float], int], None]
"""Takes metrics at a step, on whatever thread."""


def require_psutil() -> None:
    """Checks that what samples is installed.

    Raises:
        UserError: it is not; says how to have it.
    """
    try:
        import psutil  # noqa: F401
    except ImportError as error:
        raise UserError(
            "tracking.system_metrics=true needs psutil, which is not installed; "
            'install it with: pip install "journeyman[system]"'
        ) from error


class SystemTracker(NoTracker):
    """Samples while a run is open.

    Args:
        sink: takes the samples.
        every_seconds: between two samples; the first comes after so long, too.
    """

    def __init__(self, sink: Sink, every_seconds: float) -> None:
        super().__init__()
        self._sink, self._every = sink, every_seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, run: RunInfo) -> None:
        """Starts the thread.

        Raises:
            UserError: psutil is not installed.
        """
        require_psutil()
        sampler = Sampler(run.run_dir)
        # A resumed run counts on from when it first began, so that no second comes twice.
        record = run.run_dir / "environment.json"
        began = record.stat().st_mtime if record.is_file() else time.time()
        self._thread = threading.Thread(
            target=self._work, args=(sampler, began), name=THREAD_NAME, daemon=True
        )
        self._thread.start()

    def finish(self, status: RunStatus) -> None:
        """Ends the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)
            self._thread = None

    def _work(self, sampler: "Sampler", began: float) -> None:
        while not self._stop.wait(self._every):
            try:
                metrics = sampler.sample()
            except Exception:  # whatever a system may say: the run goes on without
                _logger.warning("the machine cannot be measured; no system metrics", exc_info=True)
                return
            if not self._stop.is_set():
                self._sink(metrics, round(time.time() - began))


class Sampler:
    """Measures this process, with all it has started, and its machine.

    Args:
        folder: on the disk that is looked at.
    """

    def __init__(self, folder: Path) -> None:
        import psutil

        self._psutil: Any = psutil
        self._folder = folder
        self._process = psutil.Process()
        self._gpus = shutil.which("nvidia-smi")
        psutil.cpu_percent()  # of the time since the call before
        self._spent, self._at = self._cpu_seconds(), time.monotonic()

    def sample(self) -> dict[str, float]:
        """Returns the metrics, percentages of the processor since the call before."""
        spent, now = self._cpu_seconds(), time.monotonic()
        passed = max(now - self._at, 1e-3)
        # A process that was started and is gone again takes its seconds with it.
        cpu = 100.0 * max(0.0, spent - self._spent) / passed
        self._spent, self._at = spent, now
        memory = self._psutil.virtual_memory()
        disk = shutil.disk_usage(self._folder)
        resident = sum(each.memory_info().rss for each in self._alive())
        return {
            "cpu_percent": cpu,
            "memory_megabytes": resident / _MEGABYTE,
            "machine_cpu_percent": self._psutil.cpu_percent(),
            "machine_memory_percent": float(memory.percent),
            "disk_used_percent": 100.0 * disk.used / disk.total,
            "disk_free_megabytes": disk.free / _MEGABYTE,
            **self._gpu(),
        }

    def _cpu_seconds(self) -> float:
        times = [each.cpu_times() for each in self._alive()]
        return float(sum(each.user + each.system for each in times))

    def _alive(self) -> Iterator[Any]:
        yield self._process
        for child in self._process.children(recursive=True):
            if child.is_running() and child.status() != self._psutil.STATUS_ZOMBIE:
                yield child

    def _gpu(self) -> dict[str, float]:
        if self._gpus is None:
            return {}
        try:
            said = subprocess.run(
                [self._gpus, _GPU_QUERY, "--format=csv,noheader,nounits"],
                capture_output=True,
                text=True,
                timeout=_GPU_SECONDS,
                check=True,
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            _logger.warning("nvidia-smi does not answer (%s); no metrics of GPUs", error)
            self._gpus = None
            return {}
        return gpu_metrics(said)


def gpu_metrics(said: str) -> dict[str, float]:
    """Returns metrics of what ``nvidia-smi`` says; figures it does not have are left out.

    >>> gpu_metrics("0, 37, 1024\\n1, [N/A], 5\\n")
    {'gpu_0_percent': 37.0, 'gpu_0_memory_mebibytes': 1024.0, 'gpu_1_memory_mebibytes': 5.0}
    """
    metrics = {}
    for line in said.splitlines():
        index, *figures = (part.strip() for part in line.split(","))
        for name, figure in zip(("percent", "memory_mebibytes"), figures, strict=True):
            if figure.replace(".", "", 1).isdigit():
                metrics[f"gpu_{index}_{name}"] = float(figure)
    return metrics
