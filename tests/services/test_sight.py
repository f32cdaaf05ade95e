"""A network that would not see what there is to be seen."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from journeyman.composition import compose_settings
from journeyman.context import TrainingContext
from journeyman.env.build import lane_spec
from journeyman.errors import UserError
from journeyman.preflight import preflight
from journeyman.seeding import SeedPlan
from journeyman.settings.root import Settings
from journeyman.strategies.training import untrained
from support.gym_envs import env_id

PICTURE = ("env=gymnasium", f"env.id={env_id('Picture')}", "env.vectorization=sync")
"""5 x 5 RGB and nothing else."""
MOTLEY = ("env=gymnasium", f"env.id={env_id('Motley')}", "env.vectorization=sync")
"""4 x 6 RGB beside 13 features."""


def settings(tmp_path: Path, *overrides: str) -> Settings:
    return compose_settings(
        [*overrides, "strategy=ppo", "tracking=none", f"outputs={tmp_path}/outputs"]
    )


def begun(job: Settings, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Initialises a policy as a run does, and returns what is warned of."""
    context = SimpleNamespace(settings=job, lane_spec=lane_spec(job.env), seeds=SeedPlan(0))
    with caplog.at_level(logging.WARNING):
        checkpoint = untrained(cast(TrainingContext, cast(Any, context)))
    assert checkpoint.part("policy")
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("policy", ["small", "features"])
def test_a_network_without_inputs_is_refused_before_the_run(
    tmp_path: Path, policy: str, caplog: pytest.LogCaptureFixture
) -> None:
    job = settings(tmp_path, *PICTURE, f"policy={policy}")
    with pytest.raises(UserError) as caught:
        preflight([job])
    assert list(caught.value.problems) == [
        "policy.map_encoder: none reads no picture, and journeyman-test/Picture-v0 shows nothing "
        "else (3 x 5 x 5); use policy=conv or policy=default"
    ]
    with pytest.raises(ValueError, match="shows no features, and its map is not read"):
        begun(job, caplog)


@pytest.mark.parametrize("policy", ["conv", "default"])
def test_a_network_that_reads_the_picture_goes_on(
    tmp_path: Path, policy: str, caplog: pytest.LogCaptureFixture
) -> None:
    job = settings(tmp_path, *PICTURE, f"policy={policy}")
    preflight([job])
    assert begun(job, caplog) == []


def test_who_trains_nothing_may_name_any_network(tmp_path: Path) -> None:
    job = compose_settings(
        [
            *PICTURE,
            "strategy=evaluate",
            "strategy.policy=random",
            "policy=small",
            "tracking=none",
            f"outputs={tmp_path}/outputs",
        ]
    )
    preflight([job])


def test_a_picture_left_out_is_said_in_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = settings(tmp_path, *MOTLEY, "policy=small")
    preflight([job])
    (said,) = begun(job, caplog)
    assert said == (
        "journeyman-test/Motley-v0: the policy sees its 13 features and not its picture "
        "(3 x 4 x 6), which policy=conv or policy=default reads"
    )


@pytest.mark.parametrize(
    "overrides",
    [
        (*MOTLEY, "policy=conv"),
        ("env=gymnasium", "env.id=CartPole-v1", "policy=small"),
        ("policy=features",),
    ],
    ids=["reads it", "there is none", "the town, whose features tell all"],
)
def test_nothing_is_said_where_nothing_is_missed(
    tmp_path: Path, overrides: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    job = settings(tmp_path, *overrides)
    preflight([job])
    assert begun(job, caplog) == []
