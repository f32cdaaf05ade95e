"""Episodes' seeds and the log of their actions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from journeyman.env.episodes import ActionLog, episode_seed, lane_seeds


def test_lane_seeds_do_not_depend_on_the_number_of_worlds() -> None:
    assert np.array_equal(lane_seeds(3, 2), lane_seeds(3, 5)[:2])
    assert len(set(lane_seeds(3, 100).tolist()) | set(lane_seeds(4, 100).tolist())) == 200
    assert lane_seeds([7, 8, 7], 3)[0] == lane_seeds([7], 1)[0] == lane_seeds([7, 8, 7], 3)[2]


def test_episode_seeds_fit_into_31_bits_and_differ() -> None:
    seeds = {episode_seed(lane, episode) for lane in range(30) for episode in range(30)}
    assert len(seeds) == 900
    assert min(seeds) >= 0
    assert max(seeds) < 2**31
    assert max(seeds) > 2**30  # else half of the range would be left out


@given(
    ends=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40)), max_size=20),
    last=st.integers(0, 150),
    cut=st.integers(0, 150),
)
def test_the_log_holds_each_lanes_episode(ends: list[tuple[int, int]], last: int, cut: int) -> None:
    """Against lists; lanes end at any step, the log grows, and is filled from what it held."""
    log = ActionLog(3, (2,), np.dtype(np.float32))
    held: list[list[list[float]]] = [[], [], []]
    number = 0

    def play(steps: int) -> None:
        nonlocal number
        for _ in range(steps):
            actions = np.arange(6, dtype=np.float32).reshape(3, 2) + 10 * number
            number += 1
            log.append(actions)
            for lane in range(3):
                held[lane].append(actions[lane].tolist())

    for lane, steps in ends:
        play(steps)
        log.forget(np.arange(3) == lane)
        held[lane].clear()
    play(last)
    assert [log.actions_of(lane).tolist() for lane in range(3)] == held
    other = ActionLog(3, (2,), np.dtype(np.float32))
    other.fill([log.actions_of(lane) for lane in range(3)])
    log = other
    play(cut)
    assert [log.actions_of(lane).tolist() for lane in range(3)] == held
    assert log.lengths_L.tolist() == [len(one) for one in held]
