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
