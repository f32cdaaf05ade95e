"""A real MLflow server is killed, slow, wrong or silent: what it holds in the end is the run's."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from journeyman.settings.tracking import MlflowSettings
from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.protocol import RunInfo, RunStatus
from support.commands import journeyman
from support.outages import QUICK, MlflowServer, Proxy, Run, logged, served, stored

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MlflowServer, Proxy]]:
    with served(tmp_path_factory.mktemp("server")) as both:
        yield both


@pytest.fixture
def server(behind: tuple[MlflowServer, Proxy]) -> MlflowServer:
    return behind[0]


@pytest.fixture
def proxy(behind: tuple[MlflowServer, Proxy]) -> Iterator[Proxy]:
    yield behind[1]
    behind[1].fail("pass")


@pytest.fixture
def begin(tmp_path: Path, proxy: Proxy) -> Iterator[Callable[..., Run]]:
    begun: list[Run] = []

    def start(*arguments: str) -> Run:
        begun.append(Run(tmp_path, proxy, *arguments))
        return begun[-1]

    yield start
    for run in begun:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def runs_of(client: Any, experiment: str, kind: str) -> list[Any]:
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id], f"tags.kind = '{kind}'"))


def artifacts_of(server: MlflowServer, run: Any) -> set[str]:
    """Returns the names of a run's files where the server keeps them."""
    place = server.folder / "artifacts" / run.info.experiment_id / run.info.run_id / "artifacts"
    return {path.name for path in place.iterdir()}


def assert_same(client: Any, run_dir: Path, status: str = "FINISHED") -> None:
    """Each number of the run folder's log is in the store once, and nothing else is.

    Of durations the times only: a resumed run measures others than the killed one, whose may be
    in the store already.
    """
    run_id = json.loads((run_dir / "tracking.json").read_text())["run_id"]
    in_folder, in_store = logged(run_dir), stored(client, run_id)
    assert len(in_folder) > 20
    assert in_store.keys() == in_folder.keys()
    for key, points in in_folder.items():
        if key.startswith("time/") or key.endswith("_sec"):
            assert [step for step, _ in in_store[key]] == [step for step, _ in points], key
        else:
            assert in_store[key] == points, key
    assert client.get_run(run_id).info.status == status


def test_a_run_goes_through_every_kind_of_outage(
    server: MlflowServer, proxy: Proxy, begin: Callable[..., Run]
) -> None:
    """500, refused, answers lost after the server took them, too slow, killed and brought back."""
    run = begin("strategy.updates=900")
    run.reaches(20)
    proxy.fail("drop", only="log-batch", times=3)
    run.reaches(20)
    proxy.fail("error")
    run.reaches(150)
    proxy.fail("refuse")
    run.reaches(150)
    proxy.fail("pass")
    server.kill()
    run.reaches(150)
    assert (run.folder / "tracking_spool.jsonl").is_file()
    server.start()
    proxy.fail("slow", seconds=6.0, times=2)  # longer than the client waits
    said = run.ends()
    assert "Retrying" not in said
    assert "Traceback" not in said
    assert "does not take metrics" in said
    client = server.client()
    proxy.fail("pass")
    if (run.folder / "tracking_spool.jsonl").exists():
        done = journeyman("sync", cwd=run.cwd, timeout=300, **QUICK)
        assert done.returncode == 0, done.stderr
    assert_same(client, run.folder)
    (job,) = runs_of(client, run.experiment, "job")
    assert {"config.yaml", "results.json"} <= artifacts_of(server, job)


def kill_in_outage(run: Run, proxy: Proxy, outage: str, *, lines: int) -> None:
    """Kills a run whose log has grown by this many lines since the server went away."""
    run.reaches(40)
    proxy.fail(outage)
    run.reaches(lines)
    run.process.kill()
    run.process.wait()


