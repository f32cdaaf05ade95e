"""A bad config is said in one line a problem, all of them at once."""

import pytest

from journeyman.composition import check_jobs, compose_settings, settings_from
from journeyman.config_folder import parse_command_line
from journeyman.errors import UserError


def problems(*overrides: str) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        compose_settings(overrides)
    return caught.value.problems


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("strategy=bcc", "strategy: no such option (got bcc; allowed anneal, bc, capture"),
        ("strategy=bcc", "did you mean bc?"),
        ("strategy.ppo.gama=1", "unknown key (did you mean strategy.ppo.gamma?)"),
        ("sede=3", "sede: unknown key (did you mean seed?)"),
        ("render=gif", "render: unknown key"),
        ("gamma=0.9", "gamma: unknown key (did you mean strategy.ppo.gamma?)"),
        (
            "env.objects.sofa=1",
            "env.objects.sofa: unknown key (allowed fridge, stove, shower, bed)",
        ),
        (
            "+env.objects.sofa=1",
            "env.objects.sofa: unknown key (allowed fridge, stove, shower, bed)",
        ),
        (
            "env.objects.beds=1",
            "(allowed fridge, stove, shower, bed; did you mean env.objects.bed?)",
        ),
        ("+strategy.ppo.gama=1", "strategy.ppo.gama: unknown key (did you mean gamma?)"),
        ("seed=-1", "seed: must be greater than or equal to 0 (got -1)"),
        ("strategy.ppo.gamma=1.5", "must be less than or equal to 1 (got 1.5)"),
        ("evaluation.bootstrap_resamples=150.5", "fractional part (got 150.5)"),
        ("env.scenario=hood", "env.scenario: must be 'neighbourhood', 'kitchen_breakfast'"),
        ("anneal.stages=[]", "anneal.stages: must have at least 1 item(s), got 0"),
        ("dataset=manifest", "dataset.manifest: has no value yet"),
        ("runtime.device=gpu", "runtime.device: string should match pattern"),
        ("strategy.ppo.clip=abc", "strategy.ppo.clip: must be a valid number"),
        ("strategy.ppo.learning_rate={start: -1, end: 1}", "strategy.ppo.learning_rate.start"),
        ("anneal.stages=[{cycle: 1, mode: bc, epochs: 1, bc_weight: 2}]", "bc_weight must lie"),
        ("anneal.stages=[{cycle: 0, mode: bc, epochs: 1, bc_weight: 0}]", "learns nothing"),
        ("strategy.ppo.entropy_coef=-5", "strategy.ppo.entropy_coef: must be greater than or"),
        ("strategy.ppo.clip={start: 0.1, end: 99}", "clip must start above 0 and stay within 10"),
        ("policy.hidden_sizes=[0]", "policy.hidden_sizes.0: must be greater than or equal to 1"),
        ("outputs='~/x'", "outputs: ~ is not expanded"),
        ("=3", "=3: an override is key=value"),
        ("seed=${oc.env:NO_SUCH_VARIABLE}", "NO_SUCH_VARIABLE"),
        ("strategy.ppo.gamma=nan", "strategy.ppo.gamma: must be a finite number"),
    ],
)
def test_each_problem_is_one_clear_line(override: str, expected: str) -> None:
    said = problems(override)
    assert len(said) == 1
    assert expected in said[0]
    assert "\n" not in said[0]


def test_a_key_without_its_section_is_known_by_its_end() -> None:
    assert problems("strategy=evaluate", "render=gif") == (
        "render: unknown key (did you mean strategy.render?)",
    )
    (said,) = problems("social_stage=C1")  # all that end so are named
    assert said.startswith("social_stage: unknown key (did you mean evaluation.social_stage")


def test_long_keys_are_not_alike_for_the_sections_they_share() -> None:
    assert problems("strategy.ppo.zzz=1") == ("strategy.ppo.zzz: unknown key",)


