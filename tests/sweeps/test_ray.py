"""Jobs on Ray: started here, and on a cluster of two nodes that is there already."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.cartpole import PRACTICE
from support.commands import journeyman, mlflow_client
from support.sweeps import DEADLY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("hydra_plugins.hydra_ray_launcher") is None,
        reason='needs pip install "journeyman[ray]"',
    ),
]

JOBS = (
    "--multirun",
    "launch=ray",
    "seed=0,1",
    *PRACTICE,
    "strategy.updates=200",
)
ENVIRONMENT = {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
print(f"address={cluster.address}", flush=True)
sys.stdin.read()
cluster.shutdown()
"""
"""Two nodes of one core each on the loopback interface, until the input is closed."""


@pytest.fixture
def cluster() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("address="):
            yield line.strip().removeprefix("address=")
            break
    else:
        pytest.fail("the cluster did not start")
    process.communicate(timeout=60)


def account(work: Path) -> tuple[Path, list[dict[str, Any]]]:
    (folder,) = (work / "outputs" / "multirun").glob("*/*")
    return folder, json.loads((folder / "sweep.json").read_text())["jobs"]


def parents(work: Path) -> tuple[set[str], str]:
    """Returns the parents of all jobs, and the id of the sweep's run."""
    client = mlflow_client(work / "outputs")
    experiment = client.get_experiment_by_name("journeyman")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.data.tags["kind"] == "sweep"]
    jobs = [run for run in runs if run.data.tags["kind"] == "job"]
    assert len(jobs) == 2
    return {run.data.tags["mlflow.parentRunId"] for run in jobs}, parent.info.run_id


def test_ray_on_this_machine(tmp_path: Path) -> None:
    done = journeyman(*JOBS, cwd=tmp_path, timeout=280, **ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert [job["status"] for job in account(tmp_path)[1]] == ["done", "done"]
    above, parent = parents(tmp_path)
    assert above == {parent}


def test_a_process_that_dies_ends_its_own_job_only(tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text(DEADLY)
    deadly = ("env.id=deadly:Deadly-v0", "env.kwargs={steps: 100},{steps: -1}", "seed=0")
    once = "+hydra.launcher.ray.remote.max_retries=0"
    environment = {**ENVIRONMENT, "PYTHONPATH": str(tmp_path)}
    done = journeyman(*JOBS, *deadly, once, cwd=tmp_path, timeout=280, **environment)
    assert done.returncode == 1, done.stderr
    died, whole = account(tmp_path)[1]
    assert (died["status"], whole["status"]) == ("failed", "done")
    assert died["error"].startswith("its process died: ")
    assert "Traceback" not in done.stderr, done.stderr


def test_two_nodes_share_the_jobs(tmp_path: Path, cluster: str) -> None:
    """A job takes a core and a node has one: jobs that overlap in time ran on both nodes."""
    address = f"hydra.launcher.ray.init.address={cluster}"
    done = journeyman(*JOBS, address, cwd=tmp_path, timeout=280, **ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    folder, jobs = account(tmp_path)
    assert [job["status"] for job in jobs] == ["done", "done"]
    spans = []
    for job in jobs:
        told = json.loads((folder / job["folder"] / "job.json").read_text())
        start = datetime.fromisoformat(told["started"])
        spans.append((start, start + timedelta(seconds=told["duration_sec"])))
    (start, end), (other_start, other_end) = spans
    assert max(start, other_start) + timedelta(seconds=1) < min(end, other_end)
    above, parent = parents(tmp_path)
    assert above == {parent}, "the parent's id travels with the config, not the environment"
