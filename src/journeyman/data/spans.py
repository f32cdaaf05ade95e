"""Where a capture's trajectories begin and end, lane by lane, while it is being played.

Legend: L lanes, K trajectories, E event kinds.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.errors import TrainingError


class Spans:
    """The trajectories of all lanes as they grow, each from one idle step to the next."""

    def __init__(self, lanes: int, events: int) -> None:
        self._began_L = np.zeros(lanes, np.int64)  # -1 where a lane is idle
        self._events_LE = np.zeros((lanes, events), np.float64)
        self._closed: list[tuple[tuple[int, int, int], dict[str, NDArray[Any]], Any]] = []

    def open_lanes(self, among_L: NDArray[np.bool_] | None) -> list[int]:
        """Returns the lanes with a trajectory that has not ended, all or those asked about."""
        lanes: NDArray[Any] = self._began_L >= 0
        return np.flatnonzero(lanes if among_L is None else lanes & among_L).tolist()

    def close(self, lane: int, stop: int, seen: dict[str, NDArray[Any]]) -> None:
        """Ends a lane's trajectory before step ``stop``, after which it saw ``seen``."""
        start = int(self._began_L[lane])
        if stop > start:
            events = self._events_LE[lane].copy()
            self._closed.append(((lane, start, stop), seen, events))
        self._events_LE[lane] = 0.0
        self._began_L[lane] = -1

    def go_on(
        self, t: int, idle_L: NDArray[np.bool_] | None, events_LE: NDArray[np.float32]
    ) -> None:
        """Counts a step's events, and begins trajectories where a lane is no longer idle."""
        if idle_L is None:
            self._began_L[self._began_L < 0] = t
            self._events_LE += events_LE
        else:
            self._began_L[(self._began_L < 0) & ~idle_L] = t
            self._events_LE[~idle_L] += events_LE[~idle_L]

    def joined(
        self, env_id: str
    ) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]], NDArray[np.float64]]:
        """Returns spans (K, 3), what was seen after each (K, ...), and events (K, E)."""
        if not self._closed:
            raise TrainingError(f"{env_id}: every step of the capture was idle")
        spans, seen, events = zip(*sorted(self._closed, key=lambda part: part[0]), strict=True)
        finals = {name: np.stack([part[name] for part in seen]) for name in seen[0]}
        return np.array(spans, np.int64), finals, np.stack(events)
