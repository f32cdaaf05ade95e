"""The report of an experiment: runs started in every way, sorted by what they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from journeyman.composition import compose_settings
from journeyman.orchestrator import Orchestrator
from journeyman.reporting.comparison import Comparison, compare_jobs
from journeyman.reporting.report import render_report
from journeyman.rerun import rerun_run
from journeyman.sweeps.collect import gather
from support.cartpole import CARTPOLE
from support.commands import mlflow_client

TINY = ("strategy=ppo", "strategy.worlds=2", "strategy.rollout_ticks=8", "strategy.updates=1")
OTHER = ("strategy=bc", "strategy.epochs=1", "dataset.ticks=8", "dataset.worlds=2")
FASTER = "strategy.learning_rate=0.01"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store with a run of two overrides, three reruns of it, and two runs from Python."""
    folder = tmp_path_factory.mktemp("experiment") / "outputs"
    where = [*CARTPOLE, f"outputs={folder}", "env.demonstrator=cartpole"]

    def run(*overrides: str, said: bool) -> Path:
        given = [*overrides, *where]
        run_dir = folder / "-".join(each.partition("=")[2] for each in overrides if "=" in each)
        Orchestrator(
            compose_settings(given), run_dir=run_dir, overrides=given if said else None
        ).run()
        return run_dir

    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("MLFLOW_TRACKING_URI", raising=False)
        original = run(*TINY, said=True)
        rerun_run(original)
        rerun_run(original, ["seed=1"])
        rerun_run(rerun_run(original, ["seed=2", FASTER]), ["seed=3"])
        run(*TINY, "seed=4", said=False)
        run(*OTHER, said=False)
        yield folder


def jobs_and_comparison(outputs: Path) -> tuple[Any, Comparison]:
    gathered = gather(["journeyman"], uri=None, outputs=outputs)
    return gathered.jobs, compare_jobs(gathered.jobs)


def test_each_run_is_with_those_of_its_config(outputs: Path) -> None:
    """Reruns are with their original, whatever was changed; of Python's two each is what it is."""
    found = {each.label: each for each in jobs_and_comparison(outputs)[1].configurations}
    seeds = {
        label: sorted(job.seed for job in each.jobs if job.seed is not None)
        for label, each in found.items()
    }
    ours = [label for label in found if label.startswith("strategy=ppo")]
    assert sorted(seeds[label] for label in ours) == [[0, 0, 1, 4], [2, 3]]
    (faster,) = [label for label in ours if seeds[label] == [2, 3]]
    assert FASTER in faster.split()
    (other,) = found.keys() - set(ours)
    assert seeds[other] == [0]
    assert "strategy.kind=bc" in other.split(), "nobody said a word; its config does"


def test_a_seed_that_was_run_twice_is_counted_once_and_said(outputs: Path) -> None:
    jobs, comparison = jobs_and_comparison(outputs)
    (twice,) = [each for each in comparison.configurations if each.repeated]
    assert (twice.repeated, twice.contradicted, len(twice.scores)) == (1, 0, 3)
    page = render_report("experiment", None, jobs)
    assert "3 (1 run again)" in page
    assert "have not the same return" not in page


def test_the_command_of_a_job_runs_that_job(outputs: Path) -> None:
    """A rerun's is its original's with the changes; what Python ran, only a rerun runs again."""
    jobs, _ = jobs_and_comparison(outputs)
    by_seed: dict[int, list[Any]] = {}
    for job in jobs:
        by_seed.setdefault(job.seed, []).append(job)
    (third,) = by_seed[3]
    words = third.command.split()
    assert words[0] == "journeyman"
    assert {"strategy=ppo", FASTER, "seed=3"} <= set(words)
    assert "seed=2" not in words
    whole = compose_settings(words[1:]).model_dump(mode="json")
    # The run folder's, and its copy among the artifacts.
    saved = [yaml.safe_load(path.read_text()) for path in outputs.rglob("config.yaml")]
    assert [each for each in saved if each["seed"] == 3] == [whole, whole]
    client = mlflow_client(outputs)
    experiment = client.get_experiment_by_name("journeyman")
    (run,) = client.search_runs([experiment.experiment_id], "tags.seed = '4'")
    assert by_seed[4][0].command == f"journeyman rerun {run.info.run_id}"
