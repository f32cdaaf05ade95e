"""The facade for Python users: each method does its work and returns its typed result."""

import json
from pathlib import Path

import numpy as np
import pytest

from journeyman.checkpoint import load_checkpoint
from journeyman.composition import compose_settings
from journeyman.errors import TrainingError, UserError
from journeyman.orchestrator import Orchestrator
from journeyman.preflight import preflight
from journeyman.results import AnnealSummary, TrainingSummary
from journeyman.session import run_name
from journeyman.settings.root import Settings
from support.commands import TINY, mlflow_client
from support.trajectories import reads_of, write_manifest


def settings(tmp_path: Path, *more: str) -> Settings:
    quiet = ("tracking=none", "promotion=off", f"outputs={tmp_path}/outputs")
    return compose_settings([*TINY, *quiet, *more])


def test_run_and_run_anneal_are_the_schedule(tmp_path: Path) -> None:
    summary = Orchestrator(settings(tmp_path), run_dir=tmp_path / "run").run_anneal()
    assert isinstance(summary, AnnealSummary)
    document = json.loads((tmp_path / "run" / "results.json").read_text())
    assert document["result"] == summary.model_dump(mode="json")
    again = Orchestrator(settings(tmp_path)).run()
    assert isinstance(again, AnnealSummary)
    assert again.weights_digest == summary.weights_digest


def test_a_plan_is_not_trained_by_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="plan: true draws the schedule and trains nothing"):
        Orchestrator(settings(tmp_path, "plan=true")).run()
    assert not (tmp_path / "outputs").exists()


def test_practice_from_imitation_asks_for_no_demonstrations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Orchestrator(settings(tmp_path), run_dir=tmp_path / "bc").run_bc()
    start = load_checkpoint(tmp_path / "bc" / "checkpoints" / "final.safetensors")
    stages = "anneal.stages=[{cycle: 0, mode: ppo, epochs: 1, critic_warmup: 0}]"
    orchestrator = Orchestrator(settings(tmp_path, stages))
    monkeypatch.setattr(orchestrator, "_demonstrations", lambda context: pytest.fail("asked"))
    summary = orchestrator.run_anneal(start=start)
    assert summary.stages[0].diagnosis.states == 0


def test_practice_can_start_from_what_imitation_left(tmp_path: Path) -> None:
    orchestrator = Orchestrator(settings(tmp_path), run_dir=tmp_path / "bc")
    imitated = orchestrator.run_bc()
    assert isinstance(imitated, TrainingSummary)
    start = load_checkpoint(tmp_path / "bc" / "checkpoints" / "final.safetensors")
    assert start.digest("policy") == imitated.weights_digest
    practised = Orchestrator(settings(tmp_path)).run_rollout_ppo(ticks=8, updates=1, start=start)
    assert practised.training.mode == "ppo"
    assert practised.untrained.episode_returns == imitated.final.episode_returns
    assert practised.weights_digest != imitated.weights_digest


def test_the_seed_matters_also_from_a_given_start(tmp_path: Path) -> None:
    Orchestrator(settings(tmp_path), run_dir=tmp_path / "first").run()
    start = load_checkpoint(tmp_path / "first" / "checkpoints" / "final.safetensors")
    digests = {
        Orchestrator(settings(tmp_path, f"seed={seed}", "strategy.ppo.updates=1"))
        .run_ppo(start=start)
        .weights_digest
        for seed in (1, 2)
    }
    assert len(digests) == 2


def test_run_ppo_starts_from_an_untrained_policy(tmp_path: Path) -> None:
    small = settings(tmp_path, "strategy.ppo.updates=1")
    summary = Orchestrator(small).run_ppo()
    assert summary.untrained.policy == "untrained"
    assert summary.training.mode == "ppo"
    assert summary.training.updates == 1


def test_a_captured_rollout_is_saved_and_replayed(tmp_path: Path) -> None:
    orchestrator = Orchestrator(settings(tmp_path))
    captured = orchestrator.capture_rollout(ticks=20, worlds=2, save_to=tmp_path / "capture")
    assert captured.samples == 20 * captured.lanes
    assert captured.manifest is not None
    replaying = Orchestrator(
        settings(tmp_path).model_copy(
            update={
                "dataset": compose_settings(
                    ["dataset=manifest", f"dataset.manifest={captured.manifest}"]
                ).dataset
            }
        )
    )
    summary = replaying.run_replay_dataset()
    assert summary.transitions == captured.samples
    assert summary.manifest == captured.manifest
    batch = replaying.run_replay_batch(0)
    assert batch["batch_size"] == captured.lanes
    sample = next((tmp_path / "capture").glob("*.npz"))
    assert replaying.run_replay(sample).transitions == 20
    assert len(replaying.build_replay_dataset()) == 1
    with pytest.raises(UserError, match="ticks"):
        orchestrator.capture_rollout(ticks=0)
    with pytest.raises(UserError, match="worlds"):
        orchestrator.capture_rollout(ticks=5, worlds=0)


