"""A sweep as a browser shows it: on MLflow's page, and in its own report."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.browser import RUN_NAMES, Browser, find_chromium, page_server
from support.commands import journeyman, mlflow_client

pytestmark = pytest.mark.slow

SWEEP = (
    "--multirun",
    "strategy.learning_rate=0.001,0.0003",
    "seed=range(0,2)",
    "strategy=ppo",
    "strategy.worlds=2",
    "strategy.rollout_ticks=64",
    "strategy.updates=5",
    "env=gymnasium",
    "env.id=CartPole-v1",
    "policy=small",
    "promotion=off",
    "evaluation.episodes=2",
    "evaluation.bootstrap_resamples=100",
)


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
        "ppo seed=0 learning_rate=0.001",
        "ppo seed=1 learning_rate=0.0003",
        "ppo seed=1 learning_rate=0.001",
    ]
    # Unfolded, its jobs' curves are drawn.
    browser.wait_for("document.querySelectorAll('.js-plotly-plot').length > 0", "charts")


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
    assert labels == {"strategy.learning_rate=0.001", "strategy.learning_rate=0.0003"}
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
