"""The table at the end of a run says at which level, and what nothing was held against."""

import io

from rich.console import Console

from journeyman.reporting.summary import print_summary
from journeyman.results import (
    AnnealStageResult,
    AnnealSummary,
    BCTrainingResult,
    EvaluationResult,
    GuardrailReading,
    Interval,
)


def played(rates: dict[str, float]) -> EvaluationResult:
    return EvaluationResult(
        policy="candidate",
        env_id="test/env",
        social_stage="OFF",
        seeds=(1, 2),
        episode_returns=(1.0, 2.0),
        episode_return=Interval(mean=1.5, low=1.0, high=2.0, episodes=2),
        return_iqm=1.5,
        episode_length_mean=20.0,
        rates=rates,
        activity_shares={},
        reward_terms={},
        duration_sec=1.0,
    )


def reading(name: str, reason: str, *, applicable: bool = False) -> GuardrailReading:
    return GuardrailReading(
        name=name,
        value=None,
        baseline=None,
        delta=None,
        limit=None,
        applicable=applicable,
        tripped=False,
        on_trip="hold",
        reason=reason,
    )


def stage(index: int, *readings: GuardrailReading) -> AnnealStageResult:
    # Of its many fields the table reads these.
    return AnnealStageResult.model_construct(
        name=f"0{index}-bc",
        status="PASS",
        reason="no guardrail tripped",
        rolled_back=False,
        guardrails=readings,
        training=BCTrainingResult.model_construct(),
        evaluation=played({}),
    )


def said(result: EvaluationResult | AnnealSummary, confidence: float = 0.95) -> list[str]:
    stream = io.StringIO()
    print_summary(result, Console(file=stream, width=80), confidence=confidence)
    return [" ".join(line.split()) for line in stream.getvalue().splitlines()]


def test_the_header_names_the_level_of_the_intervals() -> None:
    counted = played({"queue_conflict": 4.0, "faint": 0.5})
    assert "policy env steps return [95% interval] conflicts faints status" in said(counted)
    assert "candidate 1.50 [1.00, 2.00] 4.00 0.50" in said(counted)
    assert "intervals over worlds; conflicts and faints per 1000 agent-ticks" in said(counted)
    assert any("return [99.5% interval]" in line for line in said(counted, 0.995))


def test_what_the_environment_does_not_count_has_no_column() -> None:
    lines = said(played({"right": 3.0}))
    assert "policy env steps return [95% interval] status" in lines
    assert "intervals over worlds" in lines


def test_a_guardrail_that_no_stage_was_held_against_is_named() -> None:
    uncounted = "queue_events is not applicable: queue_conflict is not counted by test/env"
    summary = AnnealSummary.model_construct(
        status="PASS",
        reason="no guardrail tripped in 2 stages",
        # The loss has nothing to compare with in the first stage only.
        stages=(
            stage(0, reading("queue_events", uncounted), reading("loss", "no stage before")),
            stage(
                1,
                reading("queue_events", uncounted),
                reading("loss", "total loss 1 is not over 2", applicable=True),
            ),
        ),
        untrained=played({}),
        demonstrator=played({}),
        final=played({}),
        promotion=None,
    )
    lines = said(summary)
    assert [line for line in lines if line.startswith("in no stage")] == [
        f"in no stage: {uncounted}"
    ]
    assert lines[-1] == "run: PASS: no guardrail tripped in 2 stages"
