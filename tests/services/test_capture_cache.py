"""Captures shared between jobs: the same bits as one's own, played once, whoever is first."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from journeyman.checkpoint import load_checkpoint, save_checkpoint
from journeyman.composition import compose_settings
from journeyman.data.capture import Capture
from journeyman.env.build import make_env
from journeyman.seeding import SeedPlan
from journeyman.services.capture_cache import KEPT_SECONDS, CaptureCache
from journeyman.services.demonstrations import play_and_keep

OVERRIDES = ["env=gymnasium", "env.id=CartPole-v1", "strategy=capture", "strategy.policy=random"]


class Jobs:
    """Jobs that need the same capture of random play."""

    def __init__(self, outputs: Path) -> None:
        self.outputs = outputs
        self.settings = compose_settings(OVERRIDES)
        self.played = 0

    def capture(self, *, scope: str = "a", seed: int = 1, **about: Any) -> tuple[Capture, float]:
        """Returns the capture, and what the generator draws next."""
        rng = SeedPlan(0)["demonstrator"]
        known = {"policy": "random", "size": [2, 5], "seed": seed, "social_stage": "OFF", **about}
        capture = CaptureCache(self.outputs, scope).get(
            self.settings,
            known,
            rng,
            play=lambda: self.play(seed, rng),
            wait=lambda: None,
        )
        return capture, float(rng.random())

    def play(self, seed: int, rng: np.random.Generator) -> Capture:
        self.played += 1
        return play_and_keep(
            lambda worlds: make_env(self.settings.env, num_worlds=worlds, social_stage="OFF"),
            "random",
            worlds=2,
            ticks=5,
            seed=seed,
            rng=rng,
        )

    @property
    def files(self) -> list[Path]:
        return sorted((self.outputs / ".cache" / "datasets").glob("*.safetensors"))


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


def test_the_second_job_reads_what_the_first_played(jobs: Jobs) -> None:
    (first, drawn), (second, drawn_again) = jobs.capture(), jobs.capture()
    assert jobs.played == 1
    assert second.digest == first.digest
    assert (second.label, second.warnings, second.metrics) == (
        first.label,
        first.warnings,
        first.metrics,
    )
    np.testing.assert_array_equal(second.demonstrations.groups, first.demonstrations.groups)
    assert drawn == drawn_again, "the generator must stand where it would have stood"


def test_what_determines_a_capture_tells_captures_apart(jobs: Jobs) -> None:
    jobs.capture()
    jobs.capture(seed=2)
    jobs.capture(social_stage="C1")
    jobs.capture(scope="b")
    assert jobs.played == 4
    assert len(jobs.files) == 4


def test_other_settings_of_the_environment_give_another_capture(jobs: Jobs) -> None:
    jobs.capture()
    jobs.settings = compose_settings([*OVERRIDES, "+env.kwargs.sutton_barto_reward=true"])
    jobs.capture()
    assert jobs.played == 2


def test_a_damaged_file_is_made_again(jobs: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    first, _ = jobs.capture()
    (path,) = jobs.files
    path.write_bytes(path.read_bytes()[:-7])
    again, _ = jobs.capture()
    assert jobs.played == 2
    assert again.digest == first.digest
    assert "it is made again" in caplog.text


def test_a_changed_file_is_made_again(jobs: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    """One byte of the actions is another one; the file still reads well."""
    jobs.capture()
    (path,) = jobs.files
    payload = bytearray(path.read_bytes())
    payload[-1] ^= 1
    path.write_bytes(bytes(payload))
    jobs.capture()
    assert jobs.played == 2
    assert "its checksum differs" in caplog.text


def test_a_file_of_other_demonstrations_is_made_again(
    jobs: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    jobs.capture()
    (path,) = jobs.files
    stored = load_checkpoint(path)
    save_checkpoint(replace(stored, state={**stored.state, "digest": "of others"}), path)
    jobs.capture()
    assert jobs.played == 2
    assert "not what was put there" in caplog.text


def test_only_what_nobody_asked_for_in_a_week_is_dropped(jobs: Jobs) -> None:
    jobs.capture()
    jobs.capture(seed=2)
    old = time.time() - KEPT_SECONDS - 60
    for path in jobs.files:
        os.utime(path, (old, old))
    jobs.capture()
    assert CaptureCache(jobs.outputs, "a").drop_old() == 1
    jobs.capture()
    assert jobs.played == 2, "the one asked for is still there"


PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from services.test_capture_cache import Jobs
jobs = Jobs(Path(sys.argv[1]))
real = jobs.play
def slow(seed, rng):
    import time
    time.sleep(2)
    return real(seed, rng)
jobs.play = slow
print(jobs.capture()[0].digest, jobs.played)
"""


def test_eight_processes_play_once(tmp_path: Path) -> None:
    code = PROCESS.format(tests=str(Path(__file__).parents[1]))
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    said = [process.communicate(timeout=240)[0].split() for process in running]
    assert len({digest for digest, _ in said}) == 1
    assert sorted(int(played) for _, played in said) == [0] * 7 + [1]
