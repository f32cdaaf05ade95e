"""Captures shared by the jobs of a sweep: each is played once, whoever comes first.

A capture is filed under a digest of everything that determines it, the code included. Whoever
needs one that is not there holds its lock while playing; the others wait for the file.
"""

import dataclasses
import functools
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from journeyman.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from journeyman.data.capture import Capture
from journeyman.env.build import lane_spec
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.policies.registry import is_path
from journeyman.settings.env import TownSettings
from journeyman.settings.root import Settings

KEPT_SECONDS = 7 * 24 * 3600.0
_OPTIONAL = ("map", "action_mask", "final_map")
_WAIT_SECONDS = 0.5
_LOG = logging.getLogger(__name__)


class CaptureCache:
    """A folder of captures, safe for any number of processes at once.

    Args:
        outputs: absolute outputs folder; they are kept in its ``.cache/datasets``.
        scope: what an environment whose code is the user's own is told apart by, besides its
            settings: its captures are shared within this scope alone.
    """

    def __init__(self, outputs: Path, scope: str) -> None:
        self._folder, self._scope = outputs / ".cache" / "datasets", scope

    def get(
        self,
        settings: Settings,
        about: dict[str, Any],
        rng: np.random.Generator,
        *,
        play: Callable[[], Capture],
        wait: Callable[[], None],
    ) -> Capture:
        """Returns a capture, read or played; ``rng`` ends in the same state either way.

        Args:
            settings: of the run; the environment's enter the digest.
            about: what else determines it: policy, worlds, ticks, seed, social stage.
            rng: source of the player's choices; its state now enters the digest.
            play: makes the capture, drawing from ``rng``.
            wait: called twice a second while another process plays; may raise.
        """
        path = self._folder / f"{self._digest(settings, about, rng)}.safetensors"
        with _locked(path.with_suffix(".lock"), wait):
            capture = self._read(path, lane_spec(settings.env), rng)
            if capture is None:
                capture = play()
                save_checkpoint(_stored(capture, rng), path)
            return capture

    def _read(self, path: Path, spec: LaneSpec, rng: np.random.Generator) -> Capture | None:
        """Returns the capture in a file and winds the generator on; None where it is not whole."""
        if not path.is_file():
            return None
        try:
            stored = load_checkpoint(path)
        except UserError as error:
            _LOG.warning("%s; it is made again", error)
            return None
        capture = _capture(stored, spec)
        if capture.digest != stored.state["digest"]:
            _LOG.warning("%s: not what was put there; it is made again", path)
            return None
        rng.bit_generator.state = stored.state["generator"]
        path.touch()
        return capture

    def _digest(self, settings: Settings, about: dict[str, Any], rng: np.random.Generator) -> str:
        policy = about["policy"]
        determining = {
            **about,
            "policy": _file_digest(Path(policy)) if is_path(policy) else policy,
            "env": settings.env.model_dump(mode="json"),
            "generator": rng.bit_generator.state,
            "source": source_digest(),
            "numpy": np.__version__,
            "scope": None if isinstance(settings.env, TownSettings) else self._scope,
        }
        return hashlib.sha256(json.dumps(determining, sort_keys=True).encode()).hexdigest()

    def drop_old(self) -> int:
        """Removes captures that nobody has asked for in a week; returns how many."""
        old = [
            path
            for path in self._folder.glob("*.safetensors")
            if time.time() - path.stat().st_mtime > KEPT_SECONDS
        ]
        for path in old:
            path.unlink(missing_ok=True)
            path.with_suffix(".lock").unlink(missing_ok=True)
        return len(old)


@contextmanager
def _locked(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Holds a file's lock; the operating system frees that of a process that died."""
    import filelock

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_WAIT_SECONDS)
        except filelock.Timeout:
            wait()
    try:
        yield
    finally:
        lock.release()


@functools.cache
def source_digest() -> str:
    """Returns a SHA-256 over this package's source: what plays today may play otherwise then."""
    package = Path(__file__).parents[1]
    sha = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        sha.update(f"{path.relative_to(package)}:".encode() + path.read_bytes())
    return sha.hexdigest()


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _stored(capture: Capture, rng: np.random.Generator) -> Checkpoint:
    arrays = {
        f"capture/{each.name}": array
        for each in dataclasses.fields(capture)
        if isinstance(array := getattr(capture, each.name), np.ndarray)
    }
    totals = {f"events/{name}": total for name, total in capture.event_totals.items()}
    return Checkpoint(
        {**arrays, **totals},
        {
            "label": capture.label,
            "seed": capture.seed,
            "num_worlds": capture.num_worlds,
            "warnings": list(capture.warnings),
            "event_names": list(capture.event_totals),
            "digest": capture.digest,
            "generator": rng.bit_generator.state,
        },
    )


def _capture(stored: Checkpoint, spec: LaneSpec) -> Capture:
    arrays: dict[str, Any] = {**dict.fromkeys(_OPTIONAL), **stored.part("capture")}
    totals = stored.part("events")
    state = stored.state
    return Capture(
        lane_spec=spec,
        label=state["label"],
        seed=state["seed"],
        num_worlds=state["num_worlds"],
        warnings=tuple(state["warnings"]),
        event_totals={name: totals[name] for name in state["event_names"]},
        **arrays,
    )
