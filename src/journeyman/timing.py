"""Where a run's wall time goes, by name."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Spans:
    """Adds up durations by name; a span inside another is taken out of the outer one.

    No second is counted twice, so what the names do not cover of a run's wall time is other
    work. Entering and leaving costs about a microsecond: spans go around an update's parts, not
    around an environment's steps.

    Attributes:
        seconds: name -> time spent in it so far, without what was inside.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside: list[float] = []

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Measures a block, whether or not it ends in an exception."""
        began = time.perf_counter()
        self._inside.append(0.0)
        try:
            yield
        finally:
            elapsed = time.perf_counter() - began
            inside = self._inside.pop()
            self.add(name, elapsed - inside)
            self._belongs_elsewhere(inside)

    def add(self, name: str, seconds: float) -> None:
        """Counts a duration that was measured by whoever spent it, inside the open span."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self._belongs_elsewhere(seconds)

    def _belongs_elsewhere(self, seconds: float) -> None:
        if self._inside:
            self._inside[-1] += seconds

    def shares(self, wall_seconds: float) -> dict[str, tuple[float, float]]:
        """Returns name -> (seconds, percent of the wall time), the longest first, other last.

        >>> spans = Spans()
        >>> spans.add("env", 1.0)
        >>> spans.add("update", 6.0)
        >>> spans.shares(8.0)
        {'update': (6.0, 75.0), 'env': (1.0, 12.5), 'other': (1.0, 12.5)}
        """
        named = dict(sorted(self.seconds.items(), key=lambda item: -item[1]))
        named["other"] = max(0.0, wall_seconds - sum(named.values()))
        return {name: (spent, 100.0 * spent / wall_seconds) for name, spent in named.items()}
