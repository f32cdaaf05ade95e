"""The built wheel is whole: conf inside, and it runs from any folder without the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.commands import journeyman, run_folders

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the wheel and unpacks it where nothing else is."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, CHECKOUT],
        check=True,
        timeout=250,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_the_wheel_holds_every_config_and_no_more(unpacked: Path) -> None:
    shipped = {p.relative_to(CHECKOUT / "conf") for p in (CHECKOUT / "conf").rglob("*.yaml")}
    packed = {
        p.relative_to(unpacked / "journeyman/conf")
        for p in (unpacked / "journeyman/conf").rglob("*.yaml")
    }
    assert packed == shipped
    assert not list(unpacked.rglob("tests"))
    # Hydra finds sweepers nowhere else; the folder is shared, so it has no __init__.py.
    plugins = unpacked / "hydra_plugins"
    assert (plugins / "journeyman_optuna_sweeper" / "optuna_sweeper.py").is_file()
    assert not (plugins / "__init__.py").exists()


@pytest.mark.slow
def test_the_wheel_runs_from_any_folder(unpacked: Path, tmp_path: Path) -> None:
    done = journeyman(
        "strategy=evaluate",
        "evaluation.episodes=2",
        "env.episode_ticks=30",
        "tracking=none",
        cwd=tmp_path,
        PYTHONPATH=str(unpacked),
    )
    assert done.returncode == 0, done.stderr
    assert len(run_folders(tmp_path / "outputs")) == 1
    where = subprocess.run(
        [sys.executable, "-c", "from journeyman.config_folder import CONF_DIR; print(CONF_DIR)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(unpacked)},
        check=True,
    )
    assert where.stdout.strip() == str(unpacked / "journeyman" / "conf")
