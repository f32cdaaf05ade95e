import pytest

from journeyman.composition import compose_settings
from journeyman.errors import UserError
from journeyman.preflight import preflight
from journeyman.services.imitation import imitation_problems
from support.action_envs import SPECS
from support.training import bc_settings

OPTIONS = bc_settings(label_smoothing=0.1, class_weighting="inverse_frequency")


def test_options_of_choices_mean_nothing_for_continuous_actions() -> None:
    smoothing, weighting = imitation_problems(OPTIONS, SPECS["box"])
    assert smoothing == (
        "label_smoothing: 0.1 spreads probability over choices, and test/answer_box has "
        "continuous actions; set it to 0"
    )
    assert weighting.startswith("class_weighting: inverse_frequency weighs choices")
    assert imitation_problems(bc_settings(), SPECS["box"]) == []


def test_choices_may_be_smoothed_and_weighed() -> None:
    assert imitation_problems(OPTIONS, SPECS["discrete"]) == []
    assert imitation_problems(OPTIONS, SPECS["multi_discrete"]) == []


@pytest.mark.parametrize("strategy", ["bc", "anneal"])
def test_a_run_is_refused_before_any_work(strategy: str) -> None:
    key = "strategy.label_smoothing" if strategy == "bc" else "strategy.bc.label_smoothing"
    world = ("env=gymnasium", "env.id=Pendulum-v1", "env.demonstrator=pendulum")
    settings = compose_settings([f"strategy={strategy}", *world, "tracking=none", f"{key}=0.1"])
    with pytest.raises(UserError, match=r"label_smoothing: 0.1 .* Pendulum-v1 has continuous"):
        preflight([settings])
