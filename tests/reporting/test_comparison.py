"""Configurations over seeds: what is one, what counts, and the figures behind the table."""

import numpy as np
import pytest

from journeyman.reporting.comparison import (
    Estimate,
    bands,
    compare_jobs,
    probability_of_improvement,
)
from journeyman.reporting.report import render_report
from journeyman.tracking.history import JobHistory


def job(
    *overrides: str, seed: int = 0, score: float | None = None, status: str = "done", **more: object
) -> JobHistory:
    return JobHistory(
        name=f"{overrides} {seed}",
        overrides=(*overrides, f"seed={seed}"),
        seed=seed,
        status=status,
        score=score,
        command="journeyman",
        **more,
    )


def test_a_configuration_is_what_is_left_without_the_seed_and_the_way_it_was_run() -> None:
    jobs = [
        job("lr=1", "policy=small", "launch=joblib", seed=0, score=1.0),
        job("lr=1", "policy=small", "tracking.experiment=x", "hydra.job.name=y", seed=1, score=2.0),
        job("lr=2", "policy=small", seed=0, score=9.0),
    ]
    comparison = compare_jobs(jobs)
    assert comparison.shared == ("policy=small",)
    assert [each.label for each in comparison.configurations] == ["lr=2", "lr=1"]
    assert comparison.configurations[1].scores == (1.0, 2.0)


def test_jobs_that_are_not_done_are_listed_but_do_not_score() -> None:
    jobs = [
        job("lr=1", seed=0, score=1.0, duration_sec=2.0),
        job("lr=1", seed=1, score=7.0, status="failed", duration_sec=9.0),
        job("lr=1", seed=2, status="pending"),
        job("lr=2", seed=0, status="failed"),
    ]
    first, second = compare_jobs(jobs).configurations
    assert first.scores == (1.0,)
    assert first.return_iqm == Estimate(1.0), "one seed has no interval"
    assert first.statuses == {"done": 1, "failed": 1, "pending": 1}
    assert first.duration_sec == 2.0
    assert (second.label, second.return_iqm) == ("lr=2", None)


def test_a_seed_run_again_is_no_second_sample() -> None:
    jobs = [job("lr=1", seed=0, score=1.0), job("lr=1", seed=0, score=5.0)]
    (only,) = compare_jobs(jobs).configurations
    assert only.scores == (5.0,)


def test_of_a_seeds_runs_the_last_that_is_done_counts() -> None:
    """A rerun that was stopped takes nothing away; runs that contradict each other are told."""
    jobs = [
        job("lr=1", seed=0, score=1.0),
        job("lr=1", seed=0, score=9.0, status="stopped"),
        job("lr=1", seed=1, score=2.0),
        job("lr=1", seed=1, score=2.0),
        job("lr=1", seed=2, score=3.0),
        job("lr=1", seed=2, score=4.0),
    ]
    (only,) = compare_jobs(jobs).configurations
    assert only.scores == (1.0, 2.0, 4.0)
    assert (only.repeated, only.contradicted) == (2, 1)
    page = render_report("t", None, jobs)
    assert "3 (2 run again)" in page
    assert "runs of the same seed have not the same return (of 1 seed)" in page


def test_the_config_says_what_is_one_configuration_where_words_do_not() -> None:
    """Reruns have fewer words than their original; of one word two configs may have been made."""
    jobs = [
        job("strategy=ppo", seed=0, score=1.0, digest="a", params={"strategy.kind": "ppo"}),
        job(seed=1, score=3.0, digest="a", params={"strategy.kind": "ppo", "seed": "1"}),
        job("strategy=ppo", seed=2, status="pending"),
        job(seed=0, score=9.0, digest="b", params={"strategy.kind": "bc", "strategy.epochs": "2"}),
        job(seed=0, score=8.0, digest="c", params={"strategy.kind": "bc", "strategy.epochs": "3"}),
    ]
    found = {each.label: each for each in compare_jobs(jobs).configurations}
    assert list(found) == [
        "strategy.kind=bc strategy.epochs=2",
        "strategy.kind=bc strategy.epochs=3",
        "strategy=ppo",
    ]
    assert found["strategy=ppo"].scores == (1.0, 3.0)
    assert found["strategy=ppo"].statuses == {"done": 2, "pending": 1}


