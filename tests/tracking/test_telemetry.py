"""Telemetry 1.2: every field of a PPO update, typed."""

import pytest

from journeyman.settings.metrics_log import JsonlSettings
from journeyman.tracking.jsonl import JsonlTracker, read_metrics
from journeyman.tracking.protocol import RunInfo, RunStatus
from journeyman.tracking.telemetry import PPOUpdateMetrics, validate_line

UPDATE = {
    "epoch": 4,
    "updates": 1,
    "transitions": 256,
    "steps": 256,
    "loss_policy": -0.01,
    "loss_value": 0.5,
    "loss_entropy": 1.2,
    "loss_total": 0.4,
    "clip_fraction": 0.1,
    "adv_mean": 0.0,
    "adv_std": 1.0,
    "grad_norm": 0.7,
    "kl_divergence": 0.01,
    "lr": 0.0003,
    "adv_zero_std_batches": 0,
    "adv_min_std": 0.2,
    "clip_triggered_minibatches": 3,
    "clip_fraction_max": 0.3,
    "epoch_duration_sec": 0.2,
    "data_mode": "rollout",
    "batch_entropy_mean": 1.1,
    "batch_entropy_std": 0.1,
    "grad_norm_max": 0.9,
    "kl_divergence_max": 0.02,
    "rollout_ticks": 32,
    "conflict.rivalry_max_mean_avg": 0.5,
    "anneal_bc_passed": True,
    "explained_variance": -0.5,
}
LINE = {
    "group": "ppo",
    "step": 256,
    "log_stream_offset": 0,
    "telemetry_version": "1.2",
    "time": "2030-01-01T00:00:00.000+00:00",
    **UPDATE,
}


def test_a_full_line_is_valid():
    validate_line(LINE)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"epoch": 4.0}, "epoch: Input should be a valid integer"),
        ({"updates": True}, "updates: Input should be a valid integer"),
        ({"anneal_bc_passed": 1}, "anneal_bc_passed: Input should be a valid boolean"),
        ({"clip_fraction": 1.1}, "clip_fraction: Input should be less than or equal to 1"),
        ({"loss_total": float("nan")}, "loss_total: Input should be a finite number"),
        ({"telemetry_version": "1.1"}, "telemetry_version: Input should be '1.2'"),
        ({"episode_return_mean": None}, "episode_return_mean: leave it out instead of null"),
        ({"los_total": 1.0}, "los_total: Extra inputs are not permitted"),
        ({"rivalry_max_mean_avg": 1.0}, "rivalry_max_mean_avg: Extra inputs"),
    ],
)
def test_a_wrong_type_bound_or_name_is_named(change, problem):
    with pytest.raises(ValueError, match=r"group 'ppo' at step 256: .*" + problem):
        validate_line({**LINE, **change})


@pytest.mark.parametrize(
    "name", ["loss_total", "adv_min_std", "log_stream_offset", "rollout_ticks"]
)
def test_a_missing_field_is_named(name):
    with pytest.raises(ValueError, match=f"{name}: Field required"):
        validate_line({key: value for key, value in LINE.items() if key != name})


def test_lines_of_other_groups_hold_finite_numbers_and_words():
    line = {"group": "eval", "step": 3, "log_stream_offset": 1, "policy": "trained", "x": 1}
    validate_line(line)
    for change in ({"x": float("inf")}, {"x": None}, {"step": 3.0}, {"group": ""}):
        with pytest.raises(ValueError):
            validate_line({**line, **change})


def test_the_writer_holds_to_the_schema(tmp_path):
    settings = JsonlSettings(log_frequency=1, max_log_entries=10, max_files=1)
    tracker = JsonlTracker(settings, tmp_path)
    tracker.start(RunInfo(experiment="e", name="n", run_dir=tmp_path))
    tracker.log("ppo", UPDATE, 256)
    with pytest.raises(ValueError, match="loss_total: Field required"):
        tracker.log("ppo", {key: UPDATE[key] for key in UPDATE if key != "loss_total"}, 512)
    tracker.finish(RunStatus.FINISHED)
    (line,) = read_metrics(tmp_path)
    validate_line(line)
    assert line["telemetry_version"] == "1.2"
    assert line["anneal_bc_passed"] is True
    assert {key: line[key] for key in UPDATE} == UPDATE


def test_the_names_are_those_of_the_metrics_reference():
    names = {field.alias or name for name, field in PPOUpdateMetrics.model_fields.items()}
    assert {
        f"conflict.{kind}_{how}_avg"
        for kind in ("rivalry_max", "rivalry_avoid_count")
        for how in ("mean", "max")
    } <= names
    assert {
        f"anneal_{kind}_{what}"
        for kind in ("loss", "queue", "intensity")
        for what in ("baseline", "flag")
    } <= names
    # Base, health, 1.1, of recorded play, 1.2 in and outside an anneal.
    assert len(names) == 15 + 4 + 27 + 2 + 17 + 6
