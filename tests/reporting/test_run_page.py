"""Each run leaves a page: what it found, why, its curves, and how to run it again."""

import json
import re
from html.parser import HTMLParser

import pytest

from journeyman import orchestrator
from journeyman.composition import compose_settings
from journeyman.errors import TrainingError
from journeyman.orchestrator import Orchestrator
from journeyman.reporting.run_report import RunPage, render_run
from journeyman.tracking.sampling import SampledGroup
from support.commands import TINY

VOID = {"meta", "line", "polyline", "circle", "br"}


class Checker(HTMLParser):
    """Collects what a page would load, and complains of tags that are not closed."""

    def __init__(self):
        super().__init__()
        self.open, self.loads = [], []

    def handle_starttag(self, tag, attributes):
        self.loads += [value for name, value in attributes if name in ("src", "href")]
        assert tag != "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def checked(text):
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    assert checker.loads == []
    assert "url(" not in text
    return text


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("anneal")
    settings = compose_settings([*TINY, "tracking=none", f"outputs={folder}"])
    Orchestrator(settings, run_dir=folder / "run", overrides=["debug=fast", "x='<b>'"]).run()
    return folder / "run"


def test_the_page_of_a_schedule_says_what_it_found_and_why(run_dir):
    text = checked((run_dir / "report.html").read_text())
    result = json.loads((run_dir / "results.json").read_text())["result"]
    for name in ("untrained", "demonstrator", "final"):
        played = result[name]["episode_return"]
        assert f"{played['mean']:.3f}" in text
        assert f"[{played['low']:.3f}, {played['high']:.3f}]" in text
    assert result["reason"] in text
    for stage in result["stages"]:
        assert f"<td>{stage['name']}</td>" in text
        assert f'<span class="{stage["status"]}">{stage["status"]}</span>' in text
        diagnosis = stage["diagnosis"]
        for action, share in diagnosis["agreement_by_action"].items():
            (row,) = re.findall(rf"<tr><td><code>{action}</code></td>.*?</tr>", text, re.DOTALL)[:1]
            assert f">{share:.2f}</span>" in row
            assert f"{diagnosis['support'][action]:,}" in row
        for figure, form in (("kl_to_prior", ".3f"), ("value_rmse", ".3g")):
            if diagnosis[figure] is not None:
                assert format(diagnosis[figure], form) in text
        for reading in stage["guardrails"]:
            assert f"<code>{reading['name']}</code>" in text
    assert "journeyman debug=fast &#x27;x=&#x27;" in text
    assert f"journeyman rerun {run_dir}" in text
    assert "episode_ticks: 60" in text  # the config


def test_curves_are_grouped_by_what_measured_them(run_dir):
    text = (run_dir / "report.html").read_text()
    headings = re.findall(r"<h2>(\w+)</h2>", text)
    assert headings.index("eval") < headings.index("bc") < headings.index("ppo")
    assert {"anneal", "guard", "baseline"} <= set(headings)
    assert "<title>bc/loss</title>" in text
    assert ">epochs</text>" in text
    logged = (json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines())
    losses = [line["loss"] for line in logged if line["group"] == "bc"]
    picture = text[text.index("<title>bc/loss</title>") :]
    assert len(picture[: picture.index("</svg>")].split('points="')[1].split('"')[0].split()) == (
        len(losses)
    )


def work(monkeypatch, error):
    """Has the strategy log something and end with an error."""

    class Failing:
        def run(self, context, start):
            context.emit("bc", {"loss": 1.0}, 1)
            context.emit("bc", {"loss": 0.5}, 2)
            raise error

    monkeypatch.setattr(orchestrator, "load_strategy", lambda kind: Failing())


def test_a_run_that_failed_has_a_page_too(tmp_path, monkeypatch):
    work(monkeypatch, TrainingError("loss is <not> finite"))
    settings = compose_settings([*TINY, "tracking=none", f"outputs={tmp_path}"])
    with pytest.raises(TrainingError):
        Orchestrator(settings, run_dir=tmp_path / "run").run()
    text = checked((tmp_path / "run" / "report.html").read_text())
    assert "FAILED</span>: TrainingError: loss is &lt;not&gt; finite" in text
    assert "<title>bc/loss</title>" in text


def test_a_page_that_cannot_be_written_is_no_failure(tmp_path, monkeypatch, caplog):
    work(monkeypatch, TrainingError("the first error"))
    monkeypatch.setattr("journeyman.session.write_run_page", lambda *_, **__: 1 / 0)
    settings = compose_settings([*TINY, "tracking=none", f"outputs={tmp_path}"])
    with pytest.raises(TrainingError, match="the first error"):
        Orchestrator(settings, run_dir=tmp_path / "run").run()
    assert "page could not be written" in caplog.text


def test_what_was_left_out_of_a_long_log_is_said():
    lines = [{"group": "ppo", "step": step, "lr": step / 10} for step in range(5)]
    page = RunPage(
        title="ppo",
        status="FINISHED",
        confidence=0.95,
        command="journeyman",
        config="",
        metrics={"ppo": SampledGroup(lines, 5000)},
    )
    assert "5 of 5,000 points" in checked(render_run(page))
