"""A stage that destroys the policy trips and leaves no trace; a good one does not trip."""

import json
from pathlib import Path

import numpy as np
import pytest

from journeyman.checkpoint import load_checkpoint
from journeyman.results import AnnealStageResult, AnnealSummary
from support.anneal import IMITATE, PRACTISE, QueueingEnv, context_for, run

DESTROY = {"cycle": 1, "mode": "ppo", "epochs": 4, "learning_rate": 1.0}
AFTERWARDS = {**PRACTISE, "cycle": 2}
SEEDS = 20
EVERY_GUARDRAIL_OF_PRACTICE = {
    "loss",
    "kl",
    "grad_norm",
    "entropy",
    "queue_events",
    "queue_intensity",
    "episode_return",
}


@pytest.fixture(scope="module")
def destroyed(tmp_path_factory: pytest.TempPathFactory) -> tuple[AnnealSummary, Path]:
    """A run whose second stage practises at step size 1; made once."""
    folder = tmp_path_factory.mktemp("destroyed")
    return run(context_for(folder, IMITATE, DESTROY, AFTERWARDS)), folder


def test_a_destructive_stage_trips_and_is_rolled_back(
    destroyed: tuple[AnnealSummary, Path],
) -> None:
    summary, _ = destroyed
    imitated, ruined, afterwards = summary.stages
    # 14 points are there to be had, and an untrained policy gets about 4.
    assert ruined.evaluation.episode_return.high < 10.0 < imitated.evaluation.episode_return.low
    assert (ruined.status, ruined.rolled_back) == ("HOLD", True)
    tripped = {reading.name: reading for reading in ruined.guardrails if reading.tripped}
    assert tripped["episode_return"].on_trip == "rollback"
    assert "is under" in tripped["episode_return"].reason
    assert tripped["episode_return"].reason in ruined.reason
    assert not afterwards.rolled_back
    assert (summary.status, summary.reason) == ("HOLD", "guardrails tripped in stage 1")
    assert summary.final == afterwards.evaluation


def test_the_rollback_restores_identical_bits(destroyed: tuple[AnnealSummary, Path]) -> None:
    summary, folder = destroyed
    imitated, ruined, afterwards = summary.stages
    before, after = (
        load_checkpoint(folder / "checkpoints" / f"{name}.safetensors")
        for name in ("00-bc", "01-ppo")
    )
    assert before.arrays.keys() == after.arrays.keys()
    for name, array in before.arrays.items():
        assert np.array_equal(array, after.arrays[name], equal_nan=True), name
    assert before.state["generators"] == after.state["generators"]
    assert ruined.digest_trained != ruined.digest_before
    assert ruined.digest_after == imitated.digest_after == afterwards.digest_before


def test_a_rolled_back_stage_leaves_no_trace_in_what_follows(
    destroyed: tuple[AnnealSummary, Path], tmp_path: Path
) -> None:
    summary, _ = destroyed
    without = run(context_for(tmp_path, IMITATE, AFTERWARDS))
    assert summary.weights_digest == without.weights_digest
    assert summary.final.episode_returns == without.final.episode_returns
    # But for the steps it took, which are spent.
    spent = summary.stages[1].training.transitions  # type: ignore[union-attr]
    assert summary.stages[2].training.steps == (  # type: ignore[union-attr]
        without.stages[1].training.steps + spent  # type: ignore[union-attr]
    )


@pytest.mark.slow
def test_a_good_stage_does_not_trip_in_20_seeds(tmp_path: Path) -> None:
    # No alarm in 20 seeds: the true rate is under 1 - .05 ^ (1 / 20) = 14 % at a level of 95 %.
    # Three stages of each were checked, and in the last of them every guardrail there is.
    good = {**PRACTISE, "epochs": 6}
    alarms: list[AnnealStageResult] = []
    for seed in range(SEEDS):
        folder = tmp_path / str(seed)
        stages = (IMITATE, {**good, "cycle": 1}, {**good, "cycle": 2})
        summary = run(context_for(folder, *stages, seed=seed, episodes=128, world=QueueingEnv))
        assert summary.stages[2].evaluation.episode_return.mean > 12.0
        read = {reading.name for reading in summary.stages[2].guardrails if reading.applicable}
        assert read == EVERY_GUARDRAIL_OF_PRACTICE
        alarms += [stage for stage in summary.stages if stage.status != "PASS"]
    assert not alarms, [(stage.name, stage.reason) for stage in alarms]


def test_a_stage_whose_prior_was_rolled_back_is_not_begun(tmp_path: Path) -> None:
    """The check before the run cannot know that imitation will not be accepted."""
    kept = {"cycle": 1, "mode": "ppo", "epochs": 2, "kl_weight": 0.5}
    gate = {"bc_accuracy": {"on_trip": "rollback"}}
    vain = {**IMITATE, "epochs": 1, "learning_rate": 1e-9}
    summary = run(context_for(tmp_path, vain, kept, {**PRACTISE, "cycle": 2}, guardrails=gate))
    (imitated,) = summary.stages
    assert (imitated.status, imitated.rolled_back, summary.status) == ("FAIL", True, "FAIL")
    assert summary.final == summary.untrained
    assert summary.reason == (
        "the imitation gate failed in stage 0; stage 1 (cycle 1) was not begun: its kl_weight "
        "needs a prior, and no bc stage before it was accepted"
    )
    written = json.loads((tmp_path / "anneal_results.json").read_text())
    assert (written["status"], written["reason"]) == ("FAIL", summary.reason)


def test_status_and_reason_are_in_the_results_file(
    destroyed: tuple[AnnealSummary, Path],
) -> None:
    summary, folder = destroyed
    written = json.loads((folder / "anneal_results.json").read_text())
    assert written["status"] == "HOLD"
    assert [stage["status"] for stage in written["stages"]] == ["PASS", "HOLD", "PASS"]
    assert written["stages"][1]["reason"] == summary.stages[1].reason
    assert written["stages"][1]["rolled_back"] is True
    tripped = [reading for reading in written["stages"][1]["guardrails"] if reading["tripped"]]
    assert "episode_return" in {reading["name"] for reading in tripped}


def test_the_curve_of_guardrails_says_what_tripped(tmp_path: Path) -> None:
    context = context_for(tmp_path, IMITATE, DESTROY)
    summary = run(context)
    emissions = context.tracker.emissions  # type: ignore[attr-defined]
    after_imitation, after_ruin = emissions.of("guard")
    assert after_imitation["episode_return_tripped"] is False
    assert after_ruin["episode_return_tripped"] is True
    ruined = summary.stages[1].evaluation.episode_return
    assert after_ruin["episode_return"] == ruined.mean
    assert after_ruin["episode_return_delta"] < 0.0
    assert emissions.of("anneal")[-1]["rolled_back"] is True
