"""Seeds and records of episodes: what makes an environment repeatable from its seed.

An episode's seed comes from its lane's seed and its number in the lane, so that a lane plays the
same episodes whatever is played beside it, and so that a lane's state is its seed, the number of
its episode and the actions taken in it.

Legend: L lanes, T steps, W worlds.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def lane_seeds(seed: int | Sequence[int], worlds: int) -> NDArray[np.int64]:
    """Returns a seed a world, (W,) in [0, 2**63).

    Args:
        seed: an int, from which and its number each world's seed is derived, or W ints.
        worlds: W.

    Raises:
        ValueError: if a sequence of seeds has not one for each world.
    """
    if isinstance(seed, int | np.integer):
        sequences = [np.random.SeedSequence(int(seed), spawn_key=(w,)) for w in range(worlds)]
    elif len(seed) == worlds:
        sequences = [np.random.SeedSequence(int(one)) for one in seed]
    else:
        raise ValueError(f"seed: {len(seed)} seeds for {worlds} worlds")
    words = [sequence.generate_state(1, np.uint64)[0] >> 1 for sequence in sequences]
    return np.array(words, np.int64)


def seen_digest(seen: Mapping[str, NDArray[Any]], lanes: slice) -> NDArray[np.uint8]:
    """Returns the SHA-256 of what some lanes see, (32,) uint8."""
    sha = hashlib.sha256()
    for name in sorted(seen):
        sha.update(np.ascontiguousarray(seen[name][lanes]).tobytes())
    return np.frombuffer(sha.digest(), np.uint8)


def episode_seed(lane_seed: int, episode: int) -> int:
    """Returns the seed of a lane's episode number ``episode``, 31 bits.

    >>> episode_seed(5, 0) == episode_seed(5, 0) != episode_seed(5, 1)
    True
    """
    sequence = np.random.SeedSequence(int(lane_seed), spawn_key=(int(episode),))
    return int(sequence.generate_state(1, np.uint32)[0] >> 1)


class ActionLog:
    """The actions of each lane's episode so far, in a ring of rows that grows when it must.

    Args:
        lanes: L.
        shape: of one lane's action.
        dtype: of actions.
    """

    def __init__(self, lanes: int, shape: tuple[int, ...], dtype: "np.dtype[np.generic]") -> None:
        self._rows = np.zeros((64, lanes, *shape), dtype)
        self._next = 0
        self._free = len(self._rows)
        self.lengths_L = np.zeros(lanes, np.int64)

    def append(self, actions_L: NDArray[np.generic]) -> None:
        """Adds a step of all lanes."""
        if self._free == 0:
            self._make_room()
        self._rows[self._next] = actions_L
        self._next = (self._next + 1) % len(self._rows)
        self._free -= 1
        self.lengths_L += 1

    def forget(self, ended_L: NDArray[np.bool_]) -> None:
        """Drops the episodes of the lanes that ended."""
        self.lengths_L[ended_L] = 0

    def actions_of(self, lane: int) -> NDArray[np.generic]:
        """Returns the (T, ...) actions of a lane's episode, in order."""
        last = np.arange(self._next - self.lengths_L[lane], self._next)
        actions: NDArray[np.generic] = self._rows[last % len(self._rows), lane]
        return actions

    def fill(self, episodes: Sequence[NDArray[np.generic]]) -> None:
        """Puts back what ``actions_of`` returned, one a lane."""
        lengths = [len(actions) for actions in episodes]
        size = len(self._rows)
        while size < max(lengths):
            size *= 2
        self._rows = np.zeros((size, *self._rows.shape[1:]), self._rows.dtype)
        self.lengths_L[:] = lengths
        self._next, self._free = 0, size - max(lengths)
        for lane, actions in enumerate(episodes):
            if len(actions):
                self._rows[-len(actions) :, lane] = actions

    def _make_room(self) -> None:
        """Finds out how many rows are needed still; doubles their number where all are."""
        size, needed = len(self._rows), int(self.lengths_L.max())
        if needed == size:
            ordered = np.roll(self._rows, -self._next, axis=0)
            self._rows = np.concatenate([ordered, np.zeros_like(ordered)])
            self._next, self._free = size, size
        else:
            self._free = size - needed
