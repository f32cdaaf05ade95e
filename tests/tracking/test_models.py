"""The trained policy is a model of the run in MLflow, without pickle and without torch."""

import json
import os
import subprocess
import sys

import pytest

from journeyman.composition import compose_settings
from journeyman.orchestrator import Orchestrator
from journeyman.tracking.calls import StoreFailed
from journeyman.tracking.operations import LogModel, RunReference, from_line, to_line
from journeyman.tracking.protocol import RunStatus
from support.commands import mlflow_client, without_torch

CARTPOLE_BC = (
    *("env=gymnasium", "env.id=CartPole-v1", "env.demonstrator=cartpole", "policy=small"),
    *("evaluation.episodes=2", "evaluation.bootstrap_resamples=100", "promotion=off"),
    *("strategy=bc", "strategy.epochs=1", "dataset.worlds=4", "dataset.ticks=60"),
)
PLAYING = """
import json, sys
import mlflow
import numpy as np

mlflow.set_tracking_uri(sys.argv[1])
seen = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
found = {}
for uri in sys.argv[2:]:
    model = mlflow.pyfunc.load_model(uri)
    drawn = model.predict(seen, params={"deterministic": False, "seed": 3})
    found[uri] = [model.predict(seen).tolist(), drawn.tolist(), model.model_id]
assert "torch" not in sys.modules
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Outputs with one run, in the folder ``run``."""
    folder = tmp_path_factory.mktemp("outputs")
    settings = compose_settings([*CARTPOLE_BC, f"outputs={folder}"])
    Orchestrator(settings, run_dir=folder / "run").run()
    return folder


def logged(client, outputs):
    run = client.get_run(json.loads((outputs / "run" / "tracking.json").read_text())["run_id"])
    return run, client.search_logged_models([run.info.experiment_id])


def test_the_policy_is_a_model_that_the_run_put_out(outputs):
    client = mlflow_client(outputs)
    run, (model,) = logged(client, outputs)
    assert (model.name, model.status.value) == ("policy", "READY")
    assert model.source_run_id == run.info.run_id
    assert [each.model_id for each in run.outputs.model_outputs] == [model.model_id]
    result = json.loads((outputs / "run" / "results.json").read_text())["result"]
    assert model.tags["weights_digest"] == result["weights_digest"]
    stored = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert stored >= {"report.html", "results.json", "config.yaml", "checkpoints"}
    files = {path.name for path in outputs.rglob("*") if path.is_file()}
    assert {"MLmodel", "policy.safetensors"} <= files
    pickles = {name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".pth"))}
    assert not pickles
    assert not [name for name in files if "cloudpickle" in name]


def test_mlflow_plays_it_where_there_is_no_torch(outputs, tmp_path):
    client = mlflow_client(outputs)
    run, (model,) = logged(client, outputs)
    uris = [
        f"models:/{model.model_id}",
        f"runs:/{run.info.run_id}/policy",
        str(outputs / "run" / "policy"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", PLAYING, f"sqlite:///{outputs}/mlflow.db", *uris],
        capture_output=True,
        text=True,
        timeout=250,
        cwd=tmp_path,
        env={**os.environ, **without_torch(tmp_path / "blocked")},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    best, drawn, model_id = found[uris[0]]
    assert all(found[uri] == [best, drawn, model_id] for uri in uris)
    assert model_id == model.model_id
    assert set(best) == {0, 1}
    assert drawn != best
    assert "will be ignored" not in done.stderr  # the params are known to the signature


def test_a_model_delivered_twice_or_in_two_halves_is_one(
    tracker, client, run_info, tmp_path, monkeypatch
):
    tracker.start(run_info())
    tracker.finish(RunStatus.FINISHED)
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    run = RunReference("job", tracker.run_id)
    operation = LogModel(run, str(folder), "policy", 64, {"weights_digest": "abc"})
    assert to_line(from_line(json.loads(json.dumps(to_line(operation))), {})) == to_line(operation)
    store = tracker._store
    with monkeypatch.context() as broken:
        broken.setattr(type(client), "log_outputs", lambda *_: 1 / 0)
        with pytest.raises(StoreFailed, match="division by zero"):
            store.log_model(operation)
    store.log_model(operation)
    store.log_model(operation)
    models = client.search_logged_models(
        [tracker.experiment_id], filter_string=f"source_run_id = '{tracker.run_id}'"
    )
    assert [(each.status.value, each.tags["weights_digest"]) for each in models] == [
        ("READY", "abc")
    ]
    outputs = client.get_run(tracker.run_id).outputs.model_outputs
    assert [(each.model_id, each.step) for each in outputs] == [(models[0].model_id, 64)]
    (folder / "MLmodel").unlink()
    store.log_model(operation)  # a folder that is gone is warned of, and is no outage
