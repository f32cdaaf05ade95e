"""The promotion state on disk: kept, waited for, never silently reset."""

import json
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest

from journeyman.errors import UserError
from journeyman.results import PromotionSnapshot
from journeyman.services.promotion import PromotionStore, promote, swap

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def swapped(snapshot: PromotionSnapshot, *releases: str) -> PromotionSnapshot:
    for release in releases:
        snapshot = swap(snapshot, release, NOW)
    return snapshot


def test_a_fresh_folder_has_a_fresh_state(tmp_path: Path) -> None:
    store = PromotionStore(tmp_path / "new")
    snapshot = store.load(required_passes=3, current_release="a")
    assert snapshot == PromotionSnapshot(
        required_passes=3, current_release="a", initial_release="a"
    )
    assert not store.path.exists()
    assert store.history() == ()


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    store = PromotionStore(tmp_path)
    snapshot = swapped(store.load(required_passes=2), "a", "b")
    store.save(snapshot)
    assert PromotionStore(tmp_path).load(required_passes=2) == snapshot
    assert store.history() == snapshot.history
    store.save(swapped(snapshot, "c"))
    assert [entry["release"] for entry in store.history()] == ["a", "b", "c"]


def test_the_history_file_outlives_the_snapshots_fifty(tmp_path: Path) -> None:
    store = PromotionStore(tmp_path)
    snapshot = store.load(required_passes=2)
    for number in range(120):
        snapshot = swapped(snapshot, f"r{number}")
        if number % 7 == 0:
            store.save(snapshot)
    store.save(snapshot)
    assert len(snapshot.history) == 50
    assert [entry["number"] for entry in store.history()] == list(range(1, 121))


@pytest.mark.parametrize(
    "document",
    [
        "",
        "{",
        "[]",
        '{"state": "emperor"}',
        '{"pass_streak": -1}',
        '{"unknown": 1}',
        '{"history": [{"number": "x"}]}',
    ],
)
def test_a_damaged_state_is_refused_and_left_alone(tmp_path: Path, document: str) -> None:
    path = tmp_path / "promotion.json"
    path.write_text(document)
    store = PromotionStore(tmp_path)
    with pytest.raises(UserError, match=r"promotion\.json: not a promotion state .*move it away"):
        store.load(required_passes=2)
    assert path.read_text() == document


def test_a_damaged_history_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    store = PromotionStore(tmp_path)
    snapshot = swapped(store.load(required_passes=2), "a")
    store.history_path.write_text('{"number": 1, "event": "swapped"}\nnonsense\n')
    with pytest.raises(UserError, match=r"promotion_history\.jsonl, line 2: not a promotion"):
        store.save(snapshot)
    assert not store.path.exists()


def test_a_history_of_another_state_is_refused(tmp_path: Path) -> None:
    store = PromotionStore(tmp_path)
    store.save(swapped(store.load(required_passes=2), "a", "b"))
    store.path.unlink()
    fresh = PromotionStore(tmp_path)
    started_anew = fresh.load(required_passes=2)
    for releases in (("x",), ("x", "y"), ("x", "y", "z")):
        with pytest.raises(UserError, match="records other events than"):
            fresh.save(swapped(started_anew, *releases))
    assert [entry["release"] for entry in store.history()] == ["a", "b"]


@pytest.mark.parametrize("kept_bytes", [0, 1, 30])
def test_a_torn_append_is_made_good(tmp_path: Path, kept_bytes: int) -> None:
    # Killed after promotion.json was replaced and within the append of event 2.
    store = PromotionStore(tmp_path)
    snapshot = swapped(store.load(required_passes=2), "a", "b")
    store.save(snapshot)
    first, second = store.history_path.read_bytes().splitlines(keepends=True)
    store.history_path.write_bytes(first + second[:kept_bytes])
    again = PromotionStore(tmp_path)
    again.save(swapped(again.load(required_passes=2), "c"))
    assert [entry["release"] for entry in again.history()] == ["a", "b", "c"]
    assert len(store.history_path.read_text().splitlines()) == 3


def test_a_state_changed_by_others_is_not_overwritten(tmp_path: Path) -> None:
    ours, theirs = PromotionStore(tmp_path), PromotionStore(tmp_path)
    snapshot = ours.load(required_passes=2)
    theirs.save(swapped(theirs.load(required_passes=2), "theirs"))
    with pytest.raises(UserError, match="changed by another process"):
        ours.save(swapped(snapshot, "ours"))
    assert ours.load(required_passes=2).current_release == "theirs"
    assert len(ours.history()) == 1


def test_whoever_waits_too_long_is_told(tmp_path: Path) -> None:
    with PromotionStore(tmp_path).exclusive():
        impatient = PromotionStore(tmp_path, lock_timeout=0.05)
        with pytest.raises(UserError, match="another process has been working"):
            impatient.load(required_passes=2)


def test_two_processes_lose_and_double_nothing(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys
        from datetime import UTC, datetime
        from pathlib import Path
        from journeyman.services.promotion import PromotionStore, draw_seeds, swap

        store = PromotionStore(Path(sys.argv[1]))
        for i in range(20):
            with store.exclusive():
                seeds, snapshot = draw_seeds(store.load(required_passes=2), 7, 3)
                release = f"{sys.argv[2]}-{i}-{seeds[0]}"
                store.save(swap(snapshot, release, datetime.now(UTC)))
        """
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name])
        for name in ("one", "two")
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    store = PromotionStore(tmp_path)
    releases = [entry["release"] for entry in store.history()]
    assert [entry["number"] for entry in store.history()] == list(range(1, 41))
    assert len({release.split("-")[2] for release in releases}) == 40  # no seed twice
    assert {"-".join(r.split("-")[:2]) for r in releases} == {
        f"{name}-{i}" for name in ("one", "two") for i in range(20)
    }
    assert store.load(required_passes=2).seeds_used == 120


@pytest.mark.parametrize(
    ("required", "state", "ready"), [(2, "ready", True), (3, "monitoring", False)]
)
def test_another_number_of_required_passes_is_judged_anew(
    tmp_path: Path, required: int, state: str, ready: bool
) -> None:
    stored = PromotionSnapshot(
        pass_streak=2, candidate="a", required_passes=5, last_evaluated=NOW.isoformat()
    )
    (tmp_path / "promotion.json").write_text(json.dumps(stored.model_dump(mode="json")))
    snapshot = PromotionStore(tmp_path).load(required_passes=required)
    assert (snapshot.required_passes, snapshot.state) == (required, state)
    assert snapshot.candidate_ready is ready
    assert snapshot.candidate_ready_at == (NOW.isoformat() if ready else None)
    if ready:
        assert promote(snapshot, NOW).current_release == "a"
