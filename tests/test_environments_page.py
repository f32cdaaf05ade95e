"""The environment that docs/environments.md writes does what the page says."""

import re
from pathlib import Path

from support.commands import journeyman

PAGE = (Path(__file__).parents[1] / "docs" / "environments.md").read_text()


def test_the_pages_environment_passes_its_own_steps(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "maze.py").write_text(code)
    steps = re.findall(r"^\d\. `journeyman (.*)`$", PAGE, flags=re.MULTILINE)
    assert len(steps) == 3
    checked = journeyman(*steps[0].split(), cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.splitlines()[-1] == "nothing wrong in 1000 steps of random play"
    quick = ("tracking=none", "evaluation.episodes=8", "evaluation.bootstrap_resamples=100")
    played = journeyman(*steps[1].split(), *quick, cwd=tmp_path)
    # Five steps to the light: four that cost 0.01 and one that earns 1.
    assert "return 0.96 [0.96, 0.96]" in played.stderr, played.stdout + played.stderr


def test_the_third_step_is_the_whole_course(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "maze.py").write_text(code)
    whole = re.findall(r"^3\. `journeyman (.*)`$", PAGE, flags=re.MULTILINE)[0].split()
    small = (
        "anneal=quick",
        "policy=small",
        "tracking=none",
        "evaluation.episodes=16",
        "evaluation.bootstrap_resamples=100",
        "strategy.ppo.worlds=4",
        "strategy.ppo.rollout_ticks=32",
    )
    done = journeyman(*whole, *small, cwd=tmp_path, timeout=240.0)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "last against walker" in done.stderr
