"""What a stage keeps of its work, and writes when it is ended in the middle of it."""

from pathlib import Path

import pytest

from journeyman.checkpoint import Checkpoint, load_checkpoint
from journeyman.context import RunStopped
from journeyman.strategies.keeping import SLOW_SECONDS, Keeper
from support.training import Surroundings, untrained

FAST = SLOW_SECONDS / 10


def after(start: Checkpoint, done: int) -> Checkpoint:
    return start.with_parts({}, schedule={"stage_update": done})


def work(keeper: Keeper, start: Checkpoint, count: int, seconds: float) -> None:
    """Works through some updates and is stopped in the middle of the next one."""
    with keeper.rescue():
        for done in range(1, count + 1):
            if keeper.wants(done, seconds):
                keeper.keep(done, after(start, done))
        raise RunStopped(15)


def written(folder: Path) -> int | None:
    path = folder / "checkpoints" / "latest.safetensors"
    if not path.exists():
        return None
    return int(load_checkpoint(path).state["schedule"]["stage_update"])


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        # Every second one is due; of quick ones the third is gone, of slow ones it is rescued.
        (FAST, 2),
        (SLOW_SECONDS, 3),
    ],
)
def test_work_ended_in_the_middle_of_the_fourth(
    tmp_path: Path, seconds: float, expected: int
) -> None:
    context = Surroundings(tmp_path, checkpoint_every=2)
    start = untrained(context)
    with pytest.raises(RunStopped):
        work(Keeper(context, start, 10), start, 3, seconds)
    assert written(tmp_path) == expected


def test_what_is_written_already_is_not_written_again(tmp_path: Path) -> None:
    context = Surroundings(tmp_path, checkpoint_every=1)
    start = untrained(context)
    with pytest.raises(RunStopped):
        work(Keeper(context, start, 10), start, 1, FAST)
    assert len(context.saved) == 1


def test_a_stop_at_a_safe_point_writes_where_it_is(tmp_path: Path) -> None:
    context = Surroundings(tmp_path, stop_after=1)
    start = untrained(context)
    keeper = Keeper(context, start, 10)
    assert not keeper.asked_to_stop()
    assert written(tmp_path) is None
    assert keeper.asked_to_stop()
    with pytest.raises(RunStopped), keeper.rescue():
        keeper.stop(after(start, 7))
    assert written(tmp_path) == 7
    assert len(context.saved) == 1


def test_the_last_state_is_the_stages_to_leave(tmp_path: Path) -> None:
    keeper = Keeper(Surroundings(tmp_path, checkpoint_every=5), Checkpoint({}), 10)
    assert [done for done in range(1, 11) if keeper.wants(done, FAST)] == [5]
    every = Keeper(Surroundings(tmp_path, checkpoint_every=5), Checkpoint({}), 3, keep_all=True)
    assert [done for done in range(1, 4) if every.wants(done, FAST)] == [1, 2, 3]
