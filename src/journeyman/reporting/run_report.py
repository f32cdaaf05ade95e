"""``report.html`` of one run: what it found, its curves, why, and how to run it again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from journeyman.reporting.curves import draw_curve
from journeyman.reporting.page import details, number, page, table, word
from journeyman.reporting.plots import STEP_NAMES
from journeyman.reporting.stage_report import stages_report
from journeyman.results import (
    AnnealStageResult,
    AnnealSummary,
    BCTrainingResult,
    CaptureResult,
    EvaluationResult,
    PPOTrainingResult,
    ReplaySummary,
    RunResult,
    TrainingSummary,
)
from journeyman.tracking.sampling import SampledGroup
from journeyman.tracking.tags import COLOURS

_ENVELOPE = ("group", "step", "time", "log_stream_offset")
_STEP_NAMES = {**STEP_NAMES, "capture": "transitions", "replay": "transitions"}
_FIRST = ("eval", "bc", "ppo", "anneal", "guard")
"""Groups in this order; all others follow in order of appearance."""
_FOREMOST = {
    "eval": ("return_mean", "return_iqm", "episode_length_mean"),
    "bc": ("loss", "val_loss", "accuracy", "val_accuracy", "val_decision_accuracy", "grad_norm"),
    "ppo": (
        "episode_return_mean",
        "explained_variance",
        "kl_divergence",
        "loss_entropy",
        "loss_policy",
        "loss_value",
        "clip_fraction",
        "grad_norm",
        "loss_bc",
    ),
}
"""What of a group is shown at once; the rest unfolds."""
_MOST_UNFOLDED = 9

Curve = tuple[list[float], list[float]]


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """What the page of a run is made of.

    Attributes:
        title: of the run.
        status: ``FINISHED``, ``FAILED`` or ``KILLED``.
        error: why it did not finish.
        result: what it found; None where it did not come to that.
        stages: of a schedule that did not finish, those that were judged.
        confidence: level of the intervals.
        command: what runs it again.
        facts: what else there is to say, a word each -> its value.
        config: as YAML.
        metrics: the log, thinned out.
    """

    title: str
    status: str
    error: str | None = None
    result: RunResult | None = None
    stages: Sequence[AnnealStageResult] = ()
    confidence: float
    command: str
    facts: Mapping[str, str] = field(default_factory=dict)
    config: str
    metrics: Mapping[str, SampledGroup] = field(default_factory=dict)


def render_run(run: RunPage) -> str:
    """Returns a whole HTML page that loads nothing and holds no script."""
    stages = run.result.stages if isinstance(run.result, AnnealSummary) else run.stages
    parts = [
        f"<h1>{escape(run.title)}</h1>",
        _verdict(run),
        _facts(run.facts),
        _played(run),
        _imitation(run.result),
        stages_report(stages),
        _curves(run.metrics),
        "<h2>Command</h2>",
        f"<pre>{escape(run.command)}</pre>",
        details("the whole configuration", f"<pre>{escape(run.config)}</pre>"),
    ]
    return page(run.title, parts)


def _verdict(run: RunPage) -> str:
    said = [word(run.status)]
    if isinstance(run.result, AnnealSummary):
        said = [f"{word(run.result.status)}: {escape(run.result.reason)}"]
    elif run.error is not None:
        said = [f"{word(run.status)}: {escape(run.error)}"]
    promotion = getattr(run.result, "promotion", None)
    if promotion is not None and promotion.last_result is not None:
        last = promotion.last_result
        held = (
            f"promotion: {promotion.state}, {promotion.pass_streak} of "
            f"{promotion.required_passes} passes in a row"
        )
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in last.reasons)
        said.append(f"{escape(held)}<ul>{reasons}</ul>")
    return "".join(f"<div>{each}</div>" for each in said)


def _facts(facts: Mapping[str, str]) -> str:
    return (
        '<p class="note">'
        + " · ".join(f"{escape(name)} <code>{escape(text)}</code>" for name, text in facts.items())
        + "</p>"
    )


def _played(run: RunPage) -> str:
    """Returns the table of played policies, or the figures of data."""
    result = run.result
    if isinstance(result, CaptureResult | ReplaySummary):
        return _data(result)
    rows: list[tuple[str, EvaluationResult, str, str]] = []
    if isinstance(result, EvaluationResult):
        rows.append((result.policy, result, "", ""))
    elif isinstance(result, AnnealSummary | TrainingSummary):
        rows.append(("untrained", result.untrained, "0", ""))
        if result.demonstrator is not None:
            rows.append(("demonstrator", result.demonstrator, "", ""))
    if isinstance(result, TrainingSummary):
        rows.append(("final", result.final, _steps(result.training), ""))
    for stage in result.stages if isinstance(result, AnnealSummary) else run.stages:
        rows.append((stage.name, stage.evaluation, _steps(stage.training), stage.status))
    if isinstance(result, AnnealSummary):
        rows.append(("final", result.final, "", result.status))
    if not rows:
        return ""
    head = [
        "policy",
        "env steps",
        "return",
        f"{100 * run.confidence:g} % interval",
        "IQM",
        "status",
    ]
    cells = [
        [
            escape(name),
            steps,
            number(each.episode_return.mean, ".3f"),
            f"[{each.episode_return.low:.3f}, {each.episode_return.high:.3f}]",
            number(each.return_iqm, ".3f"),
            word(status) if status else "",
        ]
        for name, each, steps, status in rows
    ]
    shared = rows[-1][1]
    caption = (
        f"{shared.env_id}, {len(shared.seeds)} worlds on the same seeds, social stage "
        f"{shared.social_stage}; intervals over worlds"
    )
    return (
        "<h2>Played policies</h2>"
        + table(head, cells, numbers=(1, 2, 3, 4), caption=caption)
        + details("how they played", _play([(name, each) for name, each, *_ in rows]))
    )


def _play(rows: Sequence[tuple[str, EvaluationResult]]) -> str:
    """Returns a row a figure of play, a column a policy."""
    figures = {
        "share of": "activity_shares",
        "mean of": "action_means",
        "per 1000 agent-ticks": "rates",
        "reward": "reward_terms",
    }
    cells = []
    for kind, attribute in figures.items():
        names = dict.fromkeys(name for _, each in rows for name in getattr(each, attribute))
        for name in names:
            values = [getattr(each, attribute).get(name) for _, each in rows]
            if any(values):
                shown = [number(value, ".4g") for value in values]
                cells.append([kind, f"<code>{escape(name)}</code>", *shown])
    head = ["", "", *(escape(name) for name, _ in rows)]
    return table(head, cells, numbers=range(2, len(head))) if cells else ""


def _steps(training: BCTrainingResult | PPOTrainingResult) -> str:
    return f"{training.steps:,}" if isinstance(training, PPOTrainingResult) else "0"


def _data(result: CaptureResult | ReplaySummary) -> str:
    figures = result.metrics if isinstance(result, CaptureResult) else result.baseline_metrics
    count = result.samples if isinstance(result, CaptureResult) else result.transitions
    known = {
        "transitions": f"{count:,}",
        "manifest": result.manifest or "not saved",
        "digest": result.digest,
        "warnings": "; ".join(result.warnings) or "none",
    }
    rows = [(name, escape(text)) for name, text in known.items()]
    rows += [(escape(name), number(value, ".6g")) for name, value in figures.items()]
    return "<h2>Data</h2>" + table(["", ""], rows)


def _imitation(result: RunResult | None) -> str:
    """Returns how each choice is imitated on held-out decisions, of a run of bc alone."""
    training = result.training if isinstance(result, TrainingSummary) else None
    if not isinstance(training, BCTrainingResult) or not training.per_action:
        return ""
    rows = [
        [
            f"<code>{escape(action)}</code>",
            number(each.get("precision"), ".3f"),
            number(each.get("recall"), ".3f"),
            number(each.get("support"), ".0f"),
        ]
        for action, each in training.per_action.items()
    ]
    return "<h2>Imitation by action</h2>" + table(
        ["action", "precision", "recall", "support"],
        rows,
        numbers=(1, 2, 3),
        caption="on held-out decisions",
    )


def _curves(metrics: Mapping[str, SampledGroup]) -> str:
    """Returns a section a group: what moves as pictures, what does not as figures."""
    names = [*(each for each in _FIRST if each in metrics)]
    names += [each for each in metrics if each not in names]
    return "".join(_group(name, metrics[name]) for name in names)


def _group(group: str, sampled: SampledGroup) -> str:
    moving, still = _told_apart(curves_of(sampled.lines))
    foremost = [name for name in _FOREMOST.get(group, ()) if name in moving]
    if not foremost:
        foremost = [*moving][:_MOST_UNFOLDED]
    rest = [name for name in moving if name not in foremost]
    axis = _STEP_NAMES.get(group, "environment steps")

    def pictures(chosen: Iterable[str]) -> str:
        figures = [
            f"<figure><figcaption>{escape(name)}</figcaption>"
            + draw_curve(*moving[name], title=f"{group}/{name}", axis=axis, colour=COLOURS[0])
            + "</figure>"
            for name in chosen
        ]
        return f'<div class="curves">{"".join(figures)}</div>' if figures else ""

    rows = [(f"<code>{escape(name)}</code>", escape(value)) for name, value in still.items()]
    figures = table(["metric", "value"], rows, numbers=(1,)) if rows else ""
    if moving or len(rows) > _MOST_UNFOLDED:
        figures = details(f"{len(rows)} {'that do not move' if moving else 'figures'}", figures)
    left_out = sampled.total - len(sampled.lines)
    note = (
        f'<p class="note">{len(sampled.lines):,} of {sampled.total:,} points, evenly spaced</p>'
        if left_out > 0 and moving
        else ""
    )
    return (
        f"<h2>{escape(group)}</h2>"
        + pictures(foremost)
        + details(f"{len(rest)} more", pictures(rest))
        + figures
        + note
    )


def curves_of(lines: Iterable[Mapping[str, Any]]) -> dict[str, Curve]:
    """Returns the numbers of one group's lines, name by name; at one step the last counts."""
    points: dict[str, dict[float, float]] = {}
    for line in lines:
        for name, value in line.items():
            if name not in _ENVELOPE and isinstance(value, int | float):
                points.setdefault(name, {})[float(line["step"])] = float(value)
    return {name: ([*sorted(at)], [at[step] for step in sorted(at)]) for name, at in points.items()}


def _told_apart(curves: Mapping[str, Curve]) -> tuple[dict[str, Curve], dict[str, str]]:
    moving = {name: curve for name, curve in curves.items() if len(set(curve[1])) > 1}
    still = {name: f"{curve[1][-1]:.6g}" for name, curve in curves.items() if name not in moving}
    return moving, still
