"""A sweep as a browser shows it: on MLflow's page, and in its own report."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from journeyman.tracking.history import SCORE
from support.browser import RUN_NAMES, Browser, find_chromium, page_server
from support.commands import journeyman, mlflow_client

pytestmark = pytest.mark.slow

RATES = ("0.003", "0.0003")
SWEEP = (
    "--multirun",
    f"strategy.learning_rate={','.join(RATES)}",
    "seed=range(0,2)",
    "strategy=ppo",
    "strategy.worlds=2",
    "strategy.rollout_ticks=32",
    "strategy.updates=4",
    "env.scenario=kitchen_breakfast",
    "env.episode_ticks=32",
    "policy=small",
    "promotion=off",
    "evaluation.episodes=2",
    "evaluation.bootstrap_resamples=100",
)


JOBS_ALONE = "tags.kind = 'job'"


def jobs_of(swept: tuple[Path, Any], client: Any) -> list[Any]:
    found: list[Any] = client.search_runs([swept[1].info.experiment_id], JOBS_ALONE)
    return found


@pytest.fixture(scope="module")
def program() -> str:
    return find_chromium()


@pytest.fixture(scope="module")
def swept(program: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of a small sweep, and its run as the store knows it."""
    work = tmp_path_factory.mktemp("swept")
    done = journeyman(*SWEEP, cwd=work, timeout=280)
    assert done.returncode == 0, done.stderr
    client = mlflow_client(work / "outputs")
    experiment = client.get_experiment_by_name("journeyman")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.kind = 'sweep'")
    (folder,) = (work / "outputs" / "multirun").glob("*/*")
    return folder, parent