def test_the_same_words_with_two_configs_are_told_apart() -> None:
    """A default that changed between two runs of one command line."""
    params = [{"a.lr": "1", "b": "0", "seed": "0"}, {"a.lr": "2", "b": "0", "seed": "1"}]
    jobs = [job("p=q", seed=n, score=n, digest=str(n), params=params[n]) for n in (0, 1)]
    assert [each.label for each in compare_jobs(jobs).configurations] == ["a.lr=2", "a.lr=1"]


def test_the_interquartile_mean_and_its_interval() -> None:
    """Of 8 scores the middle 4 count: (2 + 3 + 4 + 5) / 4 = 3.5, whatever the outlier is.

    The interval of seeds drawn with replacement lies within the scores and about the value.
    """
    jobs = [job(seed=n, score=s) for n, s in enumerate((0, 1, 2, 3, 4, 5, 6, 1000.0))]
    (only,) = compare_jobs(jobs).configurations
    assert only.return_iqm.value == pytest.approx(3.5, abs=1e-12)
    assert 0.0 <= only.return_iqm.low < 3.5 < only.return_iqm.high
    again = compare_jobs(jobs).configurations[0]
    assert again.return_iqm == only.return_iqm, "the same jobs give the same interval"
    (equal,) = compare_jobs([job(seed=n, score=2.0) for n in range(3)]).configurations
    assert equal.return_iqm == Estimate(2.0, 2.0, 2.0)


def test_probability_of_improvement_counts_pairs() -> None:
    """Pairs (1,0) (1,1) (1,3) (2,0) (2,1) (2,3): wins 1, 2 with a tie; (1 + .5 + 2) / 6."""
    estimate = probability_of_improvement([1.0, 2.0], [0.0, 1.0, 3.0])
    assert estimate.value == pytest.approx(3.5 / 6, abs=1e-12)
    assert estimate.low <= estimate.value <= estimate.high
    assert probability_of_improvement([2.0], [1.0]) == Estimate(1.0)
    assert probability_of_improvement([2.0, 3.0], [1.0, 0.0]) == Estimate(1.0, 1.0, 1.0)


def test_bands_are_read_at_steps_that_every_curve_has_come_to() -> None:
    """Curves over [0, 4] and [2, 6]: common steps 2, 4; at 2 the first is between 0 and 8: 4."""
    jobs = [
        job(seed=0, curves={"eval/return_mean": ((0.0, 4.0), (0.0, 8.0))}),
        job(seed=1, curves={"eval/return_mean": ((2.0, 6.0), (6.0, 10.0))}),
    ]
    (only,) = compare_jobs(jobs).configurations
    band = bands(only, "eval/return_mean")
    np.testing.assert_allclose(band.steps, [2.0, 4.0])
    np.testing.assert_allclose(band.middle, [5.0, 8.0])
    np.testing.assert_allclose(band.low, [4.0, 8.0])
    np.testing.assert_allclose(band.high, [6.0, 8.0])
    assert bands(only, "bc/val_loss") is None


def test_a_page_escapes_what_users_wrote_and_holds_no_script() -> None:
    hostile = "<script>alert(1)</script>"
    page = render_report(
        hostile,
        f"journeyman {hostile}",
        [job(f"policy={hostile}", status="failed", reason=hostile), job("policy=b", score=1.0)],
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 4


def test_the_same_jobs_give_the_same_page() -> None:
    curves = {"eval/return_mean": ((0.0, 1.0), (0.0, 1.0))}
    jobs = [job(f"lr={lr}", seed=s, score=lr + s, curves=curves) for lr in (1, 2) for s in (0, 1)]
    page = render_report("t", None, jobs)
    assert page == render_report("t", None, jobs)
    assert page.count("<svg") == 1
    # lr=2 scores 2 and 3, lr=1 scores 1 and 2: of four pairs three are won and one is a tie.
    assert "0.88" in page
    assert "0.12" in page
