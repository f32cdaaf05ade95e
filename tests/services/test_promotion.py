"""Promotion's transitions: seeds, streaks, readiness, releases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.errors import UserError
from journeyman.results import Interval, PairedResult, PromotionEvaluation, PromotionSnapshot
from journeyman.services.evaluation import evaluation_seeds
from journeyman.services.promotion import (
    HISTORY_LENGTH,
    advance,
    draw_seeds,
    promote,
    rollback,
    swap,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def at(minute: int) -> datetime:
    return NOW + timedelta(minutes=minute)


def outcome(weights: str, passed: bool, seed: int) -> PromotionEvaluation:
    return PromotionEvaluation(
        passed=passed,
        reasons=(),
        max_rate_increase={},
        weights_digest=weights,
        paired=PairedResult(
            candidate="candidate",
            opponent="demonstrator",
            difference=Interval(mean=1.0, low=0.5, high=1.5, episodes=2),
            probability_of_improvement=1.0,
            candidate_iqm=1.0,
            opponent_iqm=0.0,
            seeds=(seed, seed + 1_000_000),
        ),
    )


def after(*results: tuple[str, bool], required_passes: int = 2) -> PromotionSnapshot:
    snapshot = PromotionSnapshot(required_passes=required_passes)
    for minute, (weights, passed) in enumerate(results):
        snapshot = advance(snapshot, outcome(weights, passed, minute), at(minute))
    return snapshot


def released(*releases: str) -> PromotionSnapshot:
    snapshot = PromotionSnapshot()
    for minute, weights in enumerate(releases):
        snapshot = advance(snapshot, outcome(weights, True, minute), at(minute))
        snapshot = promote(snapshot, at(minute), force=True)
    return snapshot


def test_seeds_are_never_drawn_twice() -> None:
    snapshot = PromotionSnapshot()
    drawn: list[int] = []
    for episodes in (4, 32, 7):
        seeds, snapshot = draw_seeds(snapshot, 99, episodes)
        assert len(seeds) == episodes
        drawn += seeds
    assert snapshot.seeds_used == 43
    assert len(set(drawn)) == 43
    assert set(drawn).isdisjoint(evaluation_seeds(99, 10_000))
    # The counter alone decides which: another process that goes on from it draws the same.
    assert draw_seeds(PromotionSnapshot(seeds_used=4), 99, 32)[0] == tuple(drawn[4:36])


@pytest.mark.parametrize(
    ("results", "streak", "candidate"),
    [
        ([("a", True)], 1, "a"),
        ([("a", True), ("a", True)], 2, "a"),
        ([("a", True), ("a", True), ("a", True)], 3, "a"),
        ([("a", True), ("a", False)], 0, "a"),
        ([("a", True), ("b", True)], 1, "b"),  # other weights start over
        ([("a", True), ("b", False)], 0, "b"),
        ([("a", True), ("b", False), ("a", True)], 1, "a"),
        ([("a", True), ("a", False), ("a", True)], 1, "a"),
    ],
)
def test_the_streak_belongs_to_one_set_of_weights(
    results: list[tuple[str, bool]], streak: int, candidate: str
) -> None:
    snapshot = after(*results)
    assert (snapshot.pass_streak, snapshot.candidate) == (streak, candidate)
    assert snapshot.candidate_ready is (streak >= 2)
    assert snapshot.state == ("ready" if streak >= 2 else "monitoring")
    assert snapshot.last_evaluated == at(len(results) - 1).isoformat()
    assert snapshot.last_result is not None
    assert snapshot.last_result.weights_digest == candidate


def test_ready_since_the_pass_that_made_it_so() -> None:
    assert after(("a", True)).candidate_ready_at is None
    first = after(("a", True), ("a", True))
    assert first.candidate_ready_at == "2030-01-01T00:01:00+00:00"
    assert after(("a", True), ("a", True), ("a", True)).candidate_ready_at == (
        first.candidate_ready_at
    )
    broken = advance(first, outcome("a", False, 9), at(9))
    assert (broken.state, broken.candidate_ready_at) == ("monitoring", None)
    # With one pass required, other weights are ready from their own pass on.
    other = after(("a", True), ("b", True), required_passes=1)
    assert other.candidate_ready_at == "2030-01-01T00:01:00+00:00"


def test_one_evaluation_counts_once() -> None:
    snapshot = after(("a", True))
    with pytest.raises(UserError, match="counted already"):
        advance(snapshot, outcome("a", True, 0), at(5))
    assert advance(snapshot, outcome("b", True, 0), at(5)).pass_streak == 1


def test_the_history_says_in_short_what_happened() -> None:
    entry = after(("a", True), ("a", False)).history[1]
    identity = entry["evaluation"]
    assert entry == {
        "number": 2,
        "time": "2030-01-01T00:01:00+00:00",
        "event": "evaluated",
        "evaluation": identity,
        "candidate": "a",
        "opponent": "demonstrator",
        "passed": False,
        "pass_streak": 0,
        "difference": [0.5, 1.0, 1.5],
        "episodes": 2,
    }
    assert len(identity) == 16


def test_promoting_what_is_ready() -> None:
    snapshot = promote(after(("a", True), ("a", True)), at(3))
    assert (snapshot.state, snapshot.current_release) == ("promoted", "a")
    assert snapshot.initial_release == "a"
    assert (snapshot.pass_streak, snapshot.candidate_ready, snapshot.candidate) == (0, False, None)
    assert snapshot.history[-1] == {
        "number": 3,
        "time": at(3).isoformat(),
        "event": "promoted",
        "release": "a",
        "previous": None,
        "forced": False,
        "pass_streak": 2,
    }


def test_promoting_what_is_not_ready_takes_force_and_is_recorded() -> None:
    snapshot = after(("a", True))
    with pytest.raises(UserError, match=r"not ready: 1 of 2 passes in a row.*--force"):
        promote(snapshot, at(3))
    forced = promote(snapshot, at(3), force=True)
    assert forced.current_release == "a"
    assert forced.history[-1]["forced"] is True
    # Force that was not needed is no forced promotion.
    ready = after(("a", True), ("a", True))
    assert promote(ready, at(3), force=True).history[-1]["forced"] is False


def test_there_must_be_something_to_promote() -> None:
    with pytest.raises(UserError, match="no candidate"):
        promote(PromotionSnapshot(), NOW, force=True)
    champion = promote(after(("a", True), ("a", True)), at(3))
    with pytest.raises(UserError, match="no candidate"):
        promote(champion, at(4), force=True)
    again = advance(champion, outcome("a", True, 8), at(8))
    with pytest.raises(UserError, match="current release already"):
        promote(again, at(9), force=True)


def test_a_promoted_state_goes_on_with_the_next_candidate() -> None:
    snapshot = promote(after(("a", True), ("a", True)), at(3))
    snapshot = advance(snapshot, outcome("b", True, 4), at(4))
    assert (snapshot.state, snapshot.pass_streak) == ("monitoring", 1)
    assert (snapshot.current_release, snapshot.initial_release) == ("a", "a")


def test_rollback_goes_back_release_by_release() -> None:
    snapshot = released("a", "b", "c")
    snapshot = advance(snapshot, outcome("d", True, 7), at(7))
    snapshot = rollback(snapshot, at(8))
    assert (snapshot.current_release, snapshot.state, snapshot.pass_streak) == (
        "b",
        "monitoring",
        0,
    )
    assert (snapshot.candidate, snapshot.candidate_ready) == (None, False)
    assert snapshot.history[-1]["previous"] == "c"
    snapshot = rollback(snapshot, at(9))
    assert snapshot.current_release == "a"
    with pytest.raises(UserError, match="no earlier release"):
        rollback(snapshot, at(10))


def test_rollback_after_a_new_promotion() -> None:
    # a, b; back to a; then c: the release before c is a, not b.
    snapshot = rollback(released("a", "b"), at(5))
    snapshot = promote(advance(snapshot, outcome("c", True, 6), at(6)), at(6), force=True)
    assert rollback(snapshot, at(7)).current_release == "a"


def test_rollback_past_the_end_of_the_history_finds_the_first_release() -> None:
    snapshot = released("a", "b")
    for minute in range(HISTORY_LENGTH):
        snapshot = advance(snapshot, outcome("c", False, 10 + minute), at(10 + minute))
    assert all(entry["event"] == "evaluated" for entry in snapshot.history)
    assert rollback(snapshot, at(99)).current_release == "a"


def test_nothing_to_roll_back_to() -> None:
    for snapshot in (PromotionSnapshot(), released("a")):
        with pytest.raises(UserError, match="no earlier release"):
            rollback(snapshot, NOW)


def test_a_manual_swap_ends_the_streak() -> None:
    snapshot = swap(after(("a", True), ("a", True)), "hand-made", at(3))
    assert (snapshot.current_release, snapshot.state) == ("hand-made", "monitoring")
    assert (snapshot.pass_streak, snapshot.candidate_ready, snapshot.candidate) == (0, False, None)
    with pytest.raises(UserError, match="current release already"):
        swap(snapshot, "hand-made", at(4))
    other = swap(snapshot, "other", at(5))
    assert rollback(other, at(6)).current_release == "hand-made"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        advance(PromotionSnapshot(), outcome("a", True, 0), datetime(2030, 1, 1))


event = st.one_of(
    st.tuples(st.just("evaluate"), st.sampled_from("abc"), st.booleans()),
    st.tuples(st.sampled_from(["promote", "force", "rollback"])),
    st.tuples(st.just("swap"), st.sampled_from("xyz")),
)


@given(st.lists(event, max_size=120), st.integers(1, 5))
def test_whatever_happens_the_state_is_sound(events: list[Any], required_passes: int) -> None:
    snapshot = PromotionSnapshot(required_passes=required_passes)
    passes_in_a_row = 0  # of the same weights, counted here on its own
    last_weights = None
    for seed, (name, *arguments) in enumerate(events):
        before = snapshot
        try:
            if name == "evaluate":
                weights, passed = arguments
                snapshot = advance(snapshot, outcome(weights, passed, seed), at(seed))
                same = weights == last_weights
                passes_in_a_row = (passes_in_a_row if same else 0) + 1 if passed else 0
                last_weights = weights
            elif name == "swap":
                snapshot = swap(snapshot, arguments[0], at(seed))
            elif name == "rollback":
                snapshot = rollback(snapshot, at(seed))
            else:
                snapshot = promote(snapshot, at(seed), force=name == "force")
        except UserError:
            assert snapshot is before
            continue
        if name != "evaluate":
            passes_in_a_row, last_weights = 0, None
        assert snapshot.pass_streak == passes_in_a_row
        assert snapshot.candidate_ready == (snapshot.pass_streak >= required_passes)
        assert (snapshot.state == "ready") == snapshot.candidate_ready
        assert (snapshot.candidate_ready_at is not None) == snapshot.candidate_ready
        assert len(snapshot.history) <= HISTORY_LENGTH
        assert snapshot.history[-1]["number"] == (
            before.history[-1]["number"] + 1 if before.history else 1
        )
        if name == "promote":
            assert before.pass_streak >= required_passes
        if snapshot.current_release != before.current_release:
            assert name != "evaluate"
            assert snapshot.initial_release is not None
        assert PromotionSnapshot.model_validate_json(snapshot.model_dump_json()) == snapshot


@given(st.integers(HISTORY_LENGTH + 1, 3 * HISTORY_LENGTH))
def test_the_history_keeps_the_last_fifty(evaluations: int) -> None:
    snapshot = after(*[("a", False)] * evaluations)
    numbers = [entry["number"] for entry in snapshot.history]
    assert numbers == list(range(evaluations - HISTORY_LENGTH + 1, evaluations + 1))
