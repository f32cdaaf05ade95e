"""Options of a sweep stand before or after its overrides."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hydra._internal.utils import get_args_parser

from journeyman.config_folder import parse_command_line
from journeyman.sweeps import driver
from journeyman.sweeps.planning import plan_sweep
from journeyman.tracking.sweep import SweepRun


@pytest.mark.parametrize(
    "argv",
    [
        ["--multirun", "seed=0,1", "tracking=none"],
        ["seed=0,1", "tracking=none", "--multirun"],
        ["seed=0,1", "tracking=none", "-m", "--config-name", "config"],
        ["--config-name", "config", "-m", "seed=0,1", "tracking=none"],
    ],
)
def test_what_jobs_are_told_stands_with_the_overrides(argv: list[str], tmp_path: Path) -> None:
    arguments = parse_command_line(argv)
    assert arguments is not None
    plan = replace(plan_sweep(argv, arguments), sweep_dir=tmp_path, dies_with_driver=True)
    parsed = get_args_parser().parse_args(driver._hydra_command_line(plan, None))
    assert parsed.multirun
    assert parsed.overrides[:2] == ["seed=0,1", "tracking=none"]
    assert parsed.overrides[2] == f"hydra.sweep.dir='{tmp_path}'"
    assert parsed.overrides[3].startswith("+hydra.job.env_set.")
    assert parsed.config_name in (None, "config")


def test_jobs_are_told_of_a_store_that_they_would_not_choose(tmp_path: Path) -> None:
    argv = ["--multirun", "seed=0,1"]
    arguments = parse_command_line(argv)
    assert arguments is not None
    plan = replace(plan_sweep(argv, arguments), sweep_dir=tmp_path)
    for uri, told in (("sqlite:////a b/m.db", True), (None, False)):
        parent = cast(SweepRun, SimpleNamespace(run_id="1", uri_for_jobs=uri))
        line = driver._hydra_command_line(plan, parent)
        assert (f"+hydra.job.env_set.MLFLOW_TRACKING_URI='{uri}'" in line) is told
