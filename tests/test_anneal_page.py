"""The benchmark on annealing: equal budgets, its figures, and the page it draws."""

import json
from pathlib import Path

import pytest

from journeyman.composition import compose_settings

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (0, 1, 2)
# Evaluations at 0, 10, 20 and 30 steps; the demonstrator returns 5.
FAST = [3.0, 6.0, 7.0, 9.0]
SLOW = [0.0, 0.0, 1.0, 2.0]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import anneal

    return anneal


def record(method, seed, returns, *, digest="one"):
    """A run's record; seeds differ by .1 in all they return."""
    returns = [value + 0.1 * seed for value in returns]
    ended = {"return": returns[-1], "rates": {"faint": 0.5}}
    made = {
        "task": "neighbourhood",
        "method": method,
        "seed": seed,
        "commit": "abc",
        "steps": 30,
        "cpu_seconds": 1.0,
        "curve": {
            "steps": [0, 10, 20, 30],
            "returns": returns,
            "rates": {"faint": [4.0, 3.0, 2.0, 1.0]},
        },
        "demonstrator_in_curve": 5.0,
        "untrained": {"return": -9.0, "rates": {"faint": 9.0}},
        "demonstrator": {"return": 5.0 + 0.1 * seed, "rates": {"faint": 0.25}},
        "final": ended,
        "imitated": None,
    }
    if method == "scratch":
        return made
    diagnosis = {"kl_to_prior": 0.1, "agreement": 0.9, "value_rmse": None}
    stages = [
        {
            "name": name,
            "status": status,
            "rolled_back": False,
            "digest": digest,
            "diagnosis": {**diagnosis, "explained_variance": 0.5},
        }
        for name, status in (("00-bc", "PASS"), ("01-ppo", "HOLD"))
    ]
    return made | {"stages": stages, "imitated": {"return": returns[0], "rates": {"faint": 1.0}}}


def runs(**more):
    methods = {"scratch": SLOW, "linear": FAST, "stepped": [3.0, 3.0, 2.0, 2.9], **more}
    return {name: [record(name, seed, one) for seed in SEEDS] for name, one in methods.items()}


def test_the_budget_of_all_presets_is_the_same(benchmark):
    from anneal_tasks import PRESETS, UPDATES

    for preset in PRESETS:
        stages = compose_settings([f"anneal={preset}"]).anneal.stages
        assert sum(stage.epochs for stage in stages if stage.mode == "ppo") == UPDATES, preset


def test_every_runs_settings_compose(benchmark):
    from anneal_runs import overrides_of
    from anneal_tasks import PRESETS, TASKS

    for name in TASKS:
        for method in benchmark.METHODS:
            settings = compose_settings(overrides_of(name, method, quick=False))
            ppo = settings.ppo()
            wanted = settings.strategy.kind if method == "scratch" else settings.anneal.label
            assert wanted == ("ppo" if method == "scratch" else method)
            # One rollout's transitions are the same in all methods of a task.
            assert (ppo.worlds, ppo.rollout_ticks) == {
                "neighbourhood": (64, 64),
                "queue_conflict": (64, 64),
                "cartpole": (8, 64),
                "acrobot": (16, 64),
            }[name]
    assert benchmark.default_preset() in PRESETS


def test_figures_of_a_task(benchmark):
    task = benchmark.summary("neighbourhood", runs())
    linear, alone = task["methods"]["linear"], task["methods"]["imitation alone"]
    # Seeds end at 9, 9.1, 9.2: with three values a quarter rounded down leaves nothing out.
    assert linear["final"]["iqm"] == pytest.approx(9.1)
    assert linear["final"]["worst"] == 9.0
    assert alone["final"]["iqm"] == pytest.approx(3.1)
    assert linear["steps_to_demonstrator"] == [10, 10, 10]
    assert task["methods"]["scratch"]["steps_to_demonstrator"] == [None] * 3
    assert linear["better_than_imitation"] == linear["better_than_scratch"] == 1.0
    assert (linear["held"], linear["rolled_back"], linear["stages"]) == (3, 0, 6)
    assert linear["seeds_below_imitation"] == 0
    assert task["methods"]["stepped"]["seeds_below_imitation"] == 3


def test_of_a_run_that_went_on_the_budgets_end_counts(benchmark):
    longer = runs()
    for run in longer["linear"] + longer["stepped"]:
        run["steps"] = 20
    task = benchmark.summary("neighbourhood", longer)
    # Of PPO from scratch what it was at 20 steps: 1, 1.1, 1.2, and 2 faints.
    assert task["budget"] == 20
    assert task["methods"]["scratch"]["final"]["iqm"] == pytest.approx(1.1)
    assert task["methods"]["scratch"]["rates"] == {"faint": 2.0}
    assert task["methods"]["linear"]["rates"] == {"faint": 0.5}


def test_the_headline_is_a_bound_where_scratch_never_got_there(benchmark):
    found = benchmark.headline(benchmark.summary("neighbourhood", runs()), "linear")
    assert found["steps_to_demonstrator_over_scratch"] == pytest.approx(10 / 30)
    assert found["steps_to_demonstrator_over_scratch_is_a_bound"] is True
    assert found["best_preset"] == "linear"
    assert found["best_ends_above_demonstrator"] is True
    assert found["best_ends_above_imitation"] is True
    assert found["best_seeds_below_imitation"] == 0
    got_there = runs(scratch=[0.0, 1.0, 6.0, 6.0])
    found = benchmark.headline(benchmark.summary("neighbourhood", got_there), "linear")
    assert found["steps_to_demonstrator_over_scratch"] == pytest.approx(10 / 20)
    assert found["steps_to_demonstrator_over_scratch_is_a_bound"] is False