def test_repeated_cycles_name_the_stage() -> None:
    stage = "{cycle: 0, mode: bc, epochs: 1, bc_weight: 1.0}"
    (said,) = problems(f"anneal.stages=[{stage},{stage}]")
    assert said.startswith(
        "anneal: stage 1 (cycle 0): cycles must ascend without repeats, got [0, 0]"
    )


def test_all_problems_are_said_at_once() -> None:
    said = problems("sede=1", "strategy.ppo.gama=1", "strategy.ppo.gae_lambda=2", "tracking=mlfow")
    assert [line.split(":")[0] for line in sorted(said)] == [
        "sede",
        "strategy.ppo.gae_lambda",
        "strategy.ppo.gama",
        "tracking",
    ]


def test_a_missing_value_hides_no_other_problem() -> None:
    said = problems("dataset=manifest", "seed=-1")
    assert [line.split(":")[0] for line in said] == ["dataset.manifest", "seed"]


def test_a_glob_sweep_is_expanded_as_hydra_does() -> None:
    arguments = parse_command_line(["--multirun", "social_reward=glob(c*)"])
    assert arguments is not None
    jobs = check_jobs(arguments)
    assert [job.social_reward.stage_at(0) for job in jobs] == ["C1", "C2", "C3"]


@pytest.mark.parametrize("sweep", ["seed=range(0,", "seed=interval(0,1)"])
def test_a_sweep_that_is_none_is_one_line(sweep: str) -> None:
    arguments = parse_command_line(["--multirun", sweep])
    assert arguments is not None
    with pytest.raises(UserError) as caught:
        check_jobs(arguments)
    assert len(caught.value.problems) == 1
    assert "\n" not in caught.value.problems[0]


def test_an_unknown_flag_is_a_problem() -> None:
    with pytest.raises(UserError, match="--verbos: unknown option"):
        parse_command_line(["--verbos"])


def test_a_sweep_is_validated_job_by_job_before_the_first_runs() -> None:
    arguments = parse_command_line(["--multirun", "strategy=bc,ppo", "seed=range(0,3)"])
    assert arguments is not None
    jobs = check_jobs(arguments)
    assert [(job.strategy.kind, job.seed) for job in jobs] == [
        (kind, seed) for kind in ("bc", "ppo") for seed in range(3)
    ]
    bad = parse_command_line(["--multirun", "seed=1,2,-5"])
    assert bad is not None
    with pytest.raises(UserError, match="got -5"):
        check_jobs(bad)


def test_what_only_asks_composes_nothing() -> None:
    for flags in (["--help"], ["--cfg", "job"], ["-sc", "query=bash"], ["--info", "config"]):
        assert parse_command_line(flags) is None


def test_settings_are_frozen_and_strict_about_plain_mappings() -> None:
    settings = compose_settings([])
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 5  # type: ignore[misc]
    with pytest.raises(UserError, match="extra: unknown key"):
        settings_from({**settings.model_dump(), "extra": 1})


def test_the_social_reward_override_is_a_key() -> None:
    settings = compose_settings(["social_reward=staged", "social_reward.override=C2"])
    assert settings.social_reward.stage_at(0) == "C2"


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            ["env=gymnasium", "env.id=CartPole-v1", "env.scenario=crowd"],
            "env.scenario: a key of env=town, the run has env=gymnasium",
        ),
        (["env.id=CartPole-v1"], "env.id: a key of env=gymnasium, the run has env=town"),
        (
            ["env.vectorisation=sync", "env=gymnasium", "env.id=CartPole-v1"],
            "env.vectorisation: unknown key (did you mean env.vectorization?)",
        ),
    ],
)
def test_a_key_of_another_option_is_said_to_be_one(overrides: list[str], problem: str) -> None:
    with pytest.raises(UserError) as caught:
        compose_settings(overrides)
    assert caught.value.problems == (problem,)
