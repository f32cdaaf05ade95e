"""What is refused of environments without a demonstrator, social rewards or pictures."""

import re
from pathlib import Path

import pytest

from journeyman.composition import compose_settings
from journeyman.errors import UserError
from journeyman.preflight import preflight
from journeyman.session import with_absolute_paths
from journeyman.settings.root import Settings

CARTPOLE = ("env=gymnasium", "env.id=CartPole-v1", "env.vectorization=sync", "tracking=none")
RELAY = ("env=pettingzoo", "env.module=support.relay_env", "tracking=none")
HOW = (
    "set env.demonstrator to cartpole, to the name of one that you register, or to the path of a "
    "checkpoint"
)


def settings(tmp_path: Path, *overrides: str) -> Settings:
    return compose_settings([*overrides, f"outputs={tmp_path}/outputs"])


def problems(*jobs: Settings) -> list[str]:
    with pytest.raises(UserError) as caught:
        preflight(jobs)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("overrides", "wanting", "other"),
    [
        (["strategy=bc"], "dataset=scripted", "dataset=manifest"),
        (["strategy=replay"], "dataset=scripted", "dataset=manifest"),
        (["strategy=bc", "dataset=rollout"], "dataset.policy", "dataset=manifest"),
        (["strategy=capture"], "strategy.policy", "strategy.policy=random"),
        (["strategy=evaluate"], "strategy.policy", "strategy.policy=random"),
    ],
)
def test_whoever_needs_a_demonstrator_is_told_how_to_set_one(
    tmp_path: Path, overrides: list[str], wanting: str, other: str
) -> None:
    assert problems(settings(tmp_path, *CARTPOLE, *overrides)) == [
        f"{wanting}: it is the demonstrator who plays, and CartPole-v1 has none; {HOW}; or use "
        f"{other}"
    ]
    preflight([settings(tmp_path, *CARTPOLE, *overrides, "env.demonstrator=cartpole")])


@pytest.mark.parametrize(
    "overrides",
    [
        ["strategy=ppo"],
        ["strategy=evaluate", "strategy.policy=random"],
        ["strategy=capture", "strategy.policy=random"],
        ["strategy=bc", "dataset=rollout", "dataset.policy=random"],
    ],
)
def test_whoever_needs_none_goes_on(tmp_path: Path, overrides: list[str]) -> None:
    preflight([settings(tmp_path, *CARTPOLE, *overrides)])


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("carpole", r"there is no 'carpole' .*did you mean cartpole\?"),
        ("pendulum", "pendulum plays 3 features and 1 box actions, CartPole-v1 has 4 and 2"),
        ("gone/final.safetensors", r"env\.demonstrator gone/final.safetensors: no such check"),
    ],
)
def test_a_demonstrator_that_cannot_play_is_refused(tmp_path: Path, named: str, said: str) -> None:
    (problem,) = problems(
        settings(tmp_path, *CARTPOLE, "strategy=ppo", f"env.demonstrator={named}")
    )
    assert re.search(said, problem), problem


def test_a_dataset_as_demonstrator_is_read_like_any_other(tmp_path: Path) -> None:
    named = f"env.demonstrator={tmp_path}/gone/manifest.json"
    job = settings(tmp_path, *CARTPOLE, "strategy=bc", named)
    assert problems(job) == [f"{tmp_path}/gone/manifest.json: no such manifest"]
    job = settings(tmp_path, *CARTPOLE, "strategy=evaluate", named)
    assert problems(job)[0].startswith("strategy.policy: it is the demonstrator who plays")


def test_only_the_town_has_social_rewards(tmp_path: Path) -> None:
    for social in ("c1", "staged"):
        job = settings(tmp_path, *CARTPOLE, "strategy=ppo", f"social_reward={social}")
        assert problems(job) == [
            "social_reward: only the town has social rewards; use social_reward=off"
        ]
    job = settings(
        tmp_path, *RELAY, "strategy=ppo", "evaluation.social_stage=C1", "social_reward.override=OFF"
    )
    assert problems(job) == [
        "evaluation.social_stage: only the town has social rewards; use OFF (got C1)"
    ]


def test_what_cannot_be_filmed_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = ("strategy=evaluate", "strategy.policy=random", "strategy.render=gif")
    preflight([settings(tmp_path, *RELAY, *film)])
    monkeypatch.setattr("support.relay_env.Relay.render", lambda self: 1 / 0)
    assert problems(settings(tmp_path, *RELAY, *film)) == [
        "strategy.render: pettingzoo/relay_env cannot draw itself (ZeroDivisionError: division "
        "by zero); set it to off"
    ]


def test_a_saved_config_names_files_absolutely_and_demonstrators_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def saved(named: str) -> str:
        config = settings(tmp_path, *CARTPOLE, f"env.demonstrator={named}").model_dump(mode="json")
        return with_absolute_paths(config)["env"]["demonstrator"]

    assert saved("cartpole") == "cartpole"
    assert saved("runs/final.safetensors") == f"{tmp_path}/runs/final.safetensors"
    assert saved("demos/manifest.json") == f"{tmp_path}/demos/manifest.json"
    town = settings(tmp_path).model_dump(mode="json")
    assert "demonstrator" not in with_absolute_paths(town)["env"]
