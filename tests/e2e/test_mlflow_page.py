"""MLflow's page as a browser draws it: the printed link shows a job's curves at once."""

import pytest

from support.browser import RUN_NAMES, Browser, find_chromium, page_server
from support.commands import TINY, journeyman, mlflow_client

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program():
    return find_chromium()


@pytest.fixture(scope="module")
def job(program, tmp_path_factory):
    """The outputs folder of one tiny job, and its run as the store knows it."""
    folder = tmp_path_factory.mktemp("job")
    done = journeyman(*TINY, "seed=3", cwd=folder)
    assert done.returncode == 0, done.stderr
    client = mlflow_client(folder / "outputs")
    experiment = client.get_experiment_by_name("journeyman")
    (run,) = client.search_runs([experiment.experiment_id], "tags.kind = 'job'")
    history = {
        key: [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, key)]
        for key in ("bc/loss", "eval/return_mean")
    }
    return folder / "outputs", run, history


@pytest.fixture(scope="module")
def link(job):
    with page_server(job[0]) as printed:
        yield printed


@pytest.fixture
def browser(program, tmp_path):
    opened = Browser(program, tmp_path)
    yield opened
    opened.close()


HEADERS = """
[...document.querySelectorAll("[data-testid=experiment-view-compare-runs-section-header]")]
"""
SECTION = 'header.innerText.split("(")[0].trim()'
SECTIONS = f"{HEADERS}.map(header => {SECTION})"
CURVES = """
Object.fromEntries([...document.querySelectorAll(".js-plotly-plot")]
    .flatMap(plot => plot.data || [])
    .map(line => [line.metricKey, [line.name, Array.from(line.x), Array.from(line.y)]]))
"""


def test_the_printed_link_draws_the_curves_of_the_job(browser, link, job):
    _, run, history = job
    # A fresh profile: nothing was clicked or remembered before.
    browser.call("Page.navigate", url=link)
    browser.wait_for("document.querySelectorAll('.js-plotly-plot').length > 0", "charts")
    sections = browser.evaluate(SECTIONS)
    assert {
        "anneal",
        "baseline",
        "bc",
        "eval",
        "guard",
        "ppo",
        "promotion",
        "reward",
        "time",
    } <= set(sections)
    # Stages are folded under their job.
    assert browser.evaluate(RUN_NAMES) == [run.info.run_name]
    for key, points in history.items():
        # Charts are drawn when they come into view.
        header = f"{HEADERS}.find(header => {SECTION} === {key.partition('/')[0]!r})"
        browser.evaluate(f"{header}.scrollIntoView()")
        # Plotly holds what it draws: the run's name, its steps, its values.
        name, steps, values = browser.wait_for(f"({CURVES})[{key!r}]", f"a curve of {key}")
        assert name == run.info.run_name
        assert list(zip(steps, values, strict=True)) == points
        titles = browser.evaluate("document.body.innerText").splitlines()
        assert key in titles
    # Four cloning epochs in the quick schedule; a point after each of its two stages, and one more
    # for the policy that is left where the last was rolled back.
    assert len(history["bc/loss"]) == 4
    assert len(history["eval/return_mean"]) in (2, 3)


def test_stages_unfold_under_their_job(browser, link, job):
    browser.call("Page.navigate", url=link)
    row = f"""
        [...document.querySelectorAll(".ag-cell-wrapper")]
            .find(cell => cell.querySelector("a")?.innerText.trim() === {job[1].info.run_name!r})
    """
    browser.wait_for(f"{row}?.querySelector('button') && true", "a job that unfolds")
    browser.evaluate(f"{row}.querySelector('button').click()")
    browser.wait_for(f"({RUN_NAMES}).length > 1 && true", "stages")
    assert browser.evaluate(RUN_NAMES) == [job[1].info.run_name, "01-ppo", "00-bc"]


def test_the_page_of_a_run_tells_its_end_and_keeps_its_files(browser, link, job):
    server, run = link.partition("/#/")[0], job[1]
    page = f"{server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    browser.call("Page.navigate", url=page)
    browser.wait_for("document.body?.innerText.includes('strategy.ppo.clip')", "parameters")
    text = browser.evaluate("document.body.innerText")
    assert run.info.run_name in text
    assert "Finished" in text
    assert run.data.tags["reason"] in text
    # The logged model stands among what the run made.
    browser.wait_for("document.body.innerText.split('\\n').includes('policy')", "the policy")
    browser.call("Page.navigate", url=f"{page}/artifacts")
    for file in ("config.yaml", "environment.json", "results.json", "report.html", "checkpoints"):
        browser.wait_for(f"document.body.innerText.split('\\n').includes({file!r})", file)
    last = (
        """[...document.querySelectorAll("*")].filter(each => each.innerText === "config.yaml")"""
    )
    browser.evaluate(f"{last}.pop().click()")
    browser.wait_for("document.body.innerText.includes('kitchen_breakfast')", "the config's text")
