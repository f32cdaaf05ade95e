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
