"""In the town itself, a cycle's social rewards are paid from that cycle on, and only there."""

import json
from pathlib import Path
from typing import Any

import pytest

from journeyman.composition import compose_settings
from journeyman.orchestrator import Orchestrator
from journeyman.results import AnnealSummary
from support.commands import TINY

STAGES = [
    {"cycle": 0, "mode": "bc", "epochs": 1, "bc_weight": 1.0},
    *(
        # Led by a demonstrator, who queues and quarrels where an untrained policy does not.
        {"cycle": cycle, "mode": "ppo", "epochs": 2, "guide": {"kind": "blend", "ratio": 0.95}}
        for cycle in (1, 2, 4)
    ),
]
SCHEDULE = [
    {"cycle": 0, "stage": "OFF"},
    {"cycle": 2, "stage": "C1"},
    # Between two stages: in force from the next one on.
    {"cycle": 3, "stage": "C2"},
]


def played(tmp_path: Path, *overrides: str) -> tuple[AnnealSummary, list[dict[str, Any]]]:
    """Runs the schedule in a town with a single shower; returns it and its metrics' lines."""
    settings = compose_settings(
        [
            *TINY,
            "tracking=none",
            "promotion=off",
            f"outputs={tmp_path}/outputs",
            "env.scenario=queue_conflict",
            "env.episode_ticks=240",
            "env.queues.patience=2",
            "strategy.ppo.rollout_ticks=120",
            "strategy.ppo.worlds=8",
            "strategy.ppo.critic_warmup=0",
            *overrides,
        ]
    )
    document = settings.model_dump(mode="json")
    document["anneal"]["stages"] = STAGES
    document["social_reward"] = {"schedule": SCHEDULE, "override": None}
    settings = type(settings).model_validate(document)
    result = Orchestrator(settings, run_dir=tmp_path / "run").run()
    assert isinstance(result, AnnealSummary)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    return result, [json.loads(line) for line in lines]


def test_reward_terms_appear_from_their_cycle_on(tmp_path: Path) -> None:
    summary, lines = played(tmp_path)
    assert [stage.social_stage for stage in summary.stages] == ["OFF", "OFF", "C1", "C2"]
    updates = [line for line in lines if line["group"] == "ppo"]
    rewards = [line for line in lines if line["group"] == "reward"]
    assert [update["anneal_cycle"] for update in updates] == [1, 1, 2, 2, 4, 4]
    # There were chats and conflicts to be paid for in every update.
    assert all(update["chat_success_events"] > 0 for update in updates)
    assert all(update["queue_conflict_events"] > 0 for update in updates)
    assert [reward["chat"] != 0.0 for reward in rewards] == [False] * 2 + [True] * 4
    assert [reward["conflict"] != 0.0 for reward in rewards] == [False] * 4 + [True] * 2
    # What C3 alone pays for is never paid.
    assert all(reward["meal"] == reward["help"] == 0.0 for reward in rewards)


@pytest.mark.parametrize("fixed", ["OFF", "C2"])
def test_every_evaluation_is_under_one_fixed_stage_and_says_so(tmp_path: Path, fixed: str) -> None:
    summary, _ = played(tmp_path, f"evaluation.social_stage='{fixed}'")
    assert summary.demonstrator is not None
    evaluations = [summary.untrained, summary.demonstrator, summary.final]
    evaluations += [stage.evaluation for stage in summary.stages]
    assert {evaluation.social_stage for evaluation in evaluations} == {fixed}
    # It is the stage the rewards were really counted under, whatever the practice was.
    assert all((e.reward_terms["chat"] != 0.0) is (fixed == "C2") for e in evaluations)
