"""What follows from guardrail readings for a stage, and from stages for a run."""

from typing import Any

import pytest

from journeyman.results import GuardrailReading
from journeyman.services.guardrails import run_verdict, stage_verdict


def reading(name: str, on_trip: str, tripped: bool = True) -> GuardrailReading:
    return GuardrailReading(
        name=name,
        value=1.0,
        baseline=None,
        delta=None,
        limit=0.5,
        applicable=True,
        tripped=tripped,
        on_trip=on_trip,  # type: ignore[arg-type]
        reason=f"{name} broke",
    )


@pytest.mark.parametrize(
    ("readings", "mode", "status", "action", "reason"),
    [
        ([], "bc", "PASS", "accept", "no guardrail tripped"),
        (
            [reading("loss", "stop", tripped=False)],
            "ppo",
            "PASS",
            "accept",
            "no guardrail tripped",
        ),
        ([reading("loss", "hold")], "ppo", "HOLD", "hold", "loss broke"),
        (
            [reading("episode_return", "rollback"), reading("kl", "hold")],
            "ppo",
            "HOLD",
            "rollback",
            "episode_return broke; kl broke",
        ),
        (
            [reading("loss", "hold"), reading("kl", "stop"), reading("entropy", "rollback")],
            "ppo",
            "HOLD",
            "stop",
            "loss broke; kl broke; entropy broke",
        ),
        ([reading("bc_accuracy", "stop")], "bc", "FAIL", "stop", "bc_accuracy broke"),
        ([reading("bc_accuracy", "hold")], "bc", "FAIL", "hold", "bc_accuracy broke"),
        (
            [reading("bc_accuracy", "hold"), reading("episode_return", "rollback")],
            "bc",
            "FAIL",
            "rollback",
            "bc_accuracy broke; episode_return broke",
        ),
        (
            [reading("bc_accuracy", "stop", tripped=False), reading("queue_events", "hold")],
            "bc",
            "HOLD",
            "hold",
            "queue_events broke",
        ),
    ],
)
def test_stage_verdict(
    readings: list[GuardrailReading], mode: Any, status: str, action: str, reason: str
) -> None:
    decision = stage_verdict(readings, mode)
    assert (decision.status, decision.action, decision.reason) == (status, action, reason)
    assert decision.readings == tuple(readings)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        (["PASS", "PASS"], ("PASS", "no guardrail tripped in 2 stages")),
        (["PASS", "HOLD", "HOLD"], ("HOLD", "guardrails tripped in stage 1, 2")),
        (["HOLD", "FAIL"], ("FAIL", "the imitation gate failed in stage 1")),
    ],
)
def test_run_verdict(stages: list[Any], expected: tuple[str, str]) -> None:
    assert run_verdict(stages) == expected


def test_a_run_without_stages_has_no_verdict() -> None:
    with pytest.raises(ValueError, match="without stages"):
        run_verdict([])
