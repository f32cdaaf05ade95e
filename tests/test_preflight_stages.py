"""Stages that ask for a demonstrator, a guide or a prior in vain are refused by their number."""

from pathlib import Path

import pytest

from journeyman.composition import compose_settings
from journeyman.errors import UserError
from journeyman.preflight import preflight
from journeyman.settings.root import Settings

CARTPOLE = ("env=gymnasium", "env.id=CartPole-v1", "env.vectorization=sync")
RELAY = (
    "env=pettingzoo",
    "env.module=support.relay_env",
    "dataset=rollout",
    "dataset.policy=random",
)
HOW = (
    "set env.demonstrator to cartpole, to the name of one that you register, or to the path of a "
    "checkpoint"
)
PLAIN = {"cycle": 1, "mode": "ppo", "epochs": 4}
IMITATE = {"cycle": 0, "mode": "bc", "epochs": 1, "bc_weight": 1.0}
BLEND = {**PLAIN, "guide": {"kind": "blend", "ratio": 0.5}}
PREFIX = {**PLAIN, "cycle": 2, "guide": {"kind": "prefix", "ratio": {"start": 1.0, "end": 0.0}}}


def settings(tmp_path: Path, *overrides: str, stages: list[dict[str, object]]) -> Settings:
    made = compose_settings([*overrides, "tracking=none", f"outputs={tmp_path}/outputs"])
    document = made.model_dump(mode="json")
    document["anneal"]["stages"] = stages
    return Settings.model_validate(document)


def problems(job: Settings) -> list[str]:
    with pytest.raises(UserError) as caught:
        preflight([job])
    return list(caught.value.problems)


def test_imitation_without_anyone_to_imitate(tmp_path: Path) -> None:
    stages = [IMITATE, PLAIN, {**PLAIN, "cycle": 2, "bc_weight": {"start": 0.0, "end": 0.5}}]
    for dataset, key in ((), "dataset=scripted"), (("dataset=rollout",), "dataset.policy"):
        assert problems(settings(tmp_path, *CARTPOLE, *dataset, stages=stages)) == [
            f"anneal.stages.0, anneal.stages.2: what imitation learns from ({key}) is the "
            f"demonstrator's play, and CartPole-v1 has none; {HOW}; or use dataset=manifest"
        ]
    preflight([settings(tmp_path, *CARTPOLE, "env.demonstrator=cartpole", stages=stages)])
    random = ("dataset=rollout", "dataset.policy=random")
    preflight([settings(tmp_path, *CARTPOLE, *random, stages=stages)])


def test_a_guide_without_a_demonstrator(tmp_path: Path) -> None:
    said = [
        f"anneal.stages.1, anneal.stages.2: a guide is the demonstrator's play, and CartPole-v1 "
        f"has none; {HOW}"
    ]
    random = ("dataset=rollout", "dataset.policy=random")
    stages = [IMITATE, BLEND, PREFIX]
    assert problems(settings(tmp_path, *CARTPOLE, *random, stages=stages)) == said
    preflight([settings(tmp_path, *CARTPOLE, "env.demonstrator=cartpole", stages=stages)])


def test_who_asks_for_no_demonstrations_needs_none(tmp_path: Path) -> None:
    preflight([settings(tmp_path, *CARTPOLE, stages=[PLAIN])])


def test_a_prefix_of_episodes_without_a_known_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("journeyman.services.players.has_demonstrator", lambda env: True)
    monkeypatch.setattr("journeyman.services.players.check_demonstrator", lambda env: None)
    assert problems(settings(tmp_path, *RELAY, stages=[IMITATE, BLEND, PREFIX])) == [
        "anneal.stages.2: guide kind=prefix takes a share of an episode, but episodes of "
        "pettingzoo/relay_env have no known length; set env.max_episode_steps, or use kind=blend"
    ]
    limited = (*RELAY, "env.max_episode_steps=50")
    preflight([settings(tmp_path, *limited, stages=[IMITATE, BLEND, PREFIX])])


@pytest.mark.parametrize("mode", ["replay", "mixed"])
def test_nobody_leads_recorded_play(tmp_path: Path, mode: str) -> None:
    recomputed = ("dataset.recompute_log_probs=true", f"strategy.ppo.data_mode={mode}")
    prior = {**PLAIN, "cycle": 3, "kl_weight": 0.5}
    job = settings(tmp_path, *recomputed, stages=[IMITATE, BLEND, PREFIX, prior])
    assert problems(job) == [
        "anneal.stages.1, anneal.stages.2, anneal.stages.3: guide and kl_weight need fresh play, "
        f"strategy.ppo.data_mode=rollout (got {mode})"
    ]
    preflight([settings(tmp_path, *recomputed, stages=[IMITATE, PLAIN])])


def test_a_warm_up_that_takes_the_whole_stage_must_be_the_stages_own(tmp_path: Path) -> None:
    short = {**PLAIN, "epochs": 3}
    assert problems(settings(tmp_path, stages=[IMITATE, short])) == [
        "anneal.stages.1: strategy.ppo.critic_warmup=3 takes all of its 3 updates, and the policy "
        "would learn nothing; set the stage's own critic_warmup"
    ]
    preflight([settings(tmp_path, stages=[IMITATE, {**short, "critic_warmup": 3}])])
