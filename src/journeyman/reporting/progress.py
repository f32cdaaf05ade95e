"""A live line for the work at hand, and a printed line for each piece that is done."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class SilentProgress:
    """Shows nothing: for Python users and tests."""

    def begin(self, name: str) -> None:
        """Does nothing."""

    def advance(self, done: int, total: int, **figures: float) -> None:
        """Does nothing."""

    def end(self, note: str = "") -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


class ConsoleProgress:
    """A bar on a terminal; in a pipe or a log only the lines of finished work."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("  {task.description:<22}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            transient=True,
            refresh_per_second=8,
        )
        self._task = self._bars.add_task("", total=None, visible=False, figures="")
        self._name = ""
        self._began = 0.0

    def begin(self, name: str) -> None:
        """Opens the line of a piece of work."""
        self._name, self._began = name, time.monotonic()
        self._bars.reset(
            self._task, description=name, total=None, visible=True, figures="", start=True
        )
        if self.console.is_terminal:
            self._bars.start()

    def advance(self, done: int, total: int, **figures: float) -> None:
        """Moves the bar; ``figures`` are shown beside it."""
        shown = "  ".join(f"{name} {value:.3g}" for name, value in figures.items())
        self._bars.update(self._task, completed=done, total=total, figures=shown)

    def end(self, note: str = "") -> None:
        """Prints the finished line with its duration."""
        self._bars.update(self._task, visible=False)
        self.close()
        seconds = time.monotonic() - self._began
        self.console.print(
            f"  {self._name:<20} {seconds:6.1f} s  {note}", markup=False, soft_wrap=True
        )

    def close(self) -> None:
        """Takes the bar off the screen."""
        if self.console.is_terminal:
            self._bars.stop()
