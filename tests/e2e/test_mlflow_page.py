"""MLflow's page as a browser draws it: the printed link shows a job's curves at once."""

import contextlib
import fcntl
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from typing import Any

import pytest

from support.commands import TINY, journeyman, mlflow_client

pytestmark = pytest.mark.slow

PATIENCE = 40.0
"""Seconds a page has to draw itself; it takes four on an idle machine of two cores."""

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",  # Chromium refuses to run as root otherwise, as containers do
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1600,1200",
    "--remote-debugging-pipe",
)


class Browser:
    """Chromium, told what to do over its DevTools pipe: JSON that ends with a zero byte."""

    def __init__(self, program: str, profile: Any) -> None:
        from_us, to_browser = os.pipe()
        from_browser, to_us = os.pipe()
        # Chromium reads descriptor 3 and writes descriptor 4; ours must not be one of them.
        theirs = [fcntl.fcntl(each, fcntl.F_DUPFD, 20) for each in (from_us, to_us)]
        redirect = f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}'
        self.log = (profile / "chromium.log").open("w+")
        self.process = subprocess.Popen(
            ["bash", "-c", redirect, "chromium", program, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        for descriptor in (from_us, to_us, *theirs):
            os.close(descriptor)
        self._out, self._in, self._unread = to_browser, from_browser, b""
        self._calls, self._session = 0, None
        pages = self.call("Target.getTargets")["targetInfos"]
        page = next(each["targetId"] for each in pages if each["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            while b"\0" not in self._unread:
                left = max(0.0, deadline - time.monotonic())
                ready, _, _ = select.select([self._in], [], [], left)
                part = os.read(self._in, 1 << 16) if ready else b""
                if not part:
                    self.log.seek(0)
                    pytest.fail(f"Chromium does not answer {method}:\n{self.log.read()[-2000:]}")
                self._unread += part
            line, self._unread = self._unread.split(b"\0", 1)
            answer = json.loads(line)
            if answer.get("id") == self._calls:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        # While a page is being replaced there is nothing to evaluate in.
        return None if "exceptionDetails" in answer else answer["result"].get("value")

    def wait_for(self, expression: str, what: str) -> Any:
        """Waits until an expression is true, and returns its value."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if value := self.evaluate(expression):
                return value
            time.sleep(0.2)
        seen = self.evaluate("document.body.innerText")
        pytest.fail(f"the page does not show {what}; it shows:\n{seen}")

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for descriptor in (self._out, self._in):
            os.close(descriptor)
        self.log.close()


@pytest.fixture(scope="module")
def program():
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        if "CI" in os.environ:
            pytest.fail("Chromium is not installed (Debian: apt-get install chromium)")
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    return found


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


@contextlib.contextmanager
def page_server(outputs):
    """Runs ``journeyman ui`` and yields the link it prints."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A file of the user's own that bears the name of a library of MLflow's server.
    (outputs.parent / "flask.py").write_text("raise RuntimeError('the wrong flask')")
    command = [sys.executable, "-m", "journeyman", "ui", "--outputs", str(outputs)]
    server = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=outputs.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": ""},
    )
    try:
        line = server.stdout.readline()
        assert line.startswith("The curves: http://"), line + server.stdout.read()
        yield line.removeprefix("The curves: ").strip()
    finally:
        server.terminate()
        server.communicate(timeout=20)


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
RUN_NAMES = """
[...document.querySelectorAll("a[href*='/runs/']")].map(link => link.innerText.trim())
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
    browser.call("Page.navigate", url=f"{page}/artifacts")
    for file in ("config.yaml", "environment.json", "results.json", "policy"):
        browser.wait_for(f"document.body.innerText.split('\\n').includes({file!r})", file)
    last = (
        """[...document.querySelectorAll("*")].filter(each => each.innerText === "config.yaml")"""
    )
    browser.evaluate(f"{last}.pop().click()")
    browser.wait_for("document.body.innerText.includes('kitchen_breakfast')", "the config's text")
