"""docs/metrics.md has every metric that runs emit, and none that they do not."""

import re
from pathlib import Path
from typing import Any

import pytest

from journeyman.composition import compose_settings
from journeyman.env.town.names import ACTION_NAMES, EVENT_NAMES, TERM_NAMES
from journeyman.orchestrator import Orchestrator
from journeyman.reporting.metrics_reference import (
    COMMAND,
    FULLER,
    READING,
    telemetry_names,
    with_telemetry,
)
from journeyman.tracking.jsonl import read_metrics
from support.commands import TINY, journeyman, run_folders

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
TOWN = ("env.scenario=kitchen_breakfast", "env.episode_ticks=60", "tracking=none", "seed=1")
GUARDRAILS = (
    *("bc_accuracy", "loss", "kl", "grad_norm", "entropy"),
    *("queue_events", "queue_intensity", "episode_return"),
)
PLACEHOLDERS = {
    "<event>": EVENT_NAMES,
    "<action>": ACTION_NAMES,
    "<term>": TERM_NAMES,
    "<name>": GUARDRAILS,
}
OF_CONTINUOUS_ACTIONS = (
    "mean_absolute_error",
    "val_mean_absolute_error",
    "val_explained_variance",
)
COMPARES = ("loss", "queue_events", "queue_intensity", "episode_return")


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Returns the metrics of a tiny schedule with two practice stages, a capture, a replay."""
    practice = "{cycle: %d, mode: ppo, epochs: 4, bc_weight: %s, critic_warmup: 1%s}"
    led = ", kl_weight: 0.1, guide: {kind: blend, ratio: 0.1}"
    stages = (
        "{cycle: 0, mode: bc, epochs: 2, bc_weight: 1.0}",
        practice % (1, "{start: 0.5, end: 0.0}", ""),
        practice % (2, "0.0", led),
    )
    # Nothing may trip: only what is accepted becomes a baseline.
    limits = (
        *("health.max_kl=9", "health.max_grad_norm=99", "episode_return.margin=99"),
        *("loss.tolerance=99", "queue_events.tolerance=999", "queue_intensity.tolerance=999"),
    )
    easy = [f"anneal.guardrails.{limit}" for limit in limits]
    schedule = (*TINY, f"anneal.stages=[{', '.join(stages)}]", *easy)
    work = tmp_path_factory.mktemp("runs")
    busy = ("env.agents=8", "env.episode_ticks=30", "tracking=none")
    done = journeyman(*schedule, *busy, cwd=work)
    assert done.returncode == 0, done.stderr
    folders = run_folders(work / "outputs")
    for strategy in (("capture", "strategy.policy=random"), ("replay", "dataset.policy=random")):
        arguments = (f"strategy={strategy[0]}", "dataset=rollout", strategy[1], *TOWN)
        folders.append(work / strategy[0])
        Orchestrator(compose_settings(arguments), run_dir=folders[-1]).run()
    return [line for folder in folders for line in read_metrics(folder)]


@pytest.fixture(scope="module")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Returns the metrics of practice on recorded play beside fresh, its time measured."""
    practice = ("strategy=ppo", "strategy.updates=1", "strategy.data_mode=mixed")
    small = ("strategy.worlds=4", "strategy.rollout_ticks=8", "evaluation.episodes=4")
    recorded = ("dataset=rollout", "dataset.policy=random", "dataset.worlds=4", "dataset.ticks=60")
    folder = tmp_path_factory.mktemp("mixed")
    quiet = ("promotion=off", "profile=true")
    settings = compose_settings((*practice, *small, *recorded, *quiet, *TOWN))
    Orchestrator(settings, run_dir=folder).run()
    return read_metrics(folder)


def emitted(lines: list[dict[str, Any]]) -> set[str]:
    envelope = {"group", "step", "time", "log_stream_offset"}
    names = {f"{line['group']}/{name}" for line in lines for name in line.keys() - envelope}
    return names | {"ppo/log_stream_offset"}  # of the envelope, and of telemetry


def documented() -> set[str]:
    """Returns every name in a table's first column, placeholders filled in."""
    names = set(re.findall(r"^\| `([a-z]+/[^`]+)` \|", DOCUMENT.read_text(), re.M))
    for placeholder, words in PLACEHOLDERS.items():
        for name in [one for one in names if placeholder in one]:
            names.remove(name)
            names |= {name.replace(placeholder, word) for word in words}
    return names


def test_every_emitted_metric_is_documented(
    lines: list[dict[str, Any]], remembered: list[dict[str, Any]]
) -> None:
    assert emitted(lines + remembered) - documented() == set()


def test_every_documented_metric_is_emitted(
    lines: list[dict[str, Any]], remembered: list[dict[str, Any]]
) -> None:
    lines = lines + remembered
    conditional = {f"bc/{name}" for name in OF_CONTINUOUS_ACTIONS}
    conditional |= {f"guard/{name}_delta" for name in GUARDRAILS if name not in COMPARES}
    # In MLflow alone; tests/tracking/test_system.py compares them.
    conditional |= {name for name in documented() if name.startswith("system/")}
    assert documented() - emitted(lines) - conditional == set()


def test_the_generated_part_is_up_to_date() -> None:
    text = DOCUMENT.read_text()
    assert text == with_telemetry(text), f"docs/metrics.md is out of date; run: {COMMAND}"


def test_every_field_has_a_unit_and_says_which_way_is_good() -> None:
    assert READING.keys() == set(telemetry_names())
    assert set(telemetry_names()) >= FULLER.keys()
    assert all(len(reading.split(" | ")) == 2 for reading in READING.values())


def test_a_text_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        with_telemetry("# Metrics reference\n")


def test_events_and_terms_of_the_town_each_have_a_row() -> None:
    text = DOCUMENT.read_text()
    events = text.partition("## Events of the town")[2].partition("\n## ")[0]
    terms = text.partition("## Reward terms of the town")[2]
    assert tuple(re.findall(r"^\| `(\w+)` \|", events, re.M)) == EVENT_NAMES
    assert tuple(re.findall(r"^\| `(\w+)` \|", terms, re.M)) == TERM_NAMES


def test_what_is_said_of_durations_and_sums_holds(lines: list[dict[str, Any]]) -> None:
    by_step: dict[int, dict[str, dict[str, Any]]] = {}
    for line in lines:
        by_step.setdefault(line["step"], {})[line["group"]] = line
    updates = [groups for groups in by_step.values() if "ppo" in groups]
    assert len(updates) == 8
    for groups in updates:
        ppo, times = groups["ppo"], groups["time"]
        whole = times["collect_sec"] + times["update_sec"]
        assert ppo["epoch_duration_sec"] == pytest.approx(whole)
        assert ppo["env_steps_per_sec"] == pytest.approx(ppo["transitions"] / whole)
        guided = ppo.get("anneal_guide_ratio", 0.0) > 0.0
        same = ppo["loss_entropy"] == pytest.approx(-ppo["batch_entropy_mean"])
        assert same is not guided
        if groups["optimisation"]["critic_only"]:
            assert abs(ppo["kl_divergence"]) < 1e-6
            assert ppo["clip_fraction"] == 0.0
            assert "loss_bc" not in ppo
    for line in lines:
        if line["group"] == "eval":
            terms = sum(value for name, value in line.items() if name.startswith("reward/"))
            assert terms == pytest.approx(line["return_mean"], abs=1e-5)
