"""The page on learning says what the committed results say."""

import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import learning

    return learning


def test_the_table_is_that_of_the_results(benchmark):
    import learning_page

    results = json.loads((ROOT / "benchmarks/results/learning.json").read_text())
    assert learning_page.table(results) in (ROOT / "docs/learning.md").read_text()
    assert (ROOT / "docs/images/learning.png").is_file()
    assert set(results["tasks"]) == set(benchmark.TASKS)


def test_the_running_mean_needs_a_hundred_episodes(benchmark):
    # 99 zeros are too few; of 101 values the first is forgotten: (98 * 0 + 2 * 50) / 100.
    ended = [(8, np.zeros(99)), (16, np.full(2, 50.0)), (24, np.zeros(0))]
    assert benchmark.running_mean(ended) == [(16, 1.0), (24, 1.0)]


def test_seeds_are_resampled_within_their_task(benchmark):
    # Were tasks mixed, a resample could draw ones alone; within tasks half the values stay zeros,
    # of whose quarters at both ends the middle half is always two zeros and two ones.
    found = benchmark.interquartile_interval([[0.0] * 4, [1.0] * 4], np.random.default_rng(0))
    assert found == {"iqm": 0.5, "low": 0.5, "high": 0.5}


def test_curves_keep_their_last_point(benchmark):
    curve = [(step, float(step)) for step in range(1000)]
    kept = benchmark.thinned(curve)
    assert len(kept) == benchmark.CURVE_POINTS
    assert kept[0] == [0, 0.0]
    assert kept[-1] == [999, 999.0]
    assert benchmark.thinned([]) == []


def test_a_run_that_something_held_up_does_not_count_for_the_others(benchmark):
    # The mean would be 4; the middle one of 1, 2 and 9 is 2.
    assert benchmark.median_seconds([{"seconds": s} for s in (9.0, 1.0, 2.0)]) == 2.0


def test_a_file_of_results_says_how_it_came_about(benchmark, monkeypatch, tmp_path, capsys):
    from peers.sides import announced, conclude

    script = str(ROOT / "benchmarks" / "ppo.py")
    monkeypatch.setattr("sys.argv", [script, "--json", "ppo.json"])
    conclude(tmp_path / "ppo.json", announced(), [], {"ppo_8x128_over_sb3": 3.25})
    written = json.loads((tmp_path / "ppo.json").read_text())
    assert written["command"] == "python benchmarks/ppo.py --json ppo.json"
    assert "1 thread" in written["machine"]
    assert written["versions"]["numpy"] == np.__version__
    assert any("stable-baselines3==" in one for one in written["peers"]["sb3"])
    assert "commit" in written
    assert written["figures"] == {"ppo_8x128_over_sb3": 3.25}
    assert capsys.readouterr().out.splitlines()[-1] == "figure ppo_8x128_over_sb3 3.250"


def test_quick_prints_the_full_runs_figures_of_its_task(benchmark, capsys):
    runs = [
        {"seed": 0, "steps": 9, "seconds": 1.0, "score": 450.0, "untrained": 20.0, "curve": []}
        | {"steps_to_threshold": 8, "demonstrator": None}
    ]
    tasks = {"cartpole": benchmark.summary("cartpole", runs)}
    benchmark.report(tasks, {"iqm": 1.0})
    quick = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    tasks["acrobot"] = benchmark.summary("acrobot", runs * 2)
    benchmark.report(tasks, {"iqm": 1.0})
    full = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert quick == [name for name in full if name.startswith("cartpole")]
    assert len(quick) == 3