def test_killed_in_an_outage_then_resumed_in_it(
    server: MlflowServer, proxy: Proxy, begin: Callable[..., Run]
) -> None:
    """The killed process's spool, a resumed start without a server, and the end after it."""
    run = begin("strategy.updates=400", "checkpoint.every=10")
    kill_in_outage(run, proxy, "error", lines=150)
    spool = run.folder / "tracking_spool.jsonl"
    assert spool.is_file(), "written in the outage, not at the run's end"
    client = server.client()
    done = journeyman("sync", cwd=run.cwd, timeout=300, **QUICK)
    assert done.returncode == 1
    assert f"{run.folder}" in done.stderr
    done = journeyman("resume", str(run.folder), cwd=run.cwd, timeout=300, **QUICK)
    assert done.returncode == 0, done.stderr
    assert "journeyman sync" in done.stderr
    assert (run.folder / "results.json").is_file()
    (job,) = runs_of(client, run.experiment, "job")
    assert job.info.status == "RUNNING", "the store knows nothing of it yet"
    proxy.fail("drop", only="log-batch", times=1)
    done = journeyman("sync", cwd=run.cwd, timeout=300, **QUICK)
    assert done.returncode == 0, done.stderr
    assert not spool.exists()
    assert_same(client, run.folder)
    assert len(runs_of(client, run.experiment, "job")) == 1


def test_sync_delivers_what_a_killed_run_spooled(
    server: MlflowServer, proxy: Proxy, begin: Callable[..., Run]
) -> None:
    """What is in the store is a part of the run's log; a resumed run brings the rest."""
    run = begin("strategy.updates=100000", "checkpoint.every=10")
    kill_in_outage(run, proxy, "refuse", lines=200)
    proxy.fail("pass")
    done = journeyman("sync", cwd=run.cwd, timeout=300, **QUICK)
    assert done.returncode == 0, done.stderr
    assert "operations delivered" in done.stdout
    client = server.client()
    (job,) = runs_of(client, run.experiment, "job")
    in_folder, in_store = logged(run.folder), stored(client, job.info.run_id)
    for key, points in in_store.items():
        assert len(points) == len(set(points)), key
        assert set(points) <= set(in_folder[key]), key
    lost = sum(len(points) - len(in_store.get(key, [])) for key, points in in_folder.items())
    assert lost <= 60, f"{lost} numbers: at most a line or two were under way to the spool"


def test_a_lost_answer_leaves_no_second_run(
    server: MlflowServer, proxy: Proxy, begin: Callable[..., Run]
) -> None:
    proxy.fail("drop", only="runs/create", times=1)
    run = begin("strategy.updates=3")
    run.ends()
    client = server.client()
    (job,) = runs_of(client, run.experiment, "job")
    assert job.info.status == "FINISHED"
    assert_same(client, run.folder)


def test_a_start_that_fails_halfway_is_failed_everywhere(
    server: MlflowServer, proxy: Proxy, begin: Callable[..., Run]
) -> None:
    """The run is created, its params are not taken: one line, and nothing stays RUNNING."""
    proxy.fail("error", only="log-batch")
    run = begin("strategy.updates=3")
    said = run.ends(code=2)
    assert said.count("journeyman: the MLflow store") == 1
    assert "Traceback" not in said
    (status,) = run.outputs.rglob("status.json")
    assert json.loads(status.read_text())["status"] == "FAILED"
    client = server.client()
    (job,) = runs_of(client, run.experiment, "job")
    assert job.info.status == "FAILED"
    identity = json.loads((status.parent / "tracking.json").read_text())
    assert identity["run_id"] == job.info.run_id


def test_a_single_run_is_refused_at_once_while_the_server_is_away(
    proxy: Proxy, begin: Callable[..., Run]
) -> None:
    proxy.fail("refuse")
    run = begin("strategy.updates=3")
    said = run.ends(code=2)
    assert len(said.splitlines()) == 1
    assert f"the MLflow server {proxy.uri} (from tracking.uri) gave no answer" in said
    assert not run.outputs.exists()


