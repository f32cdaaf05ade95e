"""The table at the end of a run."""

from rich.console import Console
from rich.table import Table

from journeyman.results import (
    AnnealStageResult,
    AnnealSummary,
    BCTrainingResult,
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
        table = _play_table(result, "play")
        _add_play(table, "", result, "")
        console.print(table)
    elif isinstance(result, CaptureResult):
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
    elif isinstance(result, ReplaySummary):
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


def _play_table(evaluation: EvaluationResult, title: str) -> Table:
    table = Table(
        title=(
            f"{title}: {evaluation.env_id}, every policy on the same "
            f"{evaluation.episode_return.episodes} world seeds, "
            f"social stage {evaluation.social_stage}"
        ),
        title_justify="left",
    )
    table.add_column("policy", no_wrap=True)
    table.add_column("env steps", justify="right")
    table.add_column("return [95 %]", justify="right", no_wrap=True)
    table.add_column("conflicts\n/1000", justify="right")
    table.add_column("faints\n/1000", justify="right")
    table.add_column("training figures", overflow="fold")
    table.add_column("status", justify="center")
    table.add_column("why", overflow="fold")
    return table


def _add_play(
    table: Table,
    steps: str,
    evaluation: EvaluationResult,
    figures: str,
    *,
    name: str | None = None,
    status: str = "",
    why: str = "",
) -> None:
    interval = evaluation.episode_return
    colour = _COLOURS.get(status)
    table.add_row(
        name or evaluation.policy,
        steps,
        f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]",
        _rate(evaluation, "queue_conflict"),
        _rate(evaluation, "faint"),
        figures,
        f"[{colour}]{status}[/]" if colour else status,
        why,
    )


def _rate(evaluation: EvaluationResult, name: str) -> str:
    rate = evaluation.rates.get(name)
    return "-" if rate is None else f"{rate:.2f}"


def training_figures(training: BCTrainingResult | PPOTrainingResult) -> str:
    """Returns the figures of a training result that a reader looks at first."""
    if isinstance(training, BCTrainingResult):
        return (
            f"held-out decisions {training.val_decision_accuracy:.3f} "
            f"(majority {training.majority_decision_accuracy:.3f})"
        )
    update = training.last_update
    return (
        f"{training.updates} updates, kl {update['kl_divergence']:.4f}, "
        f"explained variance {update['explained_variance']:.2f}"
    )


def _print_anneal(result: AnnealSummary, console: Console) -> None:
    table = _play_table(result.final, "anneal")
    _add_play(table, "0", result.untrained, "")
    _add_play(table, "", result.demonstrator, "")
    for stage in result.stages:
        _add_play(
            table,
            _stage_steps(stage),
            stage.evaluation,
            training_figures(stage.training),
            name=stage.name,
            status=stage.status,
            why=stage.reason + (" (rolled back)" if stage.rolled_back else ""),
        )
    _add_play(
        table, "", result.final, "", name="final", status=result.status, why=result.reason
    )
    console.print(table)
    _print_promotion(result.promotion, console)


def _stage_steps(stage: AnnealStageResult) -> str:
    return f"{stage.training.steps:,}" if isinstance(stage.training, PPOTrainingResult) else ""


def _print_training(result: TrainingSummary, console: Console) -> None:
    table = _play_table(result.final, result.training.mode)
    _add_play(table, "0", result.untrained, "")
    if result.demonstrator is not None:
        _add_play(table, "", result.demonstrator, "")
    steps = f"{result.training.steps:,}" if isinstance(result.training, PPOTrainingResult) else ""
    _add_play(table, steps, result.final, training_figures(result.training), name="final")
    console.print(table)
    _print_promotion(result.promotion, console)


def _print_promotion(promotion: PromotionSnapshot | None, console: Console) -> None:
    if promotion is None or promotion.last_result is None:
        return
    last = promotion.last_result
    difference = last.paired.difference
    console.print(
        f"promotion: {promotion.state}, {promotion.pass_streak} of {promotion.required_passes} "
        f"passes; last against {last.paired.opponent} on {difference.episodes} fresh seeds: "
        f"difference {difference.mean:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}], "
        f"better in {last.paired.probability_of_improvement:.0%} of the worlds",
        markup=False,
    )
    if not last.passed:
        for reason in last.reasons:
            console.print(f"  {reason}", markup=False)


def _print_pairs(console: Console, title: str, pairs: dict[str, str]) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in pairs.items():
        table.add_row(name, value)
    console.print(table)
