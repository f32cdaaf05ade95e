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
    StageDiagnosis,
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


def stage(
    index: int, *readings: GuardrailReading, diagnosis: StageDiagnosis | None = None
) -> AnnealStageResult:
    # Of its many fields the table reads these.
    return AnnealStageResult.model_construct(
        name=f"0{index}-bc",
        status="PASS",
        reason="no guardrail tripped",
        rolled_back=False,
        guardrails=readings,
        training=BCTrainingResult.model_construct(),
        evaluation=played({}),
        diagnosis=diagnosis or StageDiagnosis(states=0),
    )


def summary_of(*stages: AnnealStageResult) -> AnnealSummary:
    return AnnealSummary.model_construct(
        status="PASS",
        reason=f"no guardrail tripped in {len(stages)} stages",
        stages=stages,
        untrained=played({}),
        demonstrator=played({}),
        final=played({}),
        promotion=None,
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
    summary = summary_of(
        # The loss has nothing to compare with in the first stage only.
        stage(0, reading("queue_events", uncounted), reading("loss", "no stage before")),
        stage(
            1,
            reading("queue_events", uncounted),
            reading("loss", "total loss 1 is not over 2", applicable=True),
        ),
    )
    lines = said(summary)
    assert [line for line in lines if line.startswith("in no stage")] == [
        f"in no stage: {uncounted}"
    ]
    assert lines[-1] == "run: PASS: no guardrail tripped in 2 stages"


def test_a_second_table_says_why_stages_went_as_they_did() -> None:
    practised = StageDiagnosis(
        states=100,
        kl_to_prior=0.1234,
        agreement=0.875,
        agreement_by_action={"eat": 0.9, "cook": 0.25, "sleep": 0.5, "chat": 0.75},
        support={"eat": 60, "cook": 4, "sleep": 20, "chat": 16},
        value_rmse=1.25,
        explained_variance=-0.5,
    )
    lines = said(summary_of(stage(0), stage(1, diagnosis=practised)))
    assert "stage KL to prior value error explained agreement agrees least on" in lines
    assert "00-bc - - - - -" in lines
    # The actions that are answered worst, however they are broken into lines.
    assert "01-bc 0.123 1.25 -0.50 0.875 cook 0.25, sleep 0.50, chat 0.75" in " ".join(lines)


def test_of_continuous_actions_the_largest_errors_are_named() -> None:
    steered = StageDiagnosis(states=9, action_errors={"gas": 0.5, "wheel": 2.0})
    lines = said(summary_of(stage(0, diagnosis=steered)))
    assert "stage KL to prior value error explained agreement largest errors" in lines
    assert "00-bc - - - - wheel 2, gas 0.5" in lines
