"""The table at the end of a run; it fits a terminal of 80 columns."""

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
    TrainingSummary,
)

_COLOURS = {"PASS": "green", "HOLD": "yellow", "FAIL": "red"}


def print_summary(result: RunResult, console: Console) -> None:
    """Prints what a run found, for a person."""
    if isinstance(result, AnnealSummary):
        _print_anneal(result, console)
    elif isinstance(result, TrainingSummary):
        _print_training(result, console)
    elif isinstance(result, EvaluationResult):
        table = _play_table(result)
        _add_play(table, result)
        console.print(table)
    elif isinstance(result, CaptureResult):
        _print_capture(result, console)
    elif isinstance(result, ReplaySummary):
        _print_replay(result, console)


def _play_table(evaluation: EvaluationResult) -> Table:
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
    table.add_column(r"return \[interval]", justify="right", no_wrap=True)
    table.add_column("conflicts", justify="right", no_wrap=True)
    table.add_column("faints", justify="right", no_wrap=True)
    table.add_column("status", justify="center", no_wrap=True)
    table.caption = "intervals over worlds; conflicts and faints per 1000 agent-ticks"
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
        _rate(evaluation, "queue_conflict"),
        _rate(evaluation, "faint"),
        Text(status, style=_COLOURS.get(status, "")),
    )


def _rate(evaluation: EvaluationResult, name: str) -> str:
    rate = evaluation.rates.get(name)
    return "-" if rate is None else f"{rate:.2f}"


def _print_anneal(result: AnnealSummary, console: Console) -> None:
    table = _play_table(result.final)
    _add_play(table, result.untrained, steps="0")
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
    for stage in result.stages:
        rolled = ", rolled back" if stage.rolled_back else ""
        _print_line(console, f"{stage.name}: {stage.status}{rolled}: {stage.reason}")
    _print_line(console, f"run: {result.status}: {result.reason}")
    _print_promotion(result.promotion, console)


def _stage_steps(stage: AnnealStageResult) -> str:
    return f"{stage.training.steps:,}" if isinstance(stage.training, PPOTrainingResult) else "0"


def _print_training(result: TrainingSummary, console: Console) -> None:
    table = _play_table(result.final)
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
    _print_line(
        console,
        f"promotion: {promotion.state}, {promotion.pass_streak} of {promotion.required_passes} "
        f"passes in a row; last against {last.paired.opponent} on {difference.episodes} fresh "
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
