"""What a run takes of its machine, measured on request."""

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from journeyman.composition import compose_settings
from journeyman.errors import UserError
from journeyman.preflight import preflight
from journeyman.settings.metrics_log import JsonlSettings
from journeyman.tracking.composite import build_tracker
from journeyman.tracking.jsonl import read_metrics
from journeyman.tracking.mlflow import MlflowTracker
from journeyman.tracking.protocol import RunStatus
from journeyman.tracking.system import THREAD_NAME, Sampler, SystemTracker, gpu_metrics

LOG = JsonlSettings(log_frequency=1, max_log_entries=1000, max_files=2)


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Puts an ``nvidia-smi`` first in the path; returns how to say what it does."""

    def make(script):
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return make


def busy(seconds):
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


def wait_for(condition):
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_samples_are_curves_of_mlflow_and_not_of_the_log(settings, outputs, client, run_info):
    info = run_info()
    info.run_dir.mkdir(parents=True)
    (info.run_dir / "environment.json").write_text("{}")
    began = time.time() - 1000.0
    os.utime(info.run_dir / "environment.json", (began, began))  # as a resumed run finds it
    wanted = settings(system_metrics=True, system_metrics_seconds=0.05)
    tracker = build_tracker(wanted, LOG, outputs, info.run_dir)
    mlflow = next(each for each in tracker.trackers if isinstance(each, MlflowTracker))
    tracker.start(info)
    run_id = mlflow.run_id
    wait_for(lambda: "system/cpu_percent" in client.get_run(run_id).data.metrics)
    tracker.log("bc", {"loss": 1.0}, 1)
    tracker.finish(RunStatus.FINISHED)
    assert not [each for each in threading.enumerate() if each.name == THREAD_NAME]
    history = client.get_metric_history(run_id, "system/memory_megabytes")
    assert all(1000 <= each.step < 1300 for each in history)
    assert all(20.0 < each.value < 100_000.0 for each in history)
    assert [line["group"] for line in read_metrics(info.run_dir)] == ["bc"]


def test_nothing_is_sampled_unless_asked_for(settings, outputs, tmp_path):
    kinds = {type(each) for each in build_tracker(settings(), LOG, outputs, tmp_path).trackers}
    assert SystemTracker not in kinds


def test_work_shows_as_work_also_that_of_processes_it_started(tmp_path):
    sampler = Sampler(tmp_path)
    time.sleep(0.2)
    idle = sampler.sample()["cpu_percent"]
    busy(0.4)
    assert sampler.sample()["cpu_percent"] > max(10.0, 2.0 * idle)
    loop = "import time\nwhile True: time.process_time()"
    with subprocess.Popen([sys.executable, "-c", loop]) as child:
        try:
            alone = sampler.sample()["memory_megabytes"]
            wait_for(lambda: sampler.sample()["cpu_percent"] > 5.0 and time.sleep(0.3) is None)
            assert alone > 20.0
        finally:
            child.kill()
    child.wait()
    sampler.sample()  # without the child's seconds: not negative
    assert sampler.sample()["cpu_percent"] >= 0.0


def test_the_disk_is_the_run_folders(tmp_path):
    found = Sampler(tmp_path).sample()
    usage = shutil.disk_usage(tmp_path)
    assert found["disk_free_megabytes"] == pytest.approx(usage.free / 1e6, rel=0.2)
    assert 0.0 <= found["disk_used_percent"] <= 100.0


def test_gpus_are_asked_for_where_there_are_any(tmp_path, nvidia_smi):
    nvidia_smi("echo '0, 37, 1024'; echo '1, [N/A], 5'")
    found = Sampler(tmp_path).sample()
    assert (found["gpu_0_percent"], found["gpu_0_memory_mebibytes"]) == (37.0, 1024.0)
    assert found["gpu_1_memory_mebibytes"] == 5.0
    assert "gpu_1_percent" not in found
    assert gpu_metrics("") == {}


def test_the_metrics_reference_has_all_of_them(tmp_path, nvidia_smi):
    nvidia_smi("echo '0, 37, 1024'")
    reference = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    documented = set(re.findall(r"^\| `system/([^`]+)`", reference, re.MULTILINE))
    sampled = {name.replace("gpu_0", "gpu_<n>") for name in Sampler(tmp_path).sample()}
    assert documented == sampled


def test_a_driver_that_fails_is_said_once(tmp_path, nvidia_smi, caplog):
    nvidia_smi("exit 9")
    sampler = Sampler(tmp_path)
    for _ in range(2):
        assert not [name for name in sampler.sample() if name.startswith("gpu")]
    assert caplog.text.count("nvidia-smi does not answer") == 1


def test_without_psutil_one_sentence_says_how_to_have_it(tmp_path, monkeypatch):
    wanted = compose_settings(["tracking.system_metrics=true", f"outputs={tmp_path}/outputs"])
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(UserError, match=r'pip install "journeyman\[system\]"') as refused:
        preflight([wanted])
    assert len(refused.value.problems) == 1
    preflight([compose_settings([f"outputs={tmp_path}/outputs"])])
    assert not (tmp_path / "outputs").exists()
