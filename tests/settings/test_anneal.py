"""Schedules that make no sense are refused, and say which stage is wrong."""

import pytest

from journeyman.composition import compose_settings
from journeyman.errors import UserError

BC = "{cycle: 0, mode: bc, epochs: 2, bc_weight: 1.0}"


def refusal(*stages: str) -> str:
    with pytest.raises(UserError) as raised:
        compose_settings([f"anneal.stages=[{', '.join(stages)}]"])
    return "\n".join(raised.value.problems)


def ppo(rest: str, cycle: int = 1) -> str:
    return f"{{cycle: {cycle}, mode: ppo, epochs: 4, {rest}}}"


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (ppo("bc_weight: 1.5"), "bc_weight must lie in [0, 1], got 1.5"),
        (ppo("bc_weight: -0.5"), "bc_weight"),
        (ppo("bc_weight: {start: 1.0, end: 1.2}"), "bc_weight must lie in [0, 1], got 1 -> 1.2"),
        (ppo("kl_weight: 101.0"), "kl_weight must lie in [0, 100], got 101"),
        (ppo("kl_weight: -1.0"), "kl_weight"),
        (ppo("guide: {kind: blend, ratio: 1.1}"), "guide.ratio must lie in [0, 1], got 1.1"),
        (ppo("guide: {kind: blend}"), "guide: kind=blend with ratio 0"),
        (ppo("guide: {ratio: 0.5}"), "guide: kind=none with ratio 0.5"),
        (ppo("guide: {kind: teacher, ratio: 0.5}"), "guide"),
        (ppo("critic_warmup: 5"), "critic_warmup 5 is longer than the stage's 4 updates"),
        (ppo("clip: 0.0"), "clip must start above 0"),
        (ppo("learning_rate: 11.0"), "learning_rate must start above 0 and stay within 10"),
    ],
)
def test_a_senseless_stage_is_refused_by_name(stage: str, said: str) -> None:
    message = refusal(BC, stage)
    assert "anneal.stages.1" in message
    assert said in message


@pytest.mark.parametrize(
    "key", ["critic_warmup: 1", "entropy_coef: 0.1", "clip: 0.1", "target_kl: 0.1"]
)
def test_imitation_takes_no_key_of_practice(key: str) -> None:
    message = refusal(f"{{cycle: 0, mode: bc, epochs: 2, bc_weight: 1.0, {key}}}")
    assert f"{key.partition(':')[0]} belongs to ppo stages, this one is mode=bc" in message


@pytest.mark.parametrize("key", ["kl_weight: 0.5", "guide: {kind: blend, ratio: 0.5}"])
def test_imitation_has_no_guide_and_no_prior(key: str) -> None:
    message = refusal(f"{{cycle: 0, mode: bc, epochs: 2, bc_weight: 1.0, {key}}}")
    assert "guide and kl_weight belong to ppo stages" in message


def test_a_prior_is_learned_before_it_is_kept_to() -> None:
    message = refusal(
        ppo("kl_weight: 0.5", cycle=3), "{cycle: 4, mode: bc, epochs: 2, bc_weight: 1}"
    )
    assert "stage 0 (cycle 3): kl_weight needs a prior, but no bc stage comes before it" in message


def test_cycles_do_not_repeat() -> None:
    said = "stage 1 (cycle 0): cycles must ascend without repeats, got [0, 0]"
    assert said in refusal(BC, BC)
