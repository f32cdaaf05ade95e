"""When a candidate becomes the champion: the streak of passes and what may follow from it.

Transitions are pure functions of a ``PromotionSnapshot``: ``monitoring -> ready -> promoted``,
and back to ``monitoring`` by a failed evaluation, a rollback or a swap. ``promotion_gate`` says
what a pass is, ``promotion_store`` keeps a snapshot in a folder; both are offered from here.
"""

import hashlib
from datetime import datetime
from typing import Any, Literal

from journeyman.errors import UserError
from journeyman.results import PromotionEvaluation, PromotionSnapshot
from journeyman.services.evaluation import world_seeds
from journeyman.services.promotion_gate import (
    PairedPlay,
    allowed_increases,
    compare,
    judge,
    paired_evaluation,
)
from journeyman.services.promotion_store import PromotionStore

__all__ = [
    "HISTORY_LENGTH",
    "PairedPlay",
    "PromotionStore",
    "advance",
    "allowed_increases",
    "compare",
    "draw_seeds",
    "judge",
    "paired_evaluation",
    "promote",
    "rollback",
    "swap",
]

HISTORY_LENGTH = 50
"""Entries a snapshot remembers; ``promotion_history.jsonl`` keeps them all."""


def draw_seeds(
    snapshot: PromotionSnapshot, root_seed: int, episodes: int
) -> tuple[tuple[int, ...], PromotionSnapshot]:
    """Draws world seeds that no evaluation of this snapshot has played, nor any of a run's own.

    Args:
        snapshot: its ``seeds_used`` is the number of the next seed.
        root_seed: the numbered list to draw from.
        episodes: how many.

    Returns:
        The seeds, and the snapshot in which they count as used.
    """
    seeds = world_seeds(root_seed, "promotion", start=snapshot.seeds_used, count=episodes)
    return seeds, snapshot.model_copy(update={"seeds_used": snapshot.seeds_used + episodes})


def advance(
    snapshot: PromotionSnapshot, evaluation: PromotionEvaluation, now: datetime
) -> PromotionSnapshot:
    """Counts an evaluation: the streak grows, starts over with other weights, or breaks.

    Args:
        snapshot: the state so far.
        evaluation: of a candidate.
        now: the time, with a time zone.

    Raises:
        UserError: if this very evaluation (weights and seeds) is counted already.
    """
    identity = _identity(evaluation)
    if any(entry.get("evaluation") == identity for entry in snapshot.history):
        raise UserError(
            f"evaluation {identity} of weights {evaluation.weights_digest[:12]} is counted "
            "already; a further pass needs an evaluation on fresh seeds"
        )
    same = snapshot.candidate == evaluation.weights_digest
    streak = (snapshot.pass_streak if same else 0) + 1 if evaluation.passed else 0
    ready = streak >= snapshot.required_passes
    since = snapshot.candidate_ready_at if same and snapshot.candidate_ready else _time(now)
    difference = evaluation.paired.difference
    advanced = snapshot.model_copy(
        update={
            "state": "ready" if ready else "monitoring",
            "pass_streak": streak,
            "candidate_ready": ready,
            "candidate_ready_at": since if ready else None,
            "candidate": evaluation.weights_digest,
            "last_result": evaluation,
            "last_evaluated": _time(now),
        }
    )
    return _recorded(
        advanced,
        now,
        "evaluated",
        evaluation=identity,
        candidate=evaluation.weights_digest,
        opponent=evaluation.paired.opponent,
        passed=evaluation.passed,
        pass_streak=streak,
        difference=[difference.low, difference.mean, difference.high],
        episodes=difference.episodes,
    )


def promote(
    snapshot: PromotionSnapshot, now: datetime, *, force: bool = False
) -> PromotionSnapshot:
    """Makes the candidate the current release; the streak starts over.

    Args:
        snapshot: the state so far.
        now: the time, with a time zone.
        force: promote a candidate that is not ready; the history says so.

    Raises:
        UserError: if there is no candidate, it is the current release already, or it is not
            ready and ``force`` is off.
    """
    candidate = snapshot.candidate
    if candidate is None:
        raise UserError("there is no candidate to promote; evaluate one first")
    if candidate == snapshot.current_release:
        raise UserError(f"candidate {candidate[:12]} is the current release already")
    if not snapshot.candidate_ready and not force:
        raise UserError(
            f"candidate {candidate[:12]} is not ready: {snapshot.pass_streak} of "
            f"{snapshot.required_passes} passes in a row; evaluate it further or use --force"
        )
    promoted = _released(snapshot, candidate, "promoted")
    forced = not snapshot.candidate_ready
    return _recorded(
        promoted,
        now,
        "promoted",
        release=candidate,
        previous=snapshot.current_release,
        forced=forced,
        pass_streak=snapshot.pass_streak,
    )


def rollback(snapshot: PromotionSnapshot, now: datetime) -> PromotionSnapshot:
    """Goes back to the release before the current one; the streak starts over.

    Repeated, it goes back further; where the history ends, to the first release.

    Raises:
        UserError: if there is no earlier release.
    """
    earlier: list[str] = []
    for entry in snapshot.history:
        if entry["event"] in ("promoted", "swapped") and entry.get("previous"):
            earlier.append(entry["previous"])
        elif entry["event"] == "rolled_back" and earlier:
            earlier.pop()
    target = earlier[-1] if earlier else snapshot.initial_release
    if target is None or target == snapshot.current_release:
        raise UserError("there is no earlier release to roll back to")
    return _recorded(
        _released(snapshot, target, "monitoring"),
        now,
        "rolled_back",
        release=target,
        previous=snapshot.current_release,
    )


def swap(snapshot: PromotionSnapshot, release: str, now: datetime) -> PromotionSnapshot:
    """Sets the current release by hand; the streak starts over.

    Raises:
        UserError: if it is the current release already.
    """
    if release == snapshot.current_release:
        raise UserError(f"{release[:12]} is the current release already")
    return _recorded(
        _released(snapshot, release, "monitoring"),
        now,
        "swapped",
        release=release,
        previous=snapshot.current_release,
    )


def _released(
    snapshot: PromotionSnapshot, release: str, state: Literal["monitoring", "promoted"]
) -> PromotionSnapshot:
    """Returns the snapshot with a current release, and no candidate or streak."""
    first = snapshot.initial_release or snapshot.current_release or release
    return snapshot.model_copy(
        update={
            "state": state,
            "pass_streak": 0,
            "candidate_ready": False,
            "candidate_ready_at": None,
            "candidate": None,
            "current_release": release,
            "initial_release": first,
        }
    )


def _recorded(
    snapshot: PromotionSnapshot, now: datetime, event: str, **facts: Any
) -> PromotionSnapshot:
    number = snapshot.history[-1]["number"] + 1 if snapshot.history else 1
    entry = {"number": number, "time": _time(now), "event": event, **facts}
    return snapshot.model_copy(update={"history": (*snapshot.history, entry)[-HISTORY_LENGTH:]})


def _identity(evaluation: PromotionEvaluation) -> str:
    text = f"{evaluation.weights_digest}:{evaluation.paired.opponent}:{evaluation.paired.seeds}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _time(now: datetime) -> str:
    if now.tzinfo is None:
        raise ValueError("promotion times need a time zone")
    return now.isoformat(timespec="seconds")
