"""The table at the end of a run; it fits a terminal of 80 columns."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from journeyman.results import (
    AnnealStageResult,
    AnnealSummary,
    CaptureResult,
    EvaluationResult,
    PPOTrainingResult,
    PromotionSnapshot,
    ReplaySummary,
    RunResult,
    StageDiagnosis,
    TrainingSummary,
)

_COLOURS = {"PASS": "green", "HOLD": "yellow", "FAIL": "red"}


_COUNTED = {"queue_conflict": "conflicts", "faint": "faints"}
"""Events with a column of their own, where the environment counts them."""


def print_summary(result: RunResult, console: Console, *, confidence: float) -> None:
    """Prints what a run found, for a person.

    Args:
        result: what it found.
        console: where to.
        confidence: level of its intervals.
    """
    if isinstance(result, AnnealSummary):
        _print_anneal(result, console, confidence)
    elif isinstance(result, TrainingSummary):
        _print_training(result, console, confidence)
    elif isinstance(result, EvaluationResult):
        table = _play_table(result, confidence)
        _add_play(table, result)
        console.print(table)
    elif isinstance(result, CaptureResult):
        _print_capture(result, console)
    elif isinstance(result, ReplaySummary):
        _print_replay(result, console)


def _play_table(evaluation: EvaluationResult, confidence: float) -> Table:
    """Returns the table of played policies; its title says what they share."""
    episodes = evaluation.episode_return.episodes
    table = Table(
        title=(
            f"{evaluation.env_id}, {episodes} worlds on the same seeds, "
            f"social stage {evaluation.social_stage}"
        ),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("policy", no_wrap=True)
    table.add_column("env steps", justify="right", no_wrap=True)
    header = rf"return \[{100.0 * confidence:g}% interval]"
    table.add_column(header, justify="right", no_wrap=True)
    counted = [column for event, column in _COUNTED.items() if event in evaluation.rates]
    for column in counted:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("status", justify="center", no_wrap=True)
    rates = f"; {' and '.join(counted)} per 1000 agent-ticks" if counted else ""
    table.caption = f"intervals over worlds{rates}"
    table.caption_justify = "left"
    return table


def _add_play(
    table: Table,
    evaluation: EvaluationResult,
    *,
    steps: str = "",
    name: str | None = None,
    status: str = "",
) -> None:
    interval = evaluation.episode_return
    table.add_row(
        name or evaluation.policy,
        steps,
        f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]",
        *(f"{evaluation.rates[event]:.2f}" for event in _COUNTED if event in evaluation.rates),
        Text(status, style=_COLOURS.get(status, "")),
    )


def _print_anneal(result: AnnealSummary, console: Console, confidence: float) -> None:
    table = _play_table(result.final, confidence)
    _add_play(table, result.untrained, steps="0")
    if result.demonstrator is not None:
        _add_play(table, result.demonstrator)
    for stage in result.stages:
        _add_play(
            table,
            stage.evaluation,
            steps=_stage_steps(stage),
            name=stage.name,
            status=stage.status,
        )
    _add_play(table, result.final, name="final", status=result.status)
    console.print(table)
    console.print(why_table(result.stages))
    for stage in result.stages:
        rolled = ", rolled back" if stage.rolled_back else ""
        _print_line(console, f"{stage.name}: {stage.status}{rolled}: {stage.reason}")
    for reason in _never_applicable(result.stages):
        _print_line(console, f"in no stage: {reason}")
    _print_line(console, f"run: {result.status}: {result.reason}")
    _print_promotion(result.promotion, console)


def why_table(stages: Sequence[AnnealStageResult]) -> Table:
    """Returns a row a stage: how far its policy is from prior and demonstrator, and its critic.

    Args:
        stages: of a schedule, in order.
    """
    table = Table(title="why", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("stage", no_wrap=True)
    for header in ("KL to prior", "value error", "explained", "agreement"):
        table.add_column(header, justify="right", no_wrap=True)
    continuous = any(stage.diagnosis.action_errors for stage in stages)
    table.add_column("largest errors" if continuous else "agrees least on")
    for stage in stages:
        found = stage.diagnosis
        table.add_row(
            stage.name,
            _figure(found.kl_to_prior, ".3f"),
            _figure(found.value_rmse, ".3g"),
            _figure(found.explained_variance, ".2f"),
            _figure(found.agreement, ".3f"),
            _worst_actions(found),
        )
    table.caption = (
        "KL(prior, policy) in nats, and agreement with the demonstrator's decisions, in held-out "
        "states; root mean squared error and explained variance of the last update's values"
    )
    table.caption_justify = "left"
    return table


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _worst_actions(found: StageDiagnosis) -> str:
    """Returns the three demonstrated actions that are answered least like the demonstrator."""
    if found.action_errors:
        worst = sorted(found.action_errors.items(), key=lambda one: -one[1])[:3]
        return ", ".join(f"{name} {error:.3g}" for name, error in worst)
    least = sorted(found.agreement_by_action.items(), key=lambda one: one[1])[:3]
    return ", ".join(f"{name} {share:.2f}" for name, share in least) or "-"


def _never_applicable(stages: Sequence[AnnealStageResult]) -> list[str]:
    """Returns the last reason of each guardrail that no stage could be held against."""
    readings = [reading for stage in stages for reading in stage.guardrails]
    applied = {reading.name for reading in readings if reading.applicable}
    reasons = {r.name: r.reason for r in readings if r.name not in applied}
    return list(reasons.values())


def _stage_steps(stage: AnnealStageResult) -> str:
    return f"{stage.training.steps:,}" if isinstance(stage.training, PPOTrainingResult) else "0"


def _print_training(result: TrainingSummary, console: Console, confidence: float) -> None:
    table = _play_table(result.final, confidence)
    _add_play(table, result.untrained, steps="0")
    if result.demonstrator is not None:
        _add_play(table, result.demonstrator)
    steps = f"{result.training.steps:,}" if isinstance(result.training, PPOTrainingResult) else "0"
    _add_play(table, result.final, steps=steps, name="final")
    console.print(table)
    _print_promotion(result.promotion, console)


def _print_promotion(promotion: PromotionSnapshot | None, console: Console) -> None:
    if promotion is None or promotion.last_result is None:
        return
    last = promotion.last_result
    difference = last.paired.difference
    opponent = last.paired.opponent
    if opponent == "random":
        opponent = "chance, for want of champion and demonstrator,"
    _print_line(
        console,
        f"promotion: {promotion.state}, {promotion.pass_streak} of {promotion.required_passes} "
        f"passes in a row; last against {opponent} on {difference.episodes} fresh "
        f"seeds: difference {difference.mean:+.2f} [{difference.low:+.2f}, "
        f"{difference.high:+.2f}], better in {last.paired.probability_of_improvement:.0%} of "
        "the worlds",
    )
    if not last.passed:
        for reason in last.reasons:
            _print_line(console, f"  {reason}")


def _print_capture(result: CaptureResult, console: Console) -> None:
    _print_pairs(
        console,
        f"capture of {result.policy} on {result.env_id}",
        {
            "transitions": f"{result.samples:,} ({result.lanes} lanes x {result.ticks} ticks)",
            "manifest": result.manifest or "not saved",
            "digest": result.digest[:16],
            "warnings": "; ".join(result.warnings) or "none",
        },
    )


def _print_replay(result: ReplaySummary, console: Console) -> None:
    _print_pairs(
        console,
        f"replay of {result.manifest or 'a capture'}",
        {
            "transitions": f"{result.transitions:,} in {result.samples} trajectories",
            "skipped": str(result.skipped),
            "batches": str(result.batches),
            "buckets": str(len(result.buckets)),
            "warnings": "; ".join(result.warnings) or "none",
        },
    )


def _print_pairs(console: Console, title: str, pairs: dict[str, str]) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in pairs.items():
        table.add_row(name, Text(value))
    console.print(table)


def _print_line(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