@pytest.fixture
def browser(program: str, tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(program, tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def link(swept: tuple[Path, Any]) -> Iterator[str]:
    with page_server(swept[0].parents[2]) as printed:
        yield printed


def test_jobs_unfold_under_their_sweep(
    browser: Browser, link: str, swept: tuple[Path, Any]
) -> None:
    name = swept[1].info.run_name
    browser.call("Page.navigate", url=link)
    row = f"""
        [...document.querySelectorAll(".ag-cell-wrapper")]
            .find(cell => cell.querySelector("a")?.innerText.trim() === {json.dumps(name)})
    """
    browser.wait_for(f"{row}?.querySelector('button') && true", "a sweep that unfolds")
    assert browser.evaluate(RUN_NAMES) == [name]
    browser.evaluate(f"{row}.querySelector('button').click()")
    browser.wait_for(f"({RUN_NAMES}).length > 4 && true", "its four jobs")
    shown = browser.evaluate(RUN_NAMES)
    assert shown[0] == name
    assert sorted(each.partition(" worlds")[0] for each in shown[1:]) == [
        "ppo seed=0 learning_rate=0.0003",
        "ppo seed=0 learning_rate=0.003",
        "ppo seed=1 learning_rate=0.0003",
        "ppo seed=1 learning_rate=0.003",
    ]
    # Unfolded, its jobs' curves are drawn.
    browser.wait_for("document.querySelectorAll('.js-plotly-plot').length > 0", "charts")


DRAWN = """
[...document.querySelectorAll(".js-plotly-plot")].flatMap(plot => plot.data || []).map(
    line => ({key: line.metricKey ?? null, fill: line.fill ?? null, y: [...line.y || []]}))
"""
"""What Plotly holds; of a band its upper edge, then its lower one backwards, or the reverse."""


def test_grouped_by_a_swept_param_seeds_are_a_mean_and_a_band(
    browser: Browser, link: str, swept: tuple[Path, Any]
) -> None:
    metric, client = "ppo/batch_entropy_mean", mlflow_client(swept[0].parents[2])
    curves: dict[str, list[list[float]]] = {}
    for run in jobs_of(swept, client):
        history = client.get_metric_history(run.info.run_id, metric)
        values = [point.value for point in sorted(history, key=lambda point: point.step)]
        curves.setdefault(run.data.params["strategy.learning_rate"], []).append(values)
    address = link.replace("runs?", f"runs?searchFilter={quote(JOBS_ALONE)}&")
    browser.call("Page.navigate", url=address)
    button = """[...document.querySelectorAll("button")].find(
        each => each.innerText.trim() === "Group by")"""
    browser.wait_for(f"!!{button} && ({RUN_NAMES}).length > 0", "runs to be grouped")
    browser.click(button)
    param = """[...document.querySelectorAll("[role=menu] *, [role=dialog] *")].filter(
        each => each.innerText?.trim() === "strategy.learning_rate").pop()"""
    browser.wait_for(f"!!{param}", "params to group by")
    browser.evaluate(f"{param}.scrollIntoView({{block: 'center'}})")
    browser.click(param)
    for rate in RATES:
        browser.wait_for(f"document.body.innerText.includes('Group: {rate}')", f"group {rate}")
    search = """document.querySelector("input[placeholder='Search metric charts']")"""
    browser.evaluate(f"{search}.focus()")
    browser.type(metric)
    browser.wait_for(f"({DRAWN}).some(line => line.key === {metric!r})", "a chart of the groups")
    drawn = browser.evaluate(DRAWN)
    lines = [line["y"] for line in drawn if line["key"] == metric]
    edges = [sorted({*line["y"]} - {None}) for line in drawn if line["fill"]]
    assert curves.keys() == set(RATES)
    for seeds in curves.values():
        assert len(seeds) == 2
        mean = [sum(pair) / 2 for pair in zip(*seeds, strict=True)]
        assert any(line == pytest.approx(mean) for line in lines), "the mean over seeds"
        assert any(edge == pytest.approx(sorted({*seeds[0], *seeds[1]})) for edge in edges), (
            "their range"
        )


def test_parallel_coordinates_show_swept_params_and_the_final_return(
    browser: Browser, link: str, swept: tuple[Path, Any]
) -> None:
    client = mlflow_client(swept[0].parents[2])
    runs = jobs_of(swept, client)
    ids, home = json.dumps([run.info.run_id for run in runs]), swept[1].info.experiment_id
    query = f"runs={quote(ids)}&experiments={quote(json.dumps([home]))}"
    browser.call("Page.navigate", url=f"{link.partition('/#/')[0]}/#/compare-runs?{query}")
    axes = """Object.fromEntries([...document.querySelectorAll(".js-plotly-plot")]
        .flatMap(plot => plot.data || []).flatMap(trace => trace.dimensions || [])
        .map(axis => [axis.label, [...axis.values]]))"""
    # The params that vary are chosen already; of the metrics the first in the alphabet is.
    browser.wait_for(f"'strategy.learning_rate' in {axes}", "parallel coordinates")
    browser.click("[...document.querySelectorAll('input[role=combobox]')].pop()")
    browser.type(SCORE)
    browser.wait_for(
        f"[...document.querySelectorAll('[class*=option-active]')].some("
        f"each => each.innerText === {SCORE!r})",
        "the metric to choose",
    )
    browser.type("", enter=True)
    browser.wait_for(f"{SCORE!r} in {axes}", "the final return")
    shown = browser.evaluate(axes)
    assert shown.keys() >= {"seed", "strategy.learning_rate", SCORE}
    lines = zip(shown["strategy.learning_rate"], shown["seed"], shown[SCORE], strict=True)
    stored = [
        (
            float(run.data.params["strategy.learning_rate"]),
            int(run.data.params["seed"]),
            run.data.metrics[SCORE],
        )
        for run in runs
    ]
    assert len({score for _, _, score in stored}) == 4
    np.testing.assert_allclose(sorted(lines), sorted(stored), rtol=1e-9)


def test_the_report_is_among_the_sweeps_artifacts(
    browser: Browser, link: str, swept: tuple[Path, Any]
) -> None:
    server, run = link.partition("/#/")[0], swept[1]
    page = f"{server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts"
    browser.call("Page.navigate", url=page)
    for file in ("report.html", "sweep.json"):
        browser.wait_for(f"document.body.innerText.split('\\n').includes({file!r})", file)
    last = (
        """[...document.querySelectorAll("*")].filter(each => each.innerText === "report.html")"""
    )
    browser.evaluate(f"{last}.pop().click()")
    browser.wait_for("document.querySelector('iframe') && true", "the report's frame")


FETCHED = """
performance.getEntriesByType("resource").map(entry => entry.name)
"""
CELLS = """
[...document.querySelectorAll("table")].map(table =>
    [...table.querySelectorAll("tr")].map(row =>
        [...row.cells].map(cell => cell.innerText.trim())))
"""


def test_the_report_says_all_by_itself(browser: Browser, swept: tuple[Path, Any]) -> None:
    folder = swept[0]
    browser.call("Page.navigate", url=(folder / "report.html").as_uri())
    browser.wait_for("document.querySelectorAll('figure svg').length > 0", "curves")
    assert browser.evaluate(FETCHED) == [], "it loads nothing"
    configurations, improvement, jobs = browser.evaluate(CELLS)
    assert configurations[0] == [
        "configuration",
        "return (IQM)",
        "95% interval",
        "seeds",
        "wall time",
        "jobs",
    ]
    labels = {row[0] for row in configurations[1:]}
    assert labels == {"strategy.learning_rate=0.003", "strategy.learning_rate=0.0003"}
    assert all((row[3], row[5]) == ("2", "2 done") for row in configurations[1:])
    recorded = json.loads((folder / "sweep.json").read_text())["jobs"]
    assert [row[5] for row in jobs[1:]] == [job["command"] for job in recorded]
    assert [row[3] for row in jobs[1:]] == [f"{job['objective']:.3f}" for job in recorded]
    # Two seeds: the interquartile mean is the mean.
    for row in configurations[1:]:
        mine = [job["objective"] for job in recorded if row[0] in job["overrides"]]
        assert row[1] == f"{sum(mine) / 2:.3f}"
    one, other = improvement[1][2].split()[0], improvement[2][1].split()[0]
    assert float(one) + float(other) == pytest.approx(1.0)
    # Nothing runs over the page's edge.
    assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
