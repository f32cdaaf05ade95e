"""The command line as its user runs it, end to end on the smallest town."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from support.commands import TINY, journeyman, mlflow_client, run_folders, without_torch

UNTRACKED = (*TINY, "tracking=none", "promotion=off")


def results(folder: Path) -> Any:
    return json.loads((folder / "results.json").read_text())["result"]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs the default pipeline once, tracked; returns the working folder."""
    work = tmp_path_factory.mktemp("tracked")
    done = journeyman(*TINY, "seed=3", cwd=work)
    assert done.returncode == 0, done.stderr
    (work / "said.txt").write_text(done.stderr)
    return work


def test_the_default_run_leaves_a_whole_run_folder(tracked: Path) -> None:
    (folder,) = run_folders(tracked / "outputs")
    present = {path.name for path in folder.iterdir()}
    assert present >= {
        ".hydra",
        "config.yaml",
        "environment.json",
        "metrics.jsonl",
        "results.json",
        "anneal_results.json",
        "promotion.json",
        "checkpoints",
    }
    result = results(folder)
    assert [stage["name"] for stage in result["stages"]] == ["00-bc", "01-ppo"]
    assert result["untrained"]["seeds"] == result["final"]["seeds"]
    # The config leaves it to the environment; what was judged is written out.
    judged = json.loads((folder / "promotion.json").read_text())["last_result"]
    assert judged["max_rate_increase"] == {"faint": 0.5, "queue_conflict": 2.0}
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["torch"].startswith("2.13")


def test_the_table_says_what_happened_and_why(tracked: Path) -> None:
    said = (tracked / "said.txt").read_text()
    result = results(run_folders(tracked / "outputs")[0])
    for name in ("untrained", "demonstrator", "00-bc", "01-ppo", "final"):
        assert re.search(rf"^ {name} +.*-?\d+\.\d\d \[-?\d+\.\d\d, -?\d+\.\d\d\]", said, re.M), said
    assert f"run: {result['status']}: {result['reason']}" in said
    assert "promotion: " in said
    assert "return [95% interval]" in said
    # Its only ppo stage has no earlier one.
    assert "in no stage: loss is not applicable: no ppo stage was accepted before this one" in said
    assert all(len(line) <= 80 for line in said.splitlines() if line.startswith(" final"))


def test_the_runs_curves_stages_and_status_are_in_mlflow(tracked: Path) -> None:
    client = mlflow_client(tracked / "outputs")
    experiment = client.get_experiment_by_name("journeyman")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (job,) = [run for run in runs if run.data.tags["kind"] == "job"]
    stages = sorted(run.info.run_name for run in runs if run.data.tags["kind"] == "stage")
    assert stages == ["00-bc", "01-ppo"]
    assert job.info.status == "FINISHED"
    assert job.info.run_name.startswith("anneal=quick seed=3 scenario=kitchen_breakfast ")
    assert job.data.params["strategy.ppo.gamma"] == "0.995"
    for key in ("bc/loss", "ppo/clip_fraction", "eval/return_mean", "run/status", "guard/kl"):
        assert key in job.data.metrics, sorted(job.data.metrics)
    result = results(run_folders(tracked / "outputs")[0])
    assert job.data.tags["status"] == result["status"]
    assert job.data.metrics["eval/return_mean"] == pytest.approx(
        result["final"]["episode_return"]["mean"]
    )
    artifacts = {item.path for item in client.list_artifacts(job.info.run_id)}
    assert artifacts >= {"config.yaml", "results.json", "checkpoints"}
    stage_metrics = [run.data.metrics for run in runs if run.data.tags["kind"] == "stage"]
    assert all(len(metrics) < 30 for metrics in stage_metrics), "stage runs stay light"


def test_rerun_verify_finds_the_same_bits(tracked: Path) -> None:
    (folder,) = run_folders(tracked / "outputs")[:1]
    done = journeyman("rerun", str(folder), "--verify", cwd=tracked)
    assert done.returncode == 0, done.stderr
    assert "verified: every metric and the weights" in done.stdout


