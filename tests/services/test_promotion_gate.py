"""What a pass is: paired comparison, conditions, and both configured options."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from journeyman.composition import compose_settings
from journeyman.env.build import event_names, harmful_rates
from journeyman.policies.protocol import Policy
from journeyman.results import EvaluationResult, Interval, PairedResult, PromotionEvaluation
from journeyman.services.evaluation import evaluate
from journeyman.services.promotion import allowed_increases, compare, judge, paired_evaluation
from journeyman.settings.evaluation import EvaluationSettings
from journeyman.settings.promotion import (
    PromotionGateSettings,
    PromotionOffSettings,
    PromotionSettings,
)
from support.signal_env import Answering, Constant, SignalEnv

EVALUATION = EvaluationSettings(
    episodes=8, deterministic=True, social_stage="C1", confidence=0.95, bootstrap_resamples=500
)


@functools.cache
def configured(name: str) -> PromotionSettings:
    return compose_settings([f"promotion={name}"]).promotion


def gate(**changes: Any) -> PromotionGateSettings:
    settings = configured("gate")
    assert isinstance(settings, PromotionGateSettings)
    return settings.model_copy(update=changes)


def played(
    returns: tuple[float, ...],
    policy: str = "p",
    rates: dict[str, float] | None = None,
    **changes: Any,
) -> EvaluationResult:
    mean = float(np.mean(returns))
    return EvaluationResult(
        policy=policy,
        env_id="test/env",
        social_stage="C1",
        seeds=tuple(range(len(returns))),
        episode_returns=returns,
        episode_return=Interval(mean=mean, low=mean, high=mean, episodes=len(returns)),
        return_iqm=mean,
        episode_length_mean=20.0,
        rates=rates or {},
        activity_shares={},
        reward_terms={},
        duration_sec=1.0,
    ).model_copy(update=changes)


def paired(low: float, mean: float, high: float) -> PairedResult:
    return PairedResult(
        candidate="candidate",
        opponent="demonstrator",
        difference=Interval(mean=mean, low=low, high=high, episodes=4),
        probability_of_improvement=0.75,
        candidate_iqm=1.0,
        opponent_iqm=0.5,
        seeds=(1, 2, 3, 4),
    )


def judged(*what: Any, max_rate_increase: Mapping[str, float] | None = None) -> PromotionEvaluation:
    return judge(*what, max_rate_increase=max_rate_increase or {}, weights_digest="w")


def verdict(difference: PairedResult, status: Any = "PASS", **changes: Any) -> bool:
    four = played((0.0,) * 4)
    return judged(difference, status, four, four, gate(**changes)).passed


def test_the_shipped_options() -> None:
    assert isinstance(configured("off"), PromotionOffSettings)
    settings = configured("gate")
    assert (settings.required_passes, settings.evaluations, settings.episodes) == (2, 2, 128)
    assert (settings.non_inferiority_margin, settings.champion) == (0.0, None)
    assert settings.max_rate_increase is None


def test_null_means_what_the_environment_calls_harmful() -> None:
    settings = compose_settings(["promotion=gate"])
    assert dict(allowed_increases(gate(), settings.env)) == {"faint": 0.5, "queue_conflict": 2.0}
    assert set(harmful_rates(settings.env)) <= set(event_names(settings.env))
    other = compose_settings(["env=gymnasium", "env.id=CartPole-v1"]).env
    assert dict(allowed_increases(gate(), other)) == {}
    # A map replaces it, in the town too; an empty one by nothing.
    for own in ({"chat_failed": 3.0}, {}):
        assert allowed_increases(gate(max_rate_increase=own), settings.env) == own


def test_compare_pairs_world_by_world() -> None:
    # Differences +1, 0, -2, +3, +1, +1, +1, +3: mean 1; wins 6, ties 1 of 8: 6.5 / 8.
    # IQM (two out at each end): candidate sorted 1, 2, 2, 3, 4, 4, 5, 8 -> (2 + 3 + 4 + 4) / 4.
    candidate = (3.0, 2.0, 1.0, 4.0, 2.0, 5.0, 8.0, 4.0)
    opponent = (2.0, 2.0, 3.0, 1.0, 1.0, 4.0, 7.0, 1.0)
    result = compare(played(candidate, "new"), played(opponent, "old"), EVALUATION)
    assert (result.candidate, result.opponent) == ("new", "old")
    assert result.difference.mean == pytest.approx(1.0)
    assert -2.0 < result.difference.low < 1.0 < result.difference.high < 3.0
    assert result.probability_of_improvement == 6.5 / 8
    assert result.candidate_iqm == 3.25
    # Sorted 1, 1, 1, 2, 2, 3, 4, 7 -> (1 + 2 + 2 + 3) / 4.
    assert result.opponent_iqm == 2.0
    assert result.seeds == tuple(range(8))
    again = compare(played(candidate, "new"), played(opponent, "old"), EVALUATION)
    assert again == result


@pytest.mark.parametrize(
    "changes", [{"seeds": (9, 8, 7, 6)}, {"env_id": "other"}, {"social_stage": "OFF"}]
)
def test_only_like_is_compared_with_like(changes: dict[str, Any]) -> None:
    four = played((0.0,) * 4)
    with pytest.raises(ValueError, match=f"the same {next(iter(changes))}"):
        compare(four, four.model_copy(update=changes), EVALUATION)


@pytest.mark.parametrize(
    ("low", "mean", "high", "margin", "champion", "passed"),
    [
        (0.01, 1.0, 2.0, 0.0, None, True),
        (0.0, 1.0, 2.0, 0.0, None, False),  # above, not at
        (-0.1, 1.0, 2.0, 0.0, None, False),
        (-0.1, 1.0, 2.0, 0.2, None, True),
        (-0.1, -0.05, 0.0, 0.2, "champion.safetensors", True),  # not inferior to a champion
        (-0.1, -0.05, 0.0, 0.2, None, False),  # but worse than the demonstrator: never first
        (-0.3, 1.0, 2.0, 0.2, "champion.safetensors", False),
    ],
)
def test_the_return_condition(
    low: float, mean: float, high: float, margin: float, champion: str | None, passed: bool
) -> None:
    changes = {"non_inferiority_margin": margin, "champion": champion}
    assert verdict(paired(low, mean, high), **changes) is passed


@pytest.mark.parametrize(("status", "passed"), [("PASS", True), ("HOLD", False), ("FAIL", False)])
def test_training_must_have_passed(status: str, passed: bool) -> None:
    assert verdict(paired(1.0, 2.0, 3.0), status) is passed


@pytest.mark.parametrize(
    ("ours", "theirs", "held"),
    # Allowed increase 1.0.
    [(3.0, 2.0, True), (3.01, 2.0, False), (0.0, 9.0, True)],
)
def test_gate_metrics(ours: float, theirs: float, held: bool) -> None:
    evaluation = judged(
        paired(1.0, 2.0, 3.0),
        "PASS",
        played((0.0,) * 4, rates={"faint": ours}),
        played((0.0,) * 4, rates={"faint": theirs}),
        gate(),
        max_rate_increase={"faint": 1.0},
    )
    assert evaluation.passed is held
    assert evaluation.max_rate_increase == {"faint": 1.0}
    assert sum("faint" in reason for reason in evaluation.reasons) == 1


def test_a_metric_that_is_not_counted_does_not_hold() -> None:
    four = played((0.0,) * 4, rates={"right": 1.0})
    evaluation = judged(
        paired(1.0, 2.0, 3.0),
        "PASS",
        four,
        four,
        gate(),
        max_rate_increase={"faints": 1.0},
    )
    assert not evaluation.passed
    assert evaluation.reasons[-1] == (
        "broken: faints cannot be checked, since test/env counts right; "
        "take it out of promotion.max_rate_increase"
    )


def test_every_condition_is_said() -> None:
    evaluation = judged(
        paired(-1.0, -0.5, 0.5),
        "HOLD",
        played((0.0,) * 4, rates={"faint": 1.25}),
        played((0.0,) * 4, rates={"faint": 1.0}),
        gate(),
        max_rate_increase={"faint": 1.0},
    )
    assert evaluation.weights_digest == "w"
    assert evaluation.reasons == (
        "broken: training ended with status HOLD",
        "broken: the lower bound of the return's difference to demonstrator, -1, is not above 0",
        "broken: the first champion must not be worse than demonstrator on average: -0.5 is worse",
        "held: faint per 1000 agent-ticks went from 1 to 1.25, within the allowed increase of 1",
    )


def test_a_played_comparison_on_the_same_worlds() -> None:
    # On 20 steps without forced ones the demonstrator earns 20, who always answers 1 about a
    # third of it: the demonstrator wins every pair, and the same on the same seeds ties them.
    asked: list[tuple[str, tuple[int, ...]]] = []

    def play(policy: Policy, seeds: Sequence[int]) -> EvaluationResult:
        asked.append((policy.label, tuple(seeds)))
        return evaluate(
            SignalEnv(num_worlds=len(seeds), forced=0.0),
            policy,
            seeds=seeds,
            social_stage="C1",
            settings=EVALUATION,
            rng=np.random.default_rng(0),
        )

    seeds = (3, 1, 4, 15, 9, 2)
    result = paired_evaluation(Answering(), Constant(), seeds=seeds, play=play, settings=EVALUATION)
    assert asked == [("demonstrator", seeds), ("constant", seeds)]
    assert result.candidate.episode_returns == (20.0,) * 6
    assert result.paired.probability_of_improvement == 1.0
    assert 10.0 < result.paired.difference.low < result.paired.difference.high < 17.0
    tie = paired_evaluation(Constant(), Constant(), seeds=seeds, play=play, settings=EVALUATION)
    assert tie.paired.probability_of_improvement == 0.5
    assert (tie.paired.difference.low, tie.paired.difference.high) == (0.0, 0.0)
