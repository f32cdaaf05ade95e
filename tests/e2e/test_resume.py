"""A run that is killed, stopped or refused by its disk goes on as if nothing had happened."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from journeyman.checkpoint import load_checkpoint
from journeyman.rerun import verify
from support.commands import TINY, journeyman, mlflow_client, run_folders
from support.killing import Moment, Processes

COMMAND = (
    *TINY,
    "anneal.stages.1.epochs=6",
    "checkpoint.every=2",
    "promotion.evaluations=2",
    "promotion.non_inferiority_margin=100",
    "tracking.flush_seconds=0.05",
)
"""The schedule, six updates of practice, with a promotion that plays both of its evaluations."""

KILLS = 20
MOST_RUNS = 8
"""Each is killed about five times."""


OFTEN = 2
"""So often at least a kill of each kind hits, among the 20."""


def drawn(rng: np.random.Generator) -> list[tuple[str, Moment]]:
    """Draws a moment of each kind, in the order a run comes to them; some kinds have several."""

    def call(last: int) -> int:
        return int(rng.integers(1, last + 1))

    def at(function: str, last: int = 1, *, first: int = 1, about: str = "") -> Moment:
        after = bool(rng.integers(2))
        return Moment(f"journeyman.{function}", first - 1 + call(last), after, about)

    def of_a_checkpoint(function: str) -> Moment:
        # The first is written after the first plays, then one every other epoch or update.
        return Moment(function, call(4), bool(rng.integers(2)), ".safetensors")

    # 60 ticks of capture, then 60 of each evaluation.
    played = "env.town.vector_env:TownVectorEnv.step"
    return [
        ("opening", at("tracking.mlflow_store:MlflowStore.open_run")),
        ("capture", at(played, 60)),
        ("evaluation", at(played, 120, first=61)),
        ("bc", at("strategies.bc:train_epoch", 3)),
        # Where the store is written to, and where the answer is waited for.
        ("tracking flush", at("tracking.mlflow_store:MlflowStore.log_points", 3)),
        ("tracking flush", at("tracking.remote_store:RemoteStore.log_points", 3)),
        # Written but not on the disk yet, or there and not in its place yet, or just so.
        ("checkpoint being written", of_a_checkpoint("os:fsync")),
        ("checkpoint being written", of_a_checkpoint("pathlib:Path.replace")),
        ("ppo", at("learning.optimizers:FlatOptimizer.step", 8, first=3)),
        ("evaluation", at("strategies.base:evaluate")),
        ("promotion", at("services.promotion_store:write_json")),
        ("end", at("session:RunSession.conclude")),
        ("closing", at("tracking.mlflow_store:MlflowStore.end_run", 2)),
    ]


def enough(kills: Counter[str]) -> bool:
    """Says whether there were as many kills as asked for, and of each kind that matters."""
    kinds = ("capture", "bc", "ppo", "evaluation", "checkpoint being written", "tracking flush")
    return kills.total() >= KILLS and all(kills[kind] >= OFTEN for kind in kinds)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def processes(work: Path) -> Iterator[Processes]:
    started = Processes(work)
    yield started
    started.close()


@pytest.fixture(scope="module")
def undisturbed(work: Path, processes: Processes) -> tuple[Path, float]:
    """The run that nobody disturbs: its folder, and the seconds it took."""
    folder, began = work / "outputs" / "undisturbed", time.monotonic()
    code, said = processes.run(*COMMAND, f"hydra.run.dir={folder}")
    assert code == 0, said
    return folder, time.monotonic() - began


def of_the_run(outputs: Path, folder: Path) -> tuple[Any, dict[str, Any]]:
    """Returns a run folder's run in MLflow, and its stages' by name."""
    client = mlflow_client(outputs)
    (experiment,) = [e for e in client.search_experiments() if e.name == "journeyman"]
    runs = client.search_runs([experiment.experiment_id])
    (job,) = [run for run in runs if run.data.tags.get("run_dir") == str(folder)]
    stages = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == job.info.run_id]
    assert len({stage.info.run_name for stage in stages}) == len(stages)
    return job, {stage.info.run_name: stage for stage in stages}


def curves(outputs: Path, folder: Path) -> dict[str, list[Any]]:
    """Returns what MLflow has of each curve: (step, value), of durations and rates the step."""
    client = mlflow_client(outputs)
    job, _ = of_the_run(outputs, folder)
    found = {}
    for key in job.data.metrics:
        points = client.get_metric_history(job.info.run_id, key)
        timed = key.startswith("time/") or key.endswith("_sec")
        found[key] = sorted(p.step if timed else (p.step, p.value) for p in points)
    return found


def require_same(outputs: Path, folder: Path, whole: Path) -> None:
    """Asserts that a run is in no way different from the undisturbed one."""
    assert verify(whole, folder) == []
    assert json.loads((folder / "status.json").read_text()) == {"status": "FINISHED"}
    assert curves(outputs, folder) == curves(outputs, whole)
    (job, stages), (other, others) = (of_the_run(outputs, each) for each in (folder, whole))
    assert stages.keys() == others.keys()
    for name, run in [("job", job), *stages.items()]:
        assert run.info.status == "FINISHED", name
        assert "error" not in run.data.tags
    for name, stage in stages.items():
        assert stage.data.metrics == others[name].data.metrics
    assert job.data.params.keys() == other.data.params.keys()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_20_random_moments(
    work: Path, processes: Processes, undisturbed: tuple[Path, float]
) -> None:
    """Runs are killed about five times each; all end as the undisturbed one did."""
    whole, duration = undisturbed
    rng = np.random.default_rng(20)
    kills: Counter[str] = Counter()
    queue: list[tuple[str, Moment]] = []
    number = 0
    while not enough(kills):
        assert number < MOST_RUNS, f"too few kinds were hit: {dict(kills)}"
        folder = work / "outputs" / f"killed-{number}"
        number += 1
        command: tuple[str, ...] = (*COMMAND, f"hydra.run.dir={folder}")
        for _ in range(5):
            if not queue:
                queue = drawn(rng)
            kind, moment = queue.pop(0)
            code, said = processes.run(*command, moment=moment)
            assert code in (0, -signal.SIGKILL), (kind, moment, said)
            if (folder / "config.yaml").exists():
                command = ("resume", str(folder))
            if code == 0:
                break
            kills[kind] += 1
        else:
            # Once more, from outside, at whatever it is doing then.
            seconds = float(rng.uniform(0.1, 0.9)) * duration
            code, said = processes.run(*command, killed_after=seconds)
            assert code in (0, -signal.SIGKILL), said
            kills["any time"] += code != 0
            if code != 0:
                code, said = processes.run("resume", str(folder))
                assert code == 0, said
        require_same(work / "outputs", folder, whole)
    assert len(kills) >= 9, kills
    print(dict(kills), f"{number} runs")


def begun(work: Path, *arguments: str) -> subprocess.Popen[str]:
    """Starts a process of its own that is not waited for."""
    return subprocess.Popen(
        [sys.executable, "-m", "journeyman", *arguments],
        cwd=work,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": ""},
    )


def wait_for(process: subprocess.Popen[str], folder: Path, pattern: str) -> None:
    deadline = time.monotonic() + 90
    while not list(folder.rglob(pattern)):
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


LONG_UPDATE = (
    "strategy.ppo.epochs=1000",
    "strategy.ppo.minibatch_size=4",
    "strategy.ppo.rollout_ticks=60",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "busy"),
    [
        (signal.SIGINT, 130, ("anneal.stages.1.epochs=100000",)),
        (signal.SIGTERM, 143, ("anneal.stages.1.epochs=100000",)),
        # One update of 120 minibatches x 1000 epochs.
        (signal.SIGTERM, 143, LONG_UPDATE),
    ],
)
def test_a_signal_ends_the_run_within_5_seconds(
    tmp_path: Path, number: int, code: int, busy: tuple[str, ...]
) -> None:
    process = begun(tmp_path, *TINY, *busy, "checkpoint.every=1000")
    wait_for(process, tmp_path, "00-bc.safetensors")
    time.sleep(2.0)
    sent = time.monotonic()
    for _ in range(4 if number == signal.SIGINT else 1):  # as of somebody in a hurry
        process.send_signal(number)
        time.sleep(0.05)
    _, said = process.communicate(timeout=30)
    took = time.monotonic() - sent
    assert process.returncode == code, said
    assert took < 5.0, f"{took:.1f} s"
    assert "Traceback" not in said
    (folder,) = run_folders(tmp_path / "outputs")
    assert json.loads((folder / "status.json").read_text()) == {"status": "KILLED"}
    job, stages = of_the_run(tmp_path / "outputs", folder)
    assert job.info.status == "KILLED"
    assert {name: stage.info.status for name, stage in stages.items()} == {
        "00-bc": "FINISHED",
        "01-ppo": "KILLED",
    }
    # No update that was made is lost, though none was due to be saved.
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    updates = [line for line in map(json.loads, lines) if line["group"] == "ppo"]
    latest = load_checkpoint(folder / "checkpoints" / "latest.safetensors")
    assert latest.state["counters"]["ppo_updates"] == len(updates)
    assert len(updates) < 1000


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bits(
    work: Path, undisturbed: tuple[Path, float]
) -> None:
    whole, _ = undisturbed
    folder = work / "outputs" / "stopped"
    process = begun(work, *COMMAND, f"hydra.run.dir={folder}")
    wait_for(process, folder, "latest.safetensors")
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 143
    done = journeyman("resume", str(folder), cwd=work)
    assert done.returncode == 0, done.stderr
    require_same(work / "outputs", folder, whole)


@pytest.mark.slow
def test_what_cannot_be_resumed_says_so(work: Path, undisturbed: tuple[Path, float]) -> None:
    whole, _ = undisturbed
    finished = journeyman("resume", str(whole), cwd=work)
    assert (finished.returncode, finished.stderr) == (
        2,
        f"journeyman: {whole}: the run is finished; journeyman rerun runs it again\n",
    )
    nothing = journeyman("resume", str(work), cwd=work)
    assert nothing.returncode == 2
    assert "Traceback" not in nothing.stderr
    again = journeyman(*COMMAND, f"hydra.run.dir={whole}", cwd=work)
    assert again.returncode == 2
    assert f"{whole}: holds a run already (FINISHED)" in again.stderr


@pytest.mark.slow
def test_two_processes_do_not_work_on_one_run(tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "held"
    endless = "anneal.stages.1.epochs=100000"
    process = begun(tmp_path, *TINY, endless, "tracking=none", f"hydra.run.dir={folder}")
    wait_for(process, folder, "latest.safetensors")
    other = journeyman("resume", str(folder), cwd=tmp_path)
    process.kill()
    process.communicate(timeout=30)
    assert (other.returncode, other.stderr) == (
        2,
        f"journeyman: {folder}: another process is at work on this run\n",
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 MB; only root may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(filler: Path, *, leaving: int = 0) -> None:
    """Takes all room there is but for ``leaving`` bytes, while others may take some too."""
    with filler.open("wb", buffering=0) as file:
        while True:
            room = os.statvfs(filler.parent)
            size = room.f_bavail * room.f_frsize - leaving
            if size <= 0:
                return
            with contextlib.suppress(OSError):
                file.write(b"\0" * size)


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_checkpoint_whole(small_disk: Path) -> None:
    """Nearly full from the start, so that the metrics of 200 updates do not fit; then mended."""
    command = (*TINY, "tracking=none", "promotion=off", "anneal.stages.1.epochs=200")
    outputs = small_disk / "outputs"
    whole, folder = outputs / "whole", outputs / "full"
    assert journeyman(*command, f"hydra.run.dir={whole}", cwd=small_disk).returncode == 0
    filler = small_disk / "filler"
    fill(filler, leaving=450_000)
    failed = journeyman(*command, f"hydra.run.dir={folder}", cwd=small_disk)
    assert failed.returncode == 1, failed.stderr
    (line,) = [line for line in failed.stderr.splitlines() if line.startswith("journeyman: ")]
    assert "cannot be written (No space left on device)" in line
    assert line.endswith(f"the last checkpoint is whole: journeyman resume {folder}")
    assert "Traceback" not in failed.stderr
    latest = load_checkpoint(folder / "checkpoints" / "latest.safetensors")
    assert "course" in latest.state
    filler.unlink()
    resumed = journeyman("resume", str(folder), cwd=small_disk)
    assert resumed.returncode == 0, resumed.stderr
    assert verify(whole, folder) == []


@pytest.mark.slow
def test_a_disk_that_fills_up_with_the_store_on_it(small_disk: Path) -> None:
    """Neither metrics nor the store nor its spool nor the log can be written any more."""
    command = (*TINY, "promotion=off", "anneal.stages.1.epochs=300")
    folder = small_disk / "outputs" / "full"
    process = begun(small_disk, *command, f"hydra.run.dir={folder}")
    wait_for(process, folder, "00-bc.safetensors")
    filler = small_disk / "filler"
    fill(filler)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    (line,) = [line for line in said.splitlines() if line.startswith("journeyman: ")]
    assert "No space left on device" in line
    assert line.endswith(f"the last checkpoint is whole: journeyman resume {folder}")
    assert "Traceback" not in said, said
    load_checkpoint(folder / "checkpoints" / "latest.safetensors")
    filler.unlink()
    resumed = journeyman("resume", str(folder), cwd=small_disk)
    assert resumed.returncode == 0, resumed.stderr
    job, stages = of_the_run(small_disk / "outputs", folder)
    statuses = [run.info.status for run in (job, *stages.values())]
    assert statuses == ["FINISHED"] * 3
    again = journeyman("rerun", str(folder), "--verify", cwd=small_disk)
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_a_read_only_folder_is_refused_in_one_line(small_disk: Path) -> None:
    command = (*TINY, "tracking=none", "promotion=off", "anneal.stages.1.epochs=100000")
    process = begun(small_disk, *command)
    wait_for(process, small_disk, "latest.safetensors")
    process.kill()
    process.communicate(timeout=30)
    (folder,) = run_folders(small_disk / "outputs")
    before = (folder / "checkpoints" / "latest.safetensors").read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for arguments in (("resume", str(folder)), command):
        done = journeyman(*arguments, cwd=small_disk)
        assert done.returncode == 2, done.stderr
        said = [line for line in done.stderr.splitlines() if line.startswith("journeyman: ")]
        assert len(said) == 1, done.stderr
        assert "outputs" in said[0]
        assert "Traceback" not in done.stderr
    assert (folder / "checkpoints" / "latest.safetensors").read_bytes() == before
