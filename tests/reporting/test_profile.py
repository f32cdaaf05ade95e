"""``profile``: what is kept and shown of where a run's time went."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from journeyman.composition import compose_settings
from journeyman.errors import UserError
from journeyman.orchestrator import Orchestrator
from journeyman.reporting.profile import profile_document, profile_table
from journeyman.tracking.jsonl import read_metrics

SHARES = {"update": (6.0, 75.0), "env": (1.0, 12.5), "other": (1.0, 12.5)}
SMALL = (
    "env.scenario=kitchen_breakfast",
    "env.episode_ticks=60",
    "dataset.worlds=4",
    "dataset.ticks=60",
    "evaluation.episodes=4",
    "policy=small",
    "promotion=off",
    "tracking=none",
)
PRACTICE = ("strategy=ppo", "strategy.updates=3", "strategy.worlds=4", "strategy.rollout_ticks=8")


def test_the_document_and_the_table_hold_every_part() -> None:
    document = profile_document(SHARES)
    assert document["wall_seconds"] == 8.0
    assert document["parts"]["update"] == {"seconds": 6.0, "percent": 75.0}
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(profile_table(SHARES))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["where", "8.0", "s", "went"] in lines
    assert ["update", "6.00", "75.0"] in lines
    assert ["other", "1.00", "12.5"] in lines


def test_a_run_of_ppo_is_split_traced_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = compose_settings((*SMALL, *PRACTICE, "profile=trace"))
    Orchestrator(settings, run_dir=tmp_path, show=True).run()
    document = json.loads((tmp_path / "profile.json").read_text())
    parts = document["parts"]
    assert {"env", "act", "advantages", "update", "evaluate", "tracking", "other"} <= parts.keys()
    assert sum(part["percent"] for part in parts.values()) == pytest.approx(100.0)
    assert sum(part["seconds"] for part in parts.values()) == pytest.approx(
        document["wall_seconds"]
    )
    (line,) = [line for line in read_metrics(tmp_path) if line["group"] == "profile"]
    for name, part in parts.items():
        assert line[f"{name}_percent"] == part["percent"]
    assert json.loads((tmp_path / "profile" / "trace.json").read_text())["traceEvents"]
    assert "s went" in capsys.readouterr().err


def test_imitation_is_split_into_data_update_and_evaluation(tmp_path: Path) -> None:
    imitation = ("strategy=bc", "strategy.epochs=2", "profile=true")
    Orchestrator(compose_settings((*SMALL, *imitation)), run_dir=tmp_path).run()
    parts = json.loads((tmp_path / "profile.json").read_text())["parts"]
    assert all(parts[name]["seconds"] > 0.0 for name in ("data", "update", "evaluate"))
    assert "env" not in parts
    assert not (tmp_path / "profile").exists()


def test_nothing_is_kept_unless_asked_for(tmp_path: Path) -> None:
    Orchestrator(compose_settings((*SMALL, *PRACTICE)), run_dir=tmp_path).run()
    assert not (tmp_path / "profile.json").exists()
    assert all(line["group"] != "profile" for line in read_metrics(tmp_path))


def test_what_has_no_updates_cannot_be_traced() -> None:
    with pytest.raises(UserError, match=r"profile: trace records .* strategy=bc has none"):
        compose_settings((*SMALL, "strategy=bc", "profile=trace"))
    with pytest.raises(UserError, match="profile: "):
        compose_settings((*SMALL, "profile=sometimes"))