def test_rerun_verify_says_what_differs_first(tracked: Path) -> None:
    from journeyman.rerun import verify

    folder = run_folders(tracked / "outputs")[0]
    copy = tracked / "copy"
    copy.mkdir()
    for name in ("metrics.jsonl", "results.json", "environment.json"):
        (copy / name).write_bytes((folder / name).read_bytes())
    assert verify(folder, copy) == []
    lines = (copy / "metrics.jsonl").read_text().splitlines()
    number, line = next((n, line) for n, line in enumerate(lines) if '"group":"bc"' in line)
    changed = json.loads(line)
    changed["loss"] += 1e-12
    lines[number] = json.dumps(changed)
    (copy / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    environment = json.loads((copy / "environment.json").read_text())
    environment["torch_threads"] = 2
    (copy / "environment.json").write_text(json.dumps(environment))
    first, cause = verify(folder, copy)
    assert first.startswith(f"metrics.jsonl line {number + 1}, bc/loss at step 1: ")
    assert cause == "likely cause: torch_threads was 1, is 2"


def test_rerun_takes_overrides(tracked: Path) -> None:
    folder = run_folders(tracked / "outputs")[0]
    changes = ("seed=4", "tracking.experiment=again")
    done = journeyman("rerun", str(folder), "--verify", *changes, cwd=tracked)
    # It ran to its end; that it differs is said, and why first of all.
    assert done.returncode == 1, done.stderr
    said = done.stderr.splitlines()
    causes = [line for line in said if line.startswith("journeyman: likely cause: ")]
    assert causes[:2] == [f"journeyman: likely cause: {change} was given" for change in changes]
    assert any(line.startswith("journeyman: metrics.jsonl line ") for line in said)
    newest = run_folders(tracked / "outputs")[-1]
    assert json.loads((newest / "results.json").read_text())["seed"] == 4
    bad = journeyman("rerun", str(folder), "seeed=4", cwd=tracked)
    assert bad.returncode == 2
    assert "seeed" in bad.stderr


@pytest.mark.parametrize("strategy", ["bc", "ppo", "evaluate", "capture", "replay"])
def test_every_strategy_runs_from_the_command_line(tmp_path: Path, strategy: str) -> None:
    small = {
        "bc": ["dataset.worlds=4", "dataset.ticks=60", "strategy.epochs=2"],
        "ppo": ["strategy.worlds=4", "strategy.rollout_ticks=16", "strategy.updates=2"],
        "evaluate": ["strategy.policy=random"],
        "capture": ["strategy.worlds=2", "strategy.ticks=30"],
        "replay": ["dataset.worlds=4", "dataset.ticks=60"],
    }
    done = journeyman(
        f"strategy={strategy}",
        *small[strategy],
        "env.scenario=kitchen_breakfast",
        "env.episode_ticks=60",
        "evaluation.episodes=4",
        "promotion=off",
        "tracking=none",
        "policy=small",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (folder,) = run_folders(tmp_path / "outputs")
    assert results(folder)["mode" if strategy != "evaluate" else "policy"] in (
        f"{strategy}_run",
        strategy,
        "random",
    )
    again = journeyman("rerun", str(folder), "--verify", cwd=tmp_path)
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_what_a_capture_saved_can_be_imitated_and_its_policy_played(tmp_path: Path) -> None:
    world = ("env.scenario=kitchen_breakfast", "env.episode_ticks=60", "tracking=none")
    captured = journeyman(
        "strategy=capture", "strategy.worlds=4", "strategy.ticks=60", *world, cwd=tmp_path
    )
    assert captured.returncode == 0, captured.stderr
    (manifest,) = (tmp_path / "outputs").rglob("*_manifest.json")
    imitated = journeyman(
        "strategy=bc",
        "strategy.epochs=2",
        "dataset=manifest",
        f"dataset.manifest={manifest}",
        "evaluation.episodes=4",
        "promotion=off",
        *world,
        cwd=tmp_path,
    )
    assert imitated.returncode == 0, imitated.stderr
    (policy,) = (tmp_path / "outputs").rglob("final.safetensors")
    played = journeyman(
        "strategy=evaluate",
        f"strategy.policy={policy}",
        "evaluation.episodes=4",
        *world,
        cwd=tmp_path,
    )
    assert played.returncode == 0, played.stderr
    folders = {
        json.loads((f / "results.json").read_text())["strategy"]: f for f in run_folders(tmp_path)
    }
    imitation = results(folders["bc"])["final"]["episode_returns"]
    assert results(folders["evaluate"])["episode_returns"] == imitation


def test_torch_free_strategies_run_with_torch_blocked(tmp_path: Path) -> None:
    blocked = without_torch(tmp_path / "blocked")
    world = ("env.scenario=kitchen_breakfast", "env.episode_ticks=60", "tracking=none")
    for strategy in (
        ("strategy=capture", "strategy.worlds=2", "strategy.ticks=20"),
        ("strategy=replay", "dataset.worlds=2", "dataset.ticks=20"),
        ("strategy=evaluate", "evaluation.episodes=2"),
    ):
        done = journeyman(*strategy, *world, cwd=tmp_path, **blocked)
        assert done.returncode == 0, done.stderr


def test_a_sweep_runs_every_job_in_a_folder_of_its_own(tmp_path: Path) -> None:
    done = journeyman("--multirun", "seed=0,1", *UNTRACKED, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folders = run_folders(tmp_path / "outputs" / "multirun")
    assert sorted(folder.name for folder in folders) == ["0", "1"]
    digests = {results(folder)["weights_digest"] for folder in folders}
    assert len(digests) == 2


def test_a_failing_job_leaves_the_others_alone_and_exits_1(tmp_path: Path) -> None:
    """A value loss weighed 1e38 overflows float32 in one job; the second is whole."""
    jobs = ("strategy.ppo.value_coef=1e38,0.5", *UNTRACKED)
    done = journeyman("--multirun", *jobs, cwd=tmp_path)
    assert done.returncode == 1
    failed, whole = sorted(run_folders(tmp_path / "outputs"), key=lambda folder: folder.name)
    assert not (failed / "results.json").exists()
    assert results(whole)["stages"][-1]["name"] == "01-ppo"
    said = [line for line in done.stderr.splitlines() if line.startswith("journeyman: ")]
    assert "update 1: " in said[0]
    assert " is inf (dataset rollout, epoch 1, minibatch 1)" in said[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_killed(tmp_path: Path, number: int, code: int) -> None:
    long = ("anneal.stages.1.epochs=100000", "checkpoint.every=5")
    process = subprocess.Popen(
        [sys.executable, "-m", "journeyman", *TINY, *long],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": ""},
    )
    deadline = time.monotonic() + 90
    while not list(tmp_path.rglob("00-bc.safetensors")):
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1.0)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code, said
    assert "Traceback" not in said
    client = mlflow_client(tmp_path / "outputs")
    experiment = client.get_experiment_by_name("journeyman")
    assert experiment is not None
    statuses = {
        run.info.run_name: run.info.status for run in client.search_runs([experiment.experiment_id])
    }
    assert statuses.pop("00-bc") == "FINISHED"
    assert set(statuses.values()) == {"KILLED"}
    from journeyman.checkpoint import load_checkpoint

    (latest,) = tmp_path.rglob("latest.safetensors")
    # Whatever was due: it is saved where it was asked to stop.
    logged = (latest.parents[1] / "metrics.jsonl").read_text().count('"group":"ppo"')
    assert load_checkpoint(latest).state["counters"]["ppo_updates"] == logged


def test_help_names_the_groups_and_loads_nothing_heavy(tmp_path: Path) -> None:
    done = journeyman("--help", cwd=tmp_path)
    assert done.returncode == 0
    for group in ("strategy: anneal, bc", "dataset: ", "social_reward: ", "promotion: gate, off"):
        assert group in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_cfg_prints_the_composed_job(tmp_path: Path) -> None:
    done = journeyman("--cfg", "job", "seed=5", cwd=tmp_path)
    assert done.returncode == 0
    assert "seed: 5" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_tab_completion_completes_options(tmp_path: Path) -> None:
    done = journeyman(
        "-sc",
        "query=bash",
        cwd=tmp_path,
        COMP_LINE="journeyman strategy=an",
        COMP_POINT=str(len("journeyman strategy=an")),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["strategy=anneal"]


def test_no_torch_no_mlflow_for_help_or_mistakes(tmp_path: Path) -> None:
    for arguments in (["--help"], ["strategy.ppo.gamma=2"]):
        code = (
            "import sys\n"
            f"sys.argv = ['journeyman', *{arguments!r}]\n"
            "from journeyman.cli import run\n"
            "run(sys.argv[1:])\n"
            "heavy = {'torch', 'mlflow', 'numba', 'scipy', 'matplotlib'} & set(sys.modules)\n"
            "assert not heavy, heavy\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60
        )
        assert done.returncode == 0, done.stderr
