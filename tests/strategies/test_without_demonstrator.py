"""Runs in environments that have no demonstrator, and in some whose agents come and go."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from journeyman.composition import compose_settings
from journeyman.orchestrator import Orchestrator
from journeyman.reporting.summary import print_summary
from journeyman.results import TrainingSummary

RELAY = (
    "env=pettingzoo",
    "env.module=support.relay_env",
    "env.rebuild=false",
    "policy=small",
    "evaluation.episodes=16",
    "evaluation.bootstrap_resamples=100",
    "tracking=none",
)
PRACTICE = (
    "strategy=ppo",
    "strategy.updates=6",
    "strategy.worlds=16",
    "strategy.rollout_ticks=64",
    "strategy.minibatch_size=256",
    "strategy.learning_rate=0.01",
)


def run(tmp_path: Path, *overrides: str):
    settings = compose_settings([*RELAY, *overrides, f"outputs={tmp_path}/outputs"])
    return Orchestrator(settings, run_dir=tmp_path / "run").run()


def test_practice_has_no_demonstrated_baseline_and_chance_is_the_bar(tmp_path: Path) -> None:
    result = run(tmp_path, *PRACTICE, "env.kwargs={arrivals: [0, 2, 0], mask_in: info}")
    assert isinstance(result, TrainingSummary)
    assert result.demonstrator is None
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    baseline = [line for line in lines if "untrained_return_mean" in line]
    assert baseline
    assert not any("demonstrator_return_mean" in line for line in lines)
    state = json.loads((tmp_path / "run" / "promotion.json").read_text())
    assert state["last_result"]["paired"]["opponent"] == "random"
    assert state["history"][0]["opponent"] == "random"
    console = Console(record=True, width=120, file=io.StringIO())
    print_summary(result, console, confidence=0.95)
    shown = console.export_text()
    assert "against chance, for want of champion and demonstrator, on 16 fresh seeds" in shown
    # Named rightly, every number earns 1: 3 + 3 + 8 steps of three runners at most, 14 / 3; with
    # the mask open up to the number, chance earns (1 + 1/2 + 1/3) / 3 = 0.61 of that, 2.85.
    assert result.untrained.episode_return.mean < 3.2 < result.final.episode_return.mean
    assert result.final.episode_return.mean <= 14 / 3


def test_the_bar_is_a_tag_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from journeyman.tracking.null import NoTracker

    tags: dict[str, str] = {}
    monkeypatch.setattr(NoTracker, "tag", lambda self, given: tags.update(given))
    run(tmp_path, *PRACTICE, "strategy.updates=1")
    assert tags["promotion.bar"] == "random"


def test_a_parallel_environment_is_filmed(tmp_path: Path) -> None:
    film_all = ("strategy.render=gif", "strategy.render_every=1")
    run(tmp_path, "strategy=evaluate", "strategy.policy=random", *film_all)
    with Image.open(tmp_path / "run" / "evaluation.gif") as film:
        # Drawn at reset and after steps 1 to 7; the 8th ends the episode. 5 x 7 is made even.
        assert (film.n_frames, film.size) == (8, (8, 6))


def test_a_dataset_in_the_demonstrators_place_is_imitated(tmp_path: Path) -> None:
    capture = ("strategy=capture", "strategy.policy=random", "strategy.worlds=4")
    run(tmp_path / "captured", *capture, "strategy.ticks=40")
    (manifest,) = (tmp_path / "captured" / "run" / "capture").glob("*_manifest.json")
    result = run(
        tmp_path,
        "strategy=bc",
        "strategy.epochs=2",
        "promotion=off",
        f"env.demonstrator={manifest}",
    )
    assert result.demonstrator is None
    assert result.training.samples > 0
