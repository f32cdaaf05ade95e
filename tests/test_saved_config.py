"""Configs that another version saved: what they lack is filled in, what is gone is said."""

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from journeyman.cli import run
from journeyman.composition import compose_settings
from journeyman.context import RunStopped
from journeyman.errors import UserError
from journeyman.inputs import with_absolute_paths
from journeyman.orchestrator import Orchestrator
from journeyman.rerun import rerun_run, verify
from journeyman.resume import resume_run
from journeyman.saved_config import saved_settings
from journeyman.settings.tracking import MlflowSettings
from support.cartpole import DEMONSTRATED
from support.commands import run_folders

CARTPOLE = (
    "strategy=ppo",
    "strategy.updates=2",
    "strategy.worlds=2",
    "strategy.rollout_ticks=32",
    *DEMONSTRATED,
    "tracking=none",
    "promotion=off",
)
LATER = ("profile", "checkpoint", "evaluation.confidence", "strategy.on_nan", "env.wrappers")
"""Keys of this version that an earlier one may have been without, all at their defaults."""


def saved(folder: Path, *overrides: str) -> Path:
    settings = compose_settings(list(overrides))
    folder.mkdir(parents=True)
    document = with_absolute_paths(settings.model_dump(mode="json"))
    (folder / "config.yaml").write_text(yaml.safe_dump(document))
    return folder


def edit(folder: Path, *, without: tuple[str, ...] = (), **added: Any) -> None:
    """Makes a saved config that of a version without some keys, and with others."""
    path = folder / "config.yaml"
    document = yaml.safe_load(path.read_text())
    for key in without:
        *sections, name = key.split(".")
        node = document
        for section in sections:
            node = node[section]
        del node[name]
    for section, keys in added.items():
        document[section] |= keys
    path.write_text(yaml.safe_dump(document))


def test_a_run_of_an_earlier_version_elsewhere_has_the_same_bits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = compose_settings([*CARTPOLE, f"outputs={tmp_path}/outputs"])
    first = tmp_path / "outputs" / "first"
    Orchestrator(settings, run_dir=first).run()
    moved = tmp_path / "another machine" / "run"
    moved.parent.mkdir()
    first.rename(moved)
    edit(moved, without=LATER)
    with caplog.at_level(logging.WARNING):
        again = rerun_run(moved)
    assert verify(moved, again) == []
    (line,) = [r.getMessage() for r in caplog.records if "defaults" in r.getMessage()]
    assert line == (
        f"{moved}/config.yaml has no checkpoint={{...}}, env.wrappers=[], "
        "evaluation.confidence=0.95, profile=False, strategy.on_nan=raise; "
        "this version's defaults are taken"
    )
    # The new folder says in full what was run.
    assert "confidence: 0.95" in (again / "config.yaml").read_text()


def test_an_earlier_versions_run_is_resumed(tmp_path: Path) -> None:
    settings = compose_settings([*CARTPOLE, f"outputs={tmp_path}/outputs"])
    Orchestrator(settings, run_dir=tmp_path / "whole").run()
    with pytest.raises(RunStopped):
        Orchestrator(settings, run_dir=tmp_path / "stopped", asked_to_stop=lambda: 15).run()
    edit(tmp_path / "stopped", without=LATER)
    resume_run(tmp_path / "stopped")
    assert verify(tmp_path / "whole", tmp_path / "stopped") == []


def test_defaults_are_those_of_the_options_that_were_chosen(tmp_path: Path) -> None:
    # The default strategy, environment and dataset have none of these keys.
    folder = saved(tmp_path / "run", *CARTPOLE, "dataset=rollout", "promotion=gate")
    edit(
        folder,
        without=("strategy.gamma", "env.vectorization", "dataset.policy", "promotion.episodes"),
    )
    settings = saved_settings(folder)
    assert settings.strategy.gamma == compose_settings(["strategy=ppo"]).strategy.gamma  # type: ignore[union-attr]
    assert settings.env.vectorization == "auto"  # type: ignore[union-attr]
    assert settings.dataset.policy == "demonstrator"  # type: ignore[union-attr]
    # It is as many as evaluation.episodes, which the config has: 3.
    assert settings.promotion.episodes == 3  # type: ignore[union-attr]


def test_what_may_be_absent_stays_so(tmp_path: Path) -> None:
    """Only what the schema asks for is filled in: a map of the user's own is left alone."""
    chosen = ("promotion.max_rate_increase={faint: 1.0}", "anneal=linear")
    folder = saved(tmp_path / "run", *chosen)
    edit(folder, without=("seed",))
    settings = saved_settings(folder)
    assert settings.promotion.max_rate_increase == {"faint": 1.0}  # type: ignore[union-attr]
    assert settings == compose_settings(list(chosen)).model_copy(
        update={"outputs": settings.outputs}
    )


