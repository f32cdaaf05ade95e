"""What a stage keeps of its work, and writes when it is ended in the middle of it."""

import itertools
from pathlib import Path

import pytest

from journeyman.checkpoint import Checkpoint, load_checkpoint
from journeyman.context import RunStopped
from journeyman.errors import TrainingError
from journeyman.strategies.keeping import SLOW_SECONDS, Keeper
from support.training import Surroundings, untrained

FAST = SLOW_SECONDS / 10


def after(start: Checkpoint, done: int) -> Checkpoint:
    return start.with_parts({}, schedule={"stage_update": done})


def work(
    keeper: Keeper,
    start: Checkpoint,
    count: int,
    seconds: float,
    error: BaseException | None = None,
) -> None:
    """Works through some updates and is ended in the middle of the next one."""
    with keeper.rescue():
        for done in range(1, count + 1):
            if keeper.wants(done, seconds):
                keeper.keep(done, after(start, done))
        raise RunStopped(15) if error is None else error


def written(folder: Path) -> int | None:
    path = folder / "checkpoints" / "latest.safetensors"
    if not path.exists():
        return None
    return int(load_checkpoint(path).state["schedule"]["stage_update"])


def kept(
    monkeypatch: pytest.MonkeyPatch,
    context: Surroundings,
    count: int,
    *,
    seconds: float,
    keeping: float,
) -> list[int]:
    """Returns the updates whose states are kept, if each takes so long and keeping one so long."""
    now, spent = 0.0, 0.0
    monkeypatch.setattr("journeyman.strategies.keeping.perf_counter", lambda: now)
    start = untrained(context)
    keeper, found = Keeper(context, start, count), []
    for done in range(1, count + 1):
        now += seconds
        if keeper.wants(done, seconds):
            now += keeping
            spent += keeping
            keeper.keep(done, after(start, done))
            found.append(done)
    monkeypatch.undo()
    return found


@pytest.mark.parametrize(
    ("seconds", "keeping", "expected"),
    [
        # 100 updates of 10 ms, 2 ms to keep one: 0.1 s and a hundredth of 1 s are 55 of them.
        (0.01, 0.002, 56),
        # 20 ms to keep one: five in 0.1 s, which are spent up to the second hundredth.
        (0.01, 0.02, 6),
        # Slow ones are kept all, whatever that takes.
        (SLOW_SECONDS, 0.1, 100),
    ],
)
def test_how_many_states_are_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    keeping: float,
    expected: int,
) -> None:
    context = Surroundings(tmp_path, checkpoint_every=1000)
    found = kept(monkeypatch, context, 100, seconds=seconds, keeping=keeping)
    assert abs(len(found) - expected) <= 1, found
    assert found[0] == 1


def test_states_go_on_being_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2000 updates of 0.1 s, 5 ms to keep one: at least every 0.5 s."""
    context = Surroundings(tmp_path, checkpoint_every=10_000)
    found = kept(monkeypatch, context, 2000, seconds=0.1, keeping=0.005)
    assert max(b - a for a, b in itertools.pairwise(found)) <= 6
    # A hundredth of 200 s, and 0.1 s: 420 times 5 ms.
    assert len(found) <= 425


@pytest.mark.parametrize("error", [RunStopped(15), TrainingError("it broke"), ValueError("nan")])
def test_work_ended_in_the_middle_of_the_fourth(tmp_path: Path, error: BaseException) -> None:
    """Every second one is due; the third is rescued, whatever ended the fourth."""
    context = Surroundings(tmp_path, checkpoint_every=2)
    start = untrained(context)
    with pytest.raises(type(error)):
        work(Keeper(context, start, 10), start, 3, FAST, error)
    assert written(tmp_path) == 3


def test_what_has_said_more_than_it_kept_is_not_rescued(tmp_path: Path) -> None:
    """Its metrics would be those of a later update, and said again by who goes on from it."""
    context = Surroundings(tmp_path, checkpoint_every=2)
    start = untrained(context)
    keeper = Keeper(context, start, 10)
    wants = keeper.wants

    def telling(done: int, seconds: float) -> bool:
        context.emit("reward", {"chat": 0.0}, done)
        if done == 4:
            raise TrainingError("half of the fourth is said")
        return wants(done, seconds)

    keeper.wants = telling  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match="half of the fourth"):
        work(keeper, start, 10, FAST)
    assert [each.state["schedule"]["stage_update"] for each in context.saved] == [2]


def test_a_rescue_that_fails_hides_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = Surroundings(tmp_path, checkpoint_every=50)

    def full(checkpoint: Checkpoint, name: str = "latest") -> Path:
        raise OSError(28, "No space left on device")

    context.save = full  # type: ignore[method-assign]
    start = untrained(context)
    with pytest.raises(TrainingError, match="it broke"):
        work(Keeper(context, start, 10), start, 3, FAST, TrainingError("it broke"))
    assert "the last good state could not be written" in caplog.text


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


def test_the_last_state_is_the_stages_to_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Due is every fifth of ten, but the last; nothing else is wanted where there is no time."""
    context = Surroundings(tmp_path, checkpoint_every=5)
    found = kept(monkeypatch, context, 10, seconds=FAST, keeping=1e9)
    assert found == [1, 5], "the first costs nothing yet"
    assert len(context.saved) == 1
    every = Keeper(Surroundings(tmp_path, checkpoint_every=5), Checkpoint({}), 3, keep_all=True)
    assert [done for done in range(1, 4) if every.wants(done, FAST)] == [1, 2, 3]