def test_a_sweep_whose_server_goes_away_ends_and_is_synced(
    server: MlflowServer, proxy: Proxy, begin: Callable[..., Run]
) -> None:
    """The second job begins in the outage, and the sweep ends in it."""
    run = begin("--multirun", "launch=local", "seed=0,1", "strategy.updates=60")
    run.reaches(20)
    proxy.fail("error")
    run.ends()
    (sweep,) = (run.outputs / "multirun").glob("*/*")
    record = json.loads((sweep / "sweep.json").read_text())
    assert [job["status"] for job in record["jobs"]] == ["done", "done"]
    assert not (sweep / "1" / "tracking.json").exists(), "its run is not in the store yet"
    client = server.client()
    (parent,) = runs_of(client, run.experiment, "sweep")
    assert parent.info.status == "RUNNING"
    proxy.fail("pass")
    # A spool for a store that is no more: named, and it hinders no other.
    lost = run.outputs / "2000-01-01" / "lost"
    lost.mkdir(parents=True)
    head = {"tracking_uri": "http://127.0.0.1:9", "experiment": "x", "outputs": str(run.outputs)}
    (lost / "tracking_spool.jsonl").write_text(
        json.dumps(head)
        + '\n{"operation": "SetTags", "run": "a", "run_id": "b", "tags": {"a": "b"}}\n'
    )
    done = journeyman("sync", cwd=run.cwd, timeout=300, **QUICK)
    assert done.returncode == 1
    assert f"{lost}: the MLflow server http://127.0.0.1:9" in done.stderr
    assert "1 of 4 folders left" in done.stderr
    assert list(run.outputs.rglob("tracking_spool.jsonl")) == [lost / "tracking_spool.jsonl"]
    (parent,) = runs_of(client, run.experiment, "sweep")
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["sweep/done"] == 2.0
    assert {"report.html", "sweep.json"} <= artifacts_of(server, parent)
    jobs = runs_of(client, run.experiment, "job")
    assert sorted(job.data.tags["sweep.job"] for job in jobs) == ["0", "1"]
    for job in jobs:
        assert job.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert job.data.tags["sweep.status"] == "done"
        assert_same(client, sweep / job.data.tags["sweep.job"])


def test_a_run_that_was_deleted_in_the_store_goes_on(
    server: MlflowServer, proxy: Proxy, begin: Callable[..., Run]
) -> None:
    run = begin("strategy.updates=300")
    run.reaches(20)
    client = server.client()
    (job,) = runs_of(client, run.experiment, "job")
    client.delete_run(job.info.run_id)
    said = run.ends()
    assert "refuses step" in said
    assert "must be in the 'active' state" in said
    assert (run.folder / "results.json").is_file()
    assert not (run.folder / "tracking_spool.jsonl").exists()
    refused = (run.folder / "tracking_refused.jsonl").read_text().splitlines()
    assert any(json.loads(line)["operation"] == "Points" for line in refused)


def test_training_waits_for_no_answer(
    server: MlflowServer, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a server that takes calls and does not answer: what training calls costs it nothing."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "4")
    settings = MlflowSettings(
        kind="mlflow",
        uri=proxy.uri,
        experiment="waiting",
        run_name=None,
        flush_seconds=0.1,
        flush_metrics=100,
        system_metrics=False,
        system_metrics_seconds=10.0,
    )
    tracker = MlflowTracker(settings, outputs=tmp_path, finish_patience_seconds=1.0)
    file = tmp_path / "config.yaml"
    file.write_text("seed: 0\n")
    tracker.start(RunInfo(experiment="waiting", name="a", run_dir=tmp_path / "run"))
    proxy.fail("slow", seconds=60.0)
    times = []
    for step in range(2000):
        began = time.perf_counter()
        tracker.log("ppo", {f"m{index}": float(step) for index in range(20)}, step)
        times.append(time.perf_counter() - began)
        if step % 100 == 0:
            with tracker.stage(f"{step:04}-ppo", {"updates": 1}) as stage:
                stage.figures({"return_mean": 1.0})
            tracker.position  # noqa: B018 as a checkpoint asks for it
            time.sleep(0.05)
    times.sort()
    assert times[len(times) // 2] < 200e-6
    assert sum(times) < 2.0
    began = time.perf_counter()
    for _ in range(5):
        tracker.artifact(file)
    # Once for all of them, however many: five seconds, and none as soon as one call has failed.
    assert time.perf_counter() - began < 7.0
    began = time.perf_counter()
    tracker.finish(RunStatus.FINISHED)
    assert time.perf_counter() - began < 15.0
