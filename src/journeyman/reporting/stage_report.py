"""Why the stages of a schedule went as they did, as HTML."""

from collections.abc import Sequence
from html import escape

from journeyman.reporting.page import details, number, table, word
from journeyman.results import AnnealStageResult, GuardrailReading


def stages_report(stages: Sequence[AnnealStageResult]) -> str:
    """Returns verdicts, diagnosis, agreement action by action, and every guardrail's reading.

    Args:
        stages: of a schedule, in order; none: an empty text.
    """
    if not stages:
        return ""
    return (
        "<h2>Stages</h2>"
        + _verdicts(stages)
        + _agreement(stages)
        + _errors(stages)
        + details("guardrails of every stage", "".join(_guardrails(stage) for stage in stages))
    )


def _verdicts(stages: Sequence[AnnealStageResult]) -> str:
    head = [
        *("stage", "status", "KL to prior", "value error", "explained", "agreement"),
        *("weight", "social", "reason"),
    ]
    rows = []
    for stage in stages:
        found = stage.diagnosis
        weight = f"{stage.bc_weight_start:g}"
        if stage.bc_weight_end != stage.bc_weight_start:
            weight += f" to {stage.bc_weight_end:g}"
        reason = escape(stage.reason) + (" (rolled back)" if stage.rolled_back else "")
        rows.append(
            [
                escape(stage.name),
                word(stage.status),
                number(found.kl_to_prior, ".3f"),
                number(found.value_rmse, ".3g"),
                number(found.explained_variance, ".2f"),
                number(found.agreement, ".3f"),
                weight,
                escape(stage.social_stage),
                reason,
            ]
        )
    caption = (
        "KL(prior, policy) in nats and agreement with the demonstrator's decisions, in held-out "
        "states; root mean squared error and explained variance of the last update's values; "
        "weight of the demonstration loss"
    )
    return table(head, rows, numbers=(2, 3, 4, 5), caption=caption)


def _agreement(stages: Sequence[AnnealStageResult]) -> str:
    """Returns a row an action, a column a stage; a cell is the darker the better they agree."""
    diagnoses = [(stage.name, stage.diagnosis) for stage in stages]
    actions = dict.fromkeys(name for _, each in diagnoses for name in each.agreement_by_action)
    if not actions:
        return ""
    rows = []
    for action in actions:
        shares = [each.agreement_by_action.get(action) for _, each in diagnoses]
        support = max(each.support.get(action, 0) for _, each in diagnoses)
        rows.append([f"<code>{escape(action)}</code>", f"{support:,}", *map(_shaded, shares)])
    return "<h3>Agreement by action</h3>" + table(
        ["action", "decisions", *(name for name, _ in diagnoses)],
        rows,
        numbers=range(1, 2 + len(diagnoses)),
        caption="share of held-out decisions, by demonstrated action, that the policy would make",
    )


def _errors(stages: Sequence[AnnealStageResult]) -> str:
    """Returns a row a component of continuous actions, a column a stage."""
    diagnoses = [(stage.name, stage.diagnosis) for stage in stages]
    components = dict.fromkeys(name for _, each in diagnoses for name in each.action_errors)
    if not components:
        return ""
    rows = [
        [
            f"<code>{escape(name)}</code>",
            *(number(each.action_errors.get(name), ".3g") for _, each in diagnoses),
        ]
        for name in components
    ]
    return "<h3>Error by component</h3>" + table(
        ["component", *(name for name, _ in diagnoses)],
        rows,
        numbers=range(1, 1 + len(diagnoses)),
        caption="mean of |policy's mean - demonstrated action| in held-out states",
    )


def _shaded(share: float | None) -> str:
    if share is None:
        return "-"
    return (
        f'<span style="background:rgb(31 119 180/{0.6 * share:.2f});padding:.1rem .4rem">'
        f"{share:.2f}</span>"
    )


def _guardrails(stage: AnnealStageResult) -> str:
    rows = [
        [
            f"<code>{escape(reading.name)}</code>",
            _told(reading),
            number(reading.value, ".4g"),
            number(reading.baseline, ".4g"),
            number(reading.delta, "+.4g"),
            number(reading.limit, ".4g"),
            reading.on_trip,
            escape(reading.reason),
        ]
        for reading in stage.guardrails
    ]
    head = ["guardrail", "", "value", "baseline", "change", "limit", "on trip", "reason"]
    if not rows:
        return ""
    return f"<h3>{escape(stage.name)}</h3>" + table(head, rows, numbers=(2, 3, 4, 5))


def _told(reading: GuardrailReading) -> str:
    if not reading.applicable:
        return "not applicable"
    return '<span class="FAIL">tripped</span>' if reading.tripped else "held"