def test_a_manifest_is_read_once_from_the_check_to_the_end_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_manifest(tmp_path, 2)
    read = reads_of(monkeypatch)
    replaying = compose_settings(
        [
            "strategy=replay",
            "dataset=manifest",
            f"dataset.manifest={manifest}",
            "tracking=none",
            f"outputs={tmp_path}/outputs",
        ]
    )
    preflight([replaying])  # the command line checks first, then the orchestrator, then it runs
    Orchestrator(replaying).run()
    assert read == ["s0.npz", "s1.npz"]


def test_the_random_policy_is_warned_about(tmp_path: Path) -> None:
    captured = Orchestrator(settings(tmp_path)).capture_rollout(ticks=5, policy="random")
    assert any("random" in warning for warning in captured.warnings)
    assert captured.manifest is None


def test_the_policy_network_acts_within_the_mask(tmp_path: Path) -> None:
    orchestrator = Orchestrator(settings(tmp_path))
    policy = orchestrator.build_policy_network()
    from journeyman.env.build import make_env

    env = make_env(orchestrator.settings.env, num_worlds=2)
    obs, _ = env.reset(seed=0)
    step = policy.act(obs, np.random.default_rng(0))
    lanes = np.arange(env.num_envs)
    assert obs["action_mask"][lanes, step.actions].all()
    assert np.isfinite(step.values).all()


def test_the_anneal_ratio_is_readable_and_settable(tmp_path: Path) -> None:
    orchestrator = Orchestrator(settings(tmp_path))
    assert orchestrator.current_anneal_ratio == 0.0
    orchestrator.set_anneal_ratio(0.3)
    assert orchestrator.current_anneal_ratio == 0.3
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        orchestrator.set_anneal_ratio(1.5)
    orchestrator.run_anneal()
    # The last update of the quick schedule has weight 0: the pin held only until a stage began.
    assert orchestrator.current_anneal_ratio == 0.0


def test_a_method_without_its_settings_says_so(tmp_path: Path) -> None:
    only_capture = Orchestrator(compose_settings(["strategy=capture", "tracking=none"]))
    for method in (only_capture.run_bc, only_capture.run_ppo, only_capture.run_anneal):
        with pytest.raises(UserError, match=r"strategy=capture|have capture"):
            method()


def test_a_failed_run_writes_no_results_and_keeps_its_config(tmp_path: Path) -> None:
    broken = settings(tmp_path, "strategy.ppo.value_coef=1e38")
    with pytest.raises(TrainingError, match="is inf"):
        Orchestrator(broken, run_dir=tmp_path / "run").run()
    present = {path.name for path in (tmp_path / "run").iterdir()}
    assert "results.json" not in present
    assert {"config.yaml", "environment.json", "metrics.jsonl", "checkpoints"} <= present


def test_a_failed_run_is_failed_in_mlflow_and_says_why(tmp_path: Path) -> None:
    tracked = compose_settings(
        [*TINY, f"outputs={tmp_path}/outputs", "promotion=off", "strategy.ppo.value_coef=1e38"]
    )
    with pytest.raises(TrainingError):
        Orchestrator(tracked).run()
    client = mlflow_client(tmp_path / "outputs")
    experiment = client.get_experiment_by_name("journeyman")
    runs = client.search_runs([experiment.experiment_id])
    status = {run.info.run_name.split()[0]: run.info.status for run in runs}
    assert status == {"anneal=quick": "FAILED", "00-bc": "FINISHED", "01-ppo": "FAILED"}
    (job,) = [run for run in runs if run.data.tags["kind"] == "job"]
    assert job.data.tags["error"].startswith("NotFiniteError: update 1: grad_norm is inf")
    assert job.data.metrics["bc/loss"] > 0.0


def test_a_checkpoint_knows_where_the_metrics_log_stood(tmp_path: Path) -> None:
    Orchestrator(settings(tmp_path), run_dir=tmp_path / "run").run()
    stages = [
        load_checkpoint(tmp_path / "run" / "checkpoints" / f"{name}.safetensors")
        for name in ("00-bc", "01-ppo", "final")
    ]
    offsets = [stage.state["tracker"]["log_stream_offset"] for stage in stages]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert 0 < offsets[0] < offsets[1] <= offsets[2] <= len(lines)
    assert json.loads(lines[offsets[0] - 1])["group"] == "eval"


def test_a_run_is_named_by_what_varies() -> None:
    plain = compose_settings(["seed=7"])
    overrides = ["strategy.ppo.clip=0.1", "seed=7", "tracking.experiment=x", "+env.grid=9"]
    assert run_name(plain, overrides) == "anneal=cosine seed=7 clip=0.1 grid=9"
    long = [f"strategy.ppo.clip=0.{'1' * 200}"]
    assert len(run_name(plain, long)) == 100
    assert run_name(plain, long).startswith("anneal=cosine seed=7 clip=0.1")
