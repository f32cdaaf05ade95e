"""``strategy=evaluate``: the film of the first evaluation world."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from journeyman.composition import compose_settings
from journeyman.env.build import make_env
from journeyman.errors import UserError
from journeyman.orchestrator import Orchestrator
from journeyman.reporting.film import Camera, Reel, write_film
from journeyman.seeding import SeedPlan
from journeyman.services.evaluation import evaluation_seeds
from support.signal_env import SignalEnv

SMALL = (
    "strategy=evaluate",
    "env.agents=2",
    "env.grid=8",
    "env.episode_ticks=12",
    "evaluation.episodes=2",
    "evaluation.bootstrap_resamples=100",
    "promotion=off",
    "tracking=none",
)


def played(tmp_path, *more):
    settings = compose_settings([*SMALL, f"outputs={tmp_path}/outputs", *more])
    result = Orchestrator(settings, run_dir=tmp_path / "run").run()
    return settings, result


def pictures(settings, ticks):
    """What the first evaluation world looks like, played by hand."""
    seeds = evaluation_seeds(SeedPlan(settings.seed).integer("evaluation"), 2)
    env = make_env(settings.env, num_worlds=1)
    obs, _ = env.reset(seed=[seeds[0]])
    town, rng = env.demonstrator(), np.random.default_rng(0)
    shown = [env.render_world(0)]
    for _ in range(ticks):
        obs, *_ = env.step(town.act(obs, rng).actions)
        shown.append(env.render_world(0))
    return shown


def test_by_default_nothing_is_filmed(tmp_path):
    settings, _ = played(tmp_path)
    assert settings.strategy.render == "off"
    assert not list((tmp_path / "run").glob("evaluation.*"))


def test_a_gif_shows_the_first_evaluation_world(tmp_path):
    settings, filmed = played(
        tmp_path, "strategy.render=gif", "strategy.render_ticks=9", "strategy.render_every=2"
    )
    expected = pictures(settings, 9)[::2]  # at ticks 0, 2, 4, 6, 8
    with Image.open(tmp_path / "run" / "evaluation.gif") as film:
        assert film.n_frames == len(expected) == 5
        for number, picture in enumerate(expected):
            film.seek(number)
            assert film.info["duration"] in (120, 130)  # 1000 / 8 fps, in hundredths of a second
            shown = np.asarray(film.convert("RGB")).astype(int)
            # A palette of 128 colours moves colours a little; another tick moves whole agents.
            assert np.abs(shown - picture).mean() < 1.0
            assert np.percentile(np.abs(shown - picture), 99.9) < 40
    _, plain = played(tmp_path / "plain")
    assert filmed.episode_returns == plain.episode_returns


def test_the_film_ends_with_the_episode(tmp_path):
    _, _ = played(tmp_path, "strategy.render=gif", "strategy.render_ticks=100")
    with Image.open(tmp_path / "run" / "evaluation.gif") as film:
        assert film.n_frames == 12  # after reset and after ticks 1 to 11; the 12th ends it


def test_the_film_is_among_the_runs_artifacts(tmp_path):
    from support.commands import mlflow_client

    settings = compose_settings(
        [*SMALL, "tracking=mlflow", f"outputs={tmp_path}/outputs", "strategy.render=gif"]
    )
    orchestrator = Orchestrator(settings, run_dir=tmp_path / "run")
    orchestrator.run()
    client = mlflow_client(tmp_path / "outputs")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(experiments)
    assert "evaluation.gif" in [found.path for found in client.list_artifacts(run.info.run_id)]


def test_an_mp4_needs_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no ffmpeg on the PATH"):
        played(tmp_path, "strategy.render=mp4")
    assert not (tmp_path / "run" / "evaluation.mp4").exists()


def reel(*frames):
    film = Reel()
    for frame in frames:
        film.append(frame)
    return film


def stand_in(folder: Path, body: str) -> None:
    """Puts a program called ffmpeg in front of the PATH."""
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def test_ffmpeg_is_handed_every_pixel(tmp_path, monkeypatch):
    stand_in(tmp_path, f'echo "$@" > {tmp_path}/asked; for last; do :; done; cat > "$last"')
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    frames = [np.full((4, 6, 3), shade, np.uint8) for shade in (0, 100, 200)]
    write_film(reel(*frames), tmp_path / "film.mp4", fps=5)
    assert (tmp_path / "film.mp4").read_bytes() == b"".join(frame.tobytes() for frame in frames)
    asked = (tmp_path / "asked").read_text()
    assert "-pix_fmt rgb24 -s 6x4 -r 5 -i -" in asked
    assert "-pix_fmt yuv420p" in asked


@pytest.mark.parametrize("reads", ["cat > /dev/null;", ""], ids=["at_its_end", "at_once"])
def test_what_ffmpeg_complains_of_is_passed_on(tmp_path, monkeypatch, reads):
    stand_in(tmp_path, f"{reads} echo 'first' >&2; echo 'no such codec' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(UserError, match="ffmpeg failed: no such codec"):
        write_film(reel(*[np.zeros((400, 600, 3), np.uint8)] * 3), tmp_path / "film.mp4", fps=5)


def test_an_environment_that_cannot_draw_itself_is_named():
    with pytest.raises(UserError, match="cannot draw itself"):
        Camera(SignalEnv(num_worlds=1), ticks=5, every=1)


def test_a_reel_keeps_every_pixel_in_little_space():
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (6, 4, 3)).astype(np.uint8) for _ in range(3)]
    film = reel(*frames)
    assert len(film) == 3
    for kept, frame in zip(film, frames, strict=True):
        np.testing.assert_array_equal(kept, frame)
