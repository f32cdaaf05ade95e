"""Films of play: a camera on the first world of an environment, and writers of GIF and MP4."""

import contextlib
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from journeyman.env.protocol import LaneEnv, StepInfo
from journeyman.errors import TrainingError, UserError, in_a_line
from journeyman.policies.protocol import Observation

FilmFormat = Literal["gif", "mp4"]
Frame = NDArray[np.uint8]
"""(height, width, 3) RGB; all frames of a film are of one shape, height and width even."""

_COLOURS = 128
"""In a GIF's palette: of 256 at most; edges stay smooth, files stay small."""


class Reel:
    """Frames in their order, compressed: a drawing of 2 MB takes some 20 KB."""

    def __init__(self) -> None:
        self._packed: list[tuple[tuple[int, ...], bytes]] = []

    def append(self, frame: Frame) -> None:
        """Adds a frame at the end."""
        self._packed.append((frame.shape, zlib.compress(frame.tobytes(), level=1)))

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, number: int) -> Frame:
        shape, packed = self._packed[number]
        return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(shape)

    def __iter__(self) -> Iterator[Frame]:
        return (self[number] for number in range(len(self)))


class Drawn(Protocol):
    """An environment that can draw its worlds."""

    def render_world(self, world: int) -> Frame:
        """Returns a picture of one world as it is now."""
        ...


class Camera:
    """An environment as it is, whose first world is filmed while it is played.

    Filming ends with the world's first episode, or after ``ticks``. Whatever the camera does not
    do itself the environment does.

    Attributes:
        frames: the pictures so far; the first is of the world after ``reset``.
    """

    def __init__(self, env: LaneEnv, *, ticks: int, every: int) -> None:
        """Sets up the camera.

        Args:
            env: what is played.
            ticks: film this many ticks at most.
            every: take a picture every so many ticks.

        Raises:
            UserError: if the environment cannot draw itself.
        """
        if not hasattr(env, "render_world"):
            raise UserError(_cannot_draw(env))
        self._env, self._ticks, self._every = env, ticks, every
        self._tick = 0
        self.frames = Reel()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, StepInfo]:
        """Resets the environment and begins the film anew."""
        seen = self._env.reset(seed=seed, options=options)
        self._tick, self.frames = 0, Reel()
        self.frames.append(self._picture())
        return seen

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Observation, NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], StepInfo]:
        """Steps the environment and takes a picture if it is time for one."""
        outcome = self._env.step(actions)
        self._tick += 1
        if outcome[4]["world_over"][0]:
            self._ticks = 0  # what follows is another episode
        if self._tick <= self._ticks and self._tick % self._every == 0:
            self.frames.append(self._picture())
        return outcome

    def _picture(self) -> Frame:
        return picture_of(self._env)


def picture_of(env: LaneEnv) -> Frame:
    """Returns a picture of an environment's first world, height and width made even.

    An odd last row or column is repeated: most players of films want even sizes.

    Raises:
        UserError: if the environment cannot draw itself.
    """
    if not hasattr(env, "render_world"):
        raise UserError(_cannot_draw(env))
    try:
        picture = np.asarray(cast(Drawn, env).render_world(0))
    except (UserError, TrainingError):
        raise
    except Exception as error:  # whatever a library for drawing may raise
        raise UserError(_cannot_draw(env, f" ({in_a_line(error)})")) from error
    height, width, _ = picture.shape
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _cannot_draw(env: LaneEnv, reason: str = "") -> str:
    env_id = env.lane_spec.env_id
    return f"strategy.render: {env_id} cannot draw itself{reason}; set it to off"


def require_writer(film: FilmFormat) -> None:
    """Raises ``UserError`` if this machine cannot write films of this format."""
    if film == "mp4" and shutil.which("ffmpeg") is None:
        raise UserError(
            "strategy.render=mp4: there is no ffmpeg on the PATH; install it, or use "
            "strategy.render=gif"
        )


def write_film(frames: Reel, path: Path, *, fps: int) -> None:
    """Writes frames as a film whose format is the path's ending, ``.gif`` or ``.mp4``.

    Args:
        frames: at least one.
        path: the file to write; its folder exists.
        fps: frames a second.

    Raises:
        UserError: for an MP4 where there is no ffmpeg, or where it fails, with what it said.
    """
    if path.suffix == ".mp4":
        require_writer("mp4")
        _write_mp4(frames, path, fps)
    else:
        _write_gif(frames, path, fps)


def _write_gif(frames: Reel, path: Path, fps: int) -> None:
    from PIL import Image

    # One palette for all frames, made of some of them: nothing flickers, and what stays the
    # same from frame to frame takes no space.
    samples = [frames[number] for number in range(0, len(frames), max(1, len(frames) // 8))]
    palette = Image.fromarray(np.concatenate(samples)).quantize(_COLOURS)
    flat = (
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    )
    next(flat).save(
        path,
        save_all=True,
        append_images=flat,
        duration=round(1000 / fps),
        loop=0,
        optimize=True,
    )


def _write_mp4(frames: Reel, path: Path, fps: int) -> None:
    height, width, _ = frames[0].shape
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps)]
    # yuv420p is what every browser plays.
    target = ["-an", "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(path)]
    command = ["ffmpeg", "-y", "-loglevel", "error", *source, "-i", "-", *target]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=said) as ffmpeg,
    ):
        assert ffmpeg.stdin is not None
        # Where it ends early the pipe breaks; its exit status and words say why.
        with contextlib.suppress(BrokenPipeError):
            for frame in frames:
                ffmpeg.stdin.write(frame.tobytes())
        with contextlib.suppress(BrokenPipeError):
            ffmpeg.stdin.close()
        if ffmpeg.wait() != 0:
            said.seek(0)
            words = said.read().decode(errors="replace").strip().splitlines()
            reason = words[-1] if words else f"exit status {ffmpeg.returncode}"
            raise UserError(f"strategy.render=mp4: ffmpeg failed: {reason}")
