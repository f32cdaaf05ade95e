"""A run folder belongs to one process, and says how its run ended."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from journeyman.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from journeyman.errors import TrainingError, UserError
from journeyman.run_folder import (
    disk_errors,
    held,
    note_status,
    resume_point,
    start_of,
    status_of,
)


def checkpoint(value: float, **state: Any) -> Checkpoint:
    return Checkpoint({"policy/w": np.full(3, value)}, state)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path / "run"):
        with pytest.raises(UserError, match="run: another process is at work on this run"):
            held(tmp_path / "run").__enter__()
        with held(tmp_path / "other"):
            pass
    with held(tmp_path / "run"):
        pass


def test_a_process_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        held(tmp_path).__enter__()
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    with held(tmp_path):
        pass


def test_where_a_run_is_resumed(tmp_path: Path) -> None:
    assert resume_point(tmp_path) == (None, {})
    latest = tmp_path / "checkpoints" / "latest.safetensors"
    save_checkpoint(checkpoint(1.0, tracker={"log_stream_offset": 7}), latest)
    found, position = resume_point(tmp_path)
    assert found is not None
    assert found.digest() == checkpoint(1.0).digest()
    assert position == {"log_stream_offset": 7}
    assert start_of(tmp_path) is None
    save_checkpoint(checkpoint(2.0), latest.with_name("start.safetensors"))
    start = start_of(tmp_path)
    assert start is not None
    assert start.digest() == checkpoint(2.0).digest()


def test_a_run_is_finished_with_its_results_and_its_tracking(tmp_path: Path) -> None:
    note_status(tmp_path, "RUNNING")
    assert status_of(tmp_path) == "RUNNING"
    # Killed after the results were written and before the tracker was told.
    (tmp_path / "results.json").write_text("{}")
    assert resume_point(tmp_path) == (None, {})
    for finished in ("FINISHED", None):
        if finished is None:
            (tmp_path / "status.json").unlink()  # of a version that wrote none
        else:
            note_status(tmp_path, finished)
        with pytest.raises(UserError, match="the run is finished; journeyman rerun"):
            resume_point(tmp_path)
    (tmp_path / "status.json").write_text("{")
    with pytest.raises(UserError, match=r"status\.json: damaged"):
        status_of(tmp_path)


@pytest.mark.parametrize("refused", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_what_the_disk_refuses_is_one_sentence(tmp_path: Path, refused: int) -> None:
    with pytest.raises(TrainingError) as raised, disk_errors(tmp_path):
        raise OSError(refused, os.strerror(refused), str(tmp_path / "metrics.jsonl"))
    assert str(raised.value) == (
        f"{tmp_path}/metrics.jsonl: cannot be written ({os.strerror(refused)}); "
        "no checkpoint was written yet"
    )


def test_other_errors_are_left_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        (tmp_path / "nothing").read_text()


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_last_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    latest = tmp_path / "checkpoints" / "latest.safetensors"
    save_checkpoint(checkpoint(1.0), latest)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync", full) if step == "fsync" else (Path, "replace", full)))
    with (
        pytest.raises(TrainingError, match="the last checkpoint is whole: journeyman resume"),
        disk_errors(tmp_path),
    ):
        save_checkpoint(checkpoint(2.0), latest)
    assert load_checkpoint(latest).digest() == checkpoint(1.0).digest()
    assert [path.name for path in latest.parent.iterdir()] == ["latest.safetensors"]