def test_what_has_no_default_is_asked_for(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run", *CARTPOLE)
    edit(folder, without=("env.id",))
    with pytest.raises(UserError, match=r"^env\.id: missing$"):
        saved_settings(folder)
    assert saved_settings(folder, ["+env.id=CartPole-v1"]).env.id == "CartPole-v1"  # type: ignore[union-attr]


def test_a_key_that_is_gone_is_refused_unless_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = saved(tmp_path / "run", *CARTPOLE)
    edit(folder, evaluation={"antithetic": True}, strategy={"momentum": {"beta": 0.5}})
    assert run(["rerun", str(folder)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"journeyman: {folder}/config.yaml: this version has no {key} (saved as {value}); "
        f"to run without it: journeyman rerun {folder} '~{key}'"
        for key, value in (("strategy.momentum", "{...}"), ("evaluation.antithetic", "True"))
    ]
    assert run(["resume", str(folder)]) == 2
    assert "this version has no evaluation.antithetic" in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()
    left_out = ["~evaluation.antithetic", "~strategy.momentum"]
    assert run(["rerun", str(folder), *left_out]) == 0
    assert len(run_folders(tmp_path / "outputs")) == 1
    with pytest.raises(UserError, match=r"~evaluation\.antithetik: the saved config has no such"):
        saved_settings(folder, ["~evaluation.antithetik"])


def test_a_typing_error_is_no_new_key(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run", *CARTPOLE)
    with pytest.raises(UserError, match=r"seeed: unknown key \(did you mean seed\?\)"):
        saved_settings(folder, ["seeed=4"])
    with pytest.raises(UserError, match=r"seed: an override is key=value, or ~key"):
        saved_settings(folder, ["seed"])
    with pytest.raises(UserError) as refused:
        saved_settings(folder, ["strategy.update=1", "strategy.label_smoothing=0.1"])
    assert refused.value.problems == (
        "strategy.update: unknown key (did you mean strategy.updates?)",
        "strategy.label_smoothing: a key of strategy=bc, the run has strategy=ppo",
    )


def test_overrides_are_read_as_those_of_a_first_run(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run", *(word for word in CARTPOLE if word != "tracking=none"))
    words = [
        "evaluation.social_stage=OFF",
        "tracking.experiment=2026-01-01",
        "tracking.run_name=1:30",
        "env.id=yes",
        "strategy.on_nan='rollback'",
        "+env.kwargs={gravity: 1.5}",
    ]
    settings = saved_settings(folder, words)
    assert settings.evaluation.social_stage == "OFF"
    tracking = settings.tracking
    assert isinstance(tracking, MlflowSettings)
    assert (tracking.experiment, tracking.run_name) == ("2026-01-01", "1:30")
    assert settings.env.id == "yes"  # type: ignore[union-attr]
    assert settings.strategy.on_nan == "rollback"  # type: ignore[union-attr]
    assert settings.env.kwargs == {"gravity": 1.5}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=1,2", "seed=1,2: several values; one run is run again, so give one value"),
        ("seed=range(3)", r"seed=range\(3\): several values"),
        ("seed=[1", r"seed=\[1: "),
        (
            "strategy=bc",
            "strategy=bc: a saved run keeps the options of its config groups; only single keys "
            r"can be changed, such as strategy\.\w+=\.\.\.$",
        ),
        ("tracking=none", "tracking=none: a saved run keeps the options of its config groups"),
        ("experiment=quickstart", "experiment=quickstart: a saved run keeps the options"),
    ],
)
def test_an_override_that_no_saved_run_can_have(tmp_path: Path, override: str, said: str) -> None:
    folder = saved(tmp_path / "run", *CARTPOLE)
    with pytest.raises(UserError, match=f"^{said}"):
        saved_settings(folder, [override])


def test_what_is_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nosuch: no such folder$"):
        saved_settings(tmp_path / "nosuch")
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(UserError, match="the folder of a sweep; name one of its jobs' folders"):
        saved_settings(tmp_path)


def test_a_relative_store_is_saved_as_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a run that is resumed from another folder would have a second store."""
    monkeypatch.chdir(tmp_path)
    settings = compose_settings(["tracking.uri=sqlite:///runs/rel.db"])
    document = with_absolute_paths(settings.model_dump(mode="json"))
    assert document["tracking"]["uri"] == f"sqlite:///{tmp_path}/runs/rel.db"
    server = compose_settings(["tracking.uri=http://host:5000"])
    assert with_absolute_paths(server.model_dump(mode="json"))["tracking"]["uri"] == (
        "http://host:5000"
    )
