"""What a candidate must show to pass: a paired A/B test and the conditions on it.

Candidate and opponent play the same world seeds, so that what the worlds differ in cancels out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from journeyman.env.build import harmful_rates
from journeyman.policies.protocol import Policy
from journeyman.results import EvaluationResult, PairedResult, PromotionEvaluation, Verdict
from journeyman.services.statistics import (
    interquartile_mean,
    paired_interval,
    probability_of_improvement,
)
from journeyman.settings.env import EnvSettings
from journeyman.settings.evaluation import EvaluationSettings
from journeyman.settings.promotion import PromotionGateSettings


@dataclass(frozen=True, kw_only=True)
class PairedPlay:
    """Two policies played on the same seeds, and their comparison."""

    candidate: EvaluationResult
    opponent: EvaluationResult
    paired: PairedResult


def compare(
    candidate: EvaluationResult,
    opponent: EvaluationResult,
    settings: EvaluationSettings,
    *,
    rng: np.random.Generator | None = None,
) -> PairedResult:
    """Compares two plays pair by pair.

    Args:
        candidate: as played.
        opponent: as played on the same seeds.
        settings: level and resamples of the interval.
        rng: draws the resamples; None: a generator made from the seeds played, so that the same
            two plays always compare the same.

    Raises:
        ValueError: if the two were played on different seeds, environments or social stages.
    """
    for name in ("seeds", "env_id", "social_stage"):
        ours, theirs = getattr(candidate, name), getattr(opponent, name)
        if ours != theirs:
            raise ValueError(f"a paired comparison needs the same {name}: {ours} and {theirs}")
    return PairedResult(
        candidate=candidate.policy,
        opponent=opponent.policy,
        difference=paired_interval(
            candidate.episode_returns,
            opponent.episode_returns,
            confidence=settings.confidence,
            resamples=settings.bootstrap_resamples,
            rng=np.random.default_rng(candidate.seeds) if rng is None else rng,
        ),
        probability_of_improvement=probability_of_improvement(
            candidate.episode_returns, opponent.episode_returns
        ),
        candidate_iqm=interquartile_mean(candidate.episode_returns),
        opponent_iqm=interquartile_mean(opponent.episode_returns),
        seeds=candidate.seeds,
    )


def paired_evaluation(
    candidate: Policy,
    opponent: Policy,
    *,
    seeds: Sequence[int],
    play: Callable[[Policy, Sequence[int]], EvaluationResult],
    settings: EvaluationSettings,
) -> PairedPlay:
    """Plays both policies on the same seeds and compares them.

    Args:
        candidate: who wants to become the champion.
        opponent: the champion, or the demonstrator where there is none.
        seeds: world seeds, see ``draw_seeds``.
        play: plays a policy on seeds.
        settings: level and resamples of the interval.
    """
    ours, theirs = play(candidate, seeds), play(opponent, seeds)
    return PairedPlay(candidate=ours, opponent=theirs, paired=compare(ours, theirs, settings))


def allowed_increases(settings: PromotionGateSettings, env: EnvSettings) -> Mapping[str, float]:
    """Returns event -> allowed increase per 1000 agent-ticks, where null the environment's own."""
    own = settings.max_rate_increase
    return harmful_rates(env) if own is None else own


def judge(
    paired: PairedResult,
    anneal_status: Verdict,
    candidate: EvaluationResult,
    opponent: EvaluationResult,
    settings: PromotionGateSettings,
    *,
    max_rate_increase: Mapping[str, float],
    weights_digest: str,
) -> PromotionEvaluation:
    """Holds an evaluation against every condition of the gate.

    It passes if the run's status is PASS, the interval of the difference lies above
    ``-non_inferiority_margin``, and no gate metric rose by more than it may. A metric that the
    environment does not count is a broken condition: what cannot be read does not hold. Without
    a champion the mean difference must not be negative either, whatever the margin: a policy
    worse than the demonstrator never becomes the first champion.

    Args:
        paired: the comparison.
        anneal_status: verdict on the run that trained the candidate.
        candidate: as played.
        opponent: as played on the same seeds.
        settings: the gate.
        max_rate_increase: gate metrics, see ``allowed_increases``.
        weights_digest: of the candidate.
    """
    low, floor = paired.difference.low, 0.0 - settings.non_inferiority_margin
    conditions = [
        (anneal_status == "PASS", f"training ended with status {anneal_status}"),
        (
            low > floor,
            f"the lower bound of the return's difference to {paired.opponent}, {low:.4g}, is "
            f"{'above' if low > floor else 'not above'} {floor:.4g}",
        ),
    ]
    if settings.champion is None:
        mean = paired.difference.mean
        worse = "not worse" if mean >= 0.0 else "worse"
        conditions.append(
            (
                mean >= 0.0,
                f"the first champion must not be worse than {paired.opponent} on average: "
                f"{mean:.4g} is {worse}",
            )
        )
    for metric, allowed in max_rate_increase.items():
        conditions.append(_gate_metric(metric, allowed, candidate, opponent))
    return PromotionEvaluation(
        passed=all(held for held, _ in conditions),
        reasons=tuple(f"{'held' if held else 'broken'}: {text}" for held, text in conditions),
        max_rate_increase=dict(max_rate_increase),
        weights_digest=weights_digest,
        paired=paired,
    )


def _gate_metric(
    metric: str, allowed: float, candidate: EvaluationResult, opponent: EvaluationResult
) -> tuple[bool, str]:
    if metric not in candidate.rates or metric not in opponent.rates:
        counted = ", ".join(sorted(candidate.rates)) or "nothing"
        return False, (
            f"{metric} cannot be checked, since {candidate.env_id} counts {counted}; "
            "take it out of promotion.max_rate_increase"
        )
    ours, theirs = candidate.rates[metric], opponent.rates[metric]
    held = ours - theirs <= allowed
    return held, (
        f"{metric} per 1000 agent-ticks went from {theirs:.4g} to {ours:.4g}, "
        f"{'within' if held else 'beyond'} the allowed increase of {allowed:.4g}"
    )
