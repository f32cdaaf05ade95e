"""The picture of a schedule says what the schedule does."""

import io

import pytest
from rich.console import Console

from journeyman.cli import run
from journeyman.composition import compose_settings
from journeyman.reporting.plan import Curve, axis, draw, print_plan, weight_curves
from journeyman.settings.anneal import StageSettings


def stages(*raw: dict[str, object]) -> tuple[StageSettings, ...]:
    return tuple(
        StageSettings.model_validate({"cycle": number, **stage}) for number, stage in enumerate(raw)
    )


BC = {"mode": "bc", "epochs": 5, "bc_weight": 1.0}


def test_a_weight_is_drawn_against_updates_and_imitation_takes_no_room() -> None:
    # 4 updates from 1 to 0 (1, 2/3, 1/3, 0), then 4 at 0; 8 columns are one an update
    practice = {"mode": "ppo", "epochs": 4, "bc_weight": {"start": 1.0, "end": 0.0}}
    rest = {"mode": "ppo", "epochs": 4}
    (curve,) = weight_curves(stages(BC, practice, rest), columns=8)
    assert curve.name == "bc_weight"
    assert curve.values == pytest.approx((1.0, 2 / 3, 1 / 3, 0.0, 0.0, 0.0, 0.0, 0.0))


def test_every_mechanism_that_is_used_has_a_curve() -> None:
    used = {
        "mode": "ppo",
        "epochs": 4,
        "bc_weight": 0.5,
        "kl_weight": 2.0,
        "guide": {"kind": "blend", "ratio": 0.3},
        "critic_warmup": 1,
    }
    curves = {curve.name: curve.values for curve in weight_curves(stages(BC, used), columns=4)}
    assert curves == {
        "bc_weight": (0.5, 0.5, 0.5, 0.5),
        "kl_weight": (2.0, 2.0, 2.0, 2.0),
        "guide.ratio": (0.3, 0.3, 0.3, 0.3),
        "critic_warmup": (1.0, 0.0, 0.0, 0.0),
    }


def test_a_stage_that_says_nothing_of_its_warmup_has_the_strategys() -> None:
    (curve,) = weight_curves(stages({"mode": "ppo", "epochs": 4}), default_warmup=2, columns=4)
    assert curve == Curve("critic_warmup", (1.0, 1.0, 0.0, 0.0))


def test_heights_are_eighths_of_a_row() -> None:
    # scale 2.0 on two rows of eight levels: 2.0 -> 16, 1.25 -> 10, 0.125 -> 1, 0 -> none
    lines = draw(Curve("kl_weight", (2.0, 1.25, 0.125, 0.0)), rows=2)
    assert lines == ["kl_weight", "     2 |█▂", "       |██▁"]


def test_the_axis_marks_where_ppo_stages_begin() -> None:
    marked, ends = axis(
        stages(BC, {"mode": "ppo", "epochs": 3}, {"mode": "ppo", "epochs": 1}), 1000, columns=40
    )
    assert marked[8:].index("^01-ppo") == 0
    assert marked[8:].index("^02-ppo") == 30  # three quarters of 40
    assert ends.strip().startswith("0")
    assert ends.endswith("1,000 env steps")


def test_the_table_counts_the_steps_of_all_agents() -> None:
    settings = compose_settings(["anneal=linear"])
    written = io.StringIO()
    print_plan(settings, Console(file=written, width=100), lanes_per_world=8)
    # 24 updates of 64 worlds x 64 ticks x 8 agents, twice
    assert "786,432" in written.getvalue()
    assert "1,572,864" in written.getvalue()


def test_only_a_schedule_has_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan=true", "strategy=ppo", "tracking=none"]) == 2
    assert "plan: only strategy=anneal has one, got ppo" in capsys.readouterr().err


def test_a_plan_trains_and_writes_nothing(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    outputs = tmp_path / "outputs"
    assert run(["plan=true", "anneal=linear", "tracking=none", f"outputs={outputs}"]) == 0
    assert "bc_weight" in capsys.readouterr().out
    assert not outputs.exists()