def test_a_preset_that_never_gets_there_has_no_ratio(benchmark):
    found = benchmark.headline(benchmark.summary("neighbourhood", runs()), "stepped")
    assert found["steps_to_demonstrator_over_scratch"] is None


def test_results_of_different_versions_do_not_mix(benchmark):
    mixed = runs()
    mixed["stepped"][1] = record("stepped", 1, FAST, digest="another")
    with pytest.raises(ValueError, match="seed 1: presets imitated differently"):
        benchmark.summary("neighbourhood", mixed)
    short = runs()
    short["stepped"][2]["steps"] = 20
    with pytest.raises(ValueError, match="budgets differ, 20 to 30"):
        benchmark.summary("neighbourhood", short)


def test_one_good_evaluation_alone_is_not_there_yet(benchmark):
    from anneal_figures import steps_to

    curve = {"steps": [0, 5, 9, 12], "returns": [3.0, 1.0, 3.0, 4.0]}
    assert steps_to(curve, 2.0) == 9
    assert steps_to(curve, 3.5) == 12
    assert steps_to(curve, 5.0) is None


def test_a_run_that_a_guardrail_ended_counts_with_what_it_ended_with(benchmark):
    ended = runs()
    cut = ended["linear"][2]
    cut["stages"], cut["steps"] = cut["stages"][:1], 10
    curve = cut["curve"]
    curve["steps"], curve["returns"] = curve["steps"][:2], [3.2, 3.2]
    curve["rates"]["faint"] = curve["rates"]["faint"][:2]
    cut["final"] = {"return": 3.2, "rates": {"faint": 3.0}}
    task = benchmark.summary("neighbourhood", ended)
    assert task["budget"] == 30
    linear = task["methods"]["linear"]
    assert linear["stopped"] == 1
    assert linear["final"]["worst"] == 3.2
    assert linear["steps_to_demonstrator"] == [10, 10, None]
    # Two of three seeds end above all of scratch's 2 to 2.2, and so does the one that was ended.
    assert linear["better_than_scratch"] == 1.0


def test_the_probability_of_improvement_has_an_interval(benchmark):
    mixed = runs(linear=[3.0, 3.0, 3.0, 2.1])
    row = benchmark.summary("neighbourhood", mixed)["methods"]["linear"]
    # Pairs of 2.1, 2.2, 2.3 with 2, 2.1, 2.2: three of them tie or lose; 6.5 to 7 of 9 are won.
    assert 0.5 < row["better_than_scratch"] < 1.0
    low, high = row["better_than_scratch_interval"]
    assert low < row["better_than_scratch"] <= high


def test_the_page_is_drawn_from_the_results(benchmark, tmp_path, monkeypatch):
    import anneal_page

    page = tmp_path / "annealing.md"
    page.write_text("before\n<!-- table: begin -->\nold\n<!-- table: end -->\nafter\n")
    monkeypatch.setattr(anneal_page, "PAGE", page)
    monkeypatch.setattr(anneal_page, "PICTURE", tmp_path / "images" / "anneal.png")
    task = benchmark.summary("neighbourhood", runs())
    document = {"command": "python benchmarks/anneal.py", "machine": "m", "versions": {"v": "1"}}
    document |= {"tasks": {"neighbourhood": task}, "default": "linear"}
    anneal_page.draw(document | {"figures": benchmark.headline(task, "linear")})
    text = page.read_text()
    assert "old" not in text
    assert "| `linear` | **9.10** |" in text
    assert "**at most 0.333**" in text
    assert "| over 30 (0 of 3 seeds got there) |" in text
    assert "- `stepped` does not help all the way:" in text
    assert "- `linear` does not" not in text
    assert (tmp_path / "images" / "anneal.png").stat().st_size > 1000
    page.write_text("no marks")
    with pytest.raises(ValueError, match="no table: begin"):
        anneal_page.draw(document)


def test_the_committed_page_shows_the_committed_results(benchmark, tmp_path, monkeypatch):
    import anneal_page

    committed = ROOT / "docs" / "annealing.md"
    page = tmp_path / "annealing.md"
    page.write_text(committed.read_text())
    monkeypatch.setattr(anneal_page, "PAGE", page)
    monkeypatch.setattr(anneal_page, "PICTURE", tmp_path / "anneal.png")
    anneal_page.draw(json.loads(benchmark.RESULTS.read_text()))
    assert page.read_text() == committed.read_text()
    assert "![" in page.read_text()
    assert (ROOT / "docs" / "images" / "anneal.png").exists()


def test_the_committed_results_are_whole(benchmark):
    """Every preset on every task with every seed, and the default that ships."""
    from anneal_tasks import PRESETS, SEEDS, TASKS

    document = json.loads(benchmark.RESULTS.read_text())
    assert document["default"] == benchmark.default_preset()
    assert set(document["tasks"]) == set(TASKS)
    for task in document["tasks"].values():
        found = {(run["method"], run["seed"]) for run in task["runs"]}
        assert found == {(method, seed) for method in benchmark.METHODS for seed in SEEDS}
        assert set(PRESETS) < set(task["methods"])
    assert document["figures"]["steps_to_demonstrator_over_scratch"] <= 0.2
