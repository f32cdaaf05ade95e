"""The data of a run stand on its page: what it learned from, and what it was judged by."""

import json
from pathlib import Path

import mlflow.data

from journeyman.composition import compose_settings
from journeyman.orchestrator import Orchestrator
from journeyman.tracking.inputs import dataset_operation
from journeyman.tracking.operations import RunReference, from_line, to_line
from journeyman.tracking.protocol import DatasetInfo, RunStatus
from journeyman.tracking.redelivery import deliver_spool
from journeyman.tracking.spool import Spool, SpoolHead, spooled_lines
from support.commands import mlflow_client

PLAY = DatasetInfo(
    name="scripted",
    digest="0123456789abcdef" * 4,
    source="captured: scripted, seed 7, 4 worlds x 60 ticks",
    context="training",
    profile={"transitions": 240, "trajectories": 4},
)


def inputs_of(client, run_id):
    """Returns (context, dataset, profile) of each input of a run, by context."""
    found = [
        (
            {tag.key: tag.value for tag in each.tags}["mlflow.data.context"],
            each.dataset,
            json.loads(each.dataset.profile),
        )
        for each in client.get_run(run_id).inputs.dataset_inputs
    ]
    return sorted(found, key=lambda one: one[0])


def test_data_are_inputs_of_the_jobs_run_once(tracker, client, run_info):
    tracker.start(run_info())
    tracker.dataset(PLAY)
    tracker.dataset(PLAY)  # as a resumed run does
    tracker.finish(RunStatus.FINISHED)
    ((context, dataset, profile),) = inputs_of(client, tracker.run_id)
    assert (context, dataset.name) == ("training", "scripted")
    assert PLAY.digest.startswith(dataset.digest)
    assert len(dataset.digest) == 32
    assert profile == {"transitions": 240, "trajectories": 4, "sha256": PLAY.digest}
    assert dataset.source_type == "code"
    assert json.loads(dataset.source) == {"tags": {"origin": PLAY.source}}


def test_mlflow_finds_the_manifest_of_data_that_have_one(tracker, client, run_info, tmp_path):
    manifest = tmp_path / "manifest.json"
    manifest.write_text("[]")
    tracker.start(run_info())
    tracker.dataset(
        DatasetInfo(name="kept", digest="a" * 64, source=str(manifest), context="replay")
    )
    tracker.finish(RunStatus.FINISHED)
    (logged,) = client.get_run(tracker.run_id).inputs.dataset_inputs
    assert Path(mlflow.data.get_source(logged).load()).read_text() == "[]"


def test_data_named_in_an_outage_arrive_with_the_spool(tracker, client, run_info, outputs):
    info = run_info()
    tracker.start(info)
    tracker.finish(RunStatus.FINISHED)
    operation = dataset_operation(RunReference("job", tracker.run_id), PLAY)
    line = json.loads(json.dumps(to_line(operation)))
    assert to_line(from_line(line, {})) == to_line(operation)
    head = SpoolHead(tracking_uri=tracker.tracking_uri, experiment="tests", outputs=str(outputs))
    Spool(info.run_dir, head).append(spooled_lines([operation]))
    assert deliver_spool(info.run_dir, uri=None) == (1, 0)
    ((context, dataset, _),) = inputs_of(client, tracker.run_id)
    assert (context, dataset.name, dataset.digest) == ("training", "scripted", PLAY.digest[:32])


def test_names_and_sources_beyond_mlflows_room_are_cut(tracker, client, run_info):
    long = DatasetInfo(name="n" * 600, digest="b" * 64, source="s" * 70_000, context="training")
    tracker.start(run_info())
    tracker.dataset(long)
    tracker.finish(RunStatus.FINISHED)
    ((_, dataset, _),) = inputs_of(client, tracker.run_id)
    assert dataset.name == "n" * 500


CARTPOLE = (
    *("env=gymnasium", "env.id=CartPole-v1", "env.demonstrator=cartpole", "policy=small"),
    *("evaluation.episodes=2", "evaluation.bootstrap_resamples=100", "promotion=off"),
)


def run(tmp_path, *overrides):
    """Runs in the outputs folder of a test; returns the inputs of its run."""
    folder = tmp_path / f"run {len([*tmp_path.iterdir()])}"
    settings = compose_settings([*CARTPOLE, f"outputs={tmp_path}/outputs", *overrides])
    Orchestrator(settings, run_dir=folder).run()
    client = mlflow_client(tmp_path / "outputs")
    return inputs_of(client, json.loads((folder / "tracking.json").read_text())["run_id"])


def test_a_run_names_what_it_learned_from_and_what_it_held_out(tmp_path):
    bc = ("strategy=bc", "strategy.epochs=1", "strategy.val_fraction=0.25")
    size = ("dataset.worlds=4", "dataset.ticks=60", "dataset.save=true")
    held_out, training = run(tmp_path, *bc, *size)
    assert (training[0], held_out[0]) == ("training", "held-out")
    assert training[1].name == "cartpole"
    assert "60 ticks" in json.loads(training[1].source)["tags"]["origin"]
    assert training[2]["transitions"] == 4 * 60
    # A quarter of four worlds is one, and a world of CartPole is one lane.
    assert training[2]["held_out_transitions"] == held_out[2]["transitions"]
    assert held_out[2]["trajectories"] >= 1
    assert held_out[2]["of"] == training[2]["sha256"]
    assert held_out[1].digest != training[1].digest

    # The same data from a manifest have the same digest; recorded play is an input too.
    (manifest,) = (tmp_path / "run 0" / "capture").glob("*_manifest.json")
    data = ("dataset=manifest", f"dataset.manifest={manifest}")
    _, again = run(tmp_path, *bc, *data)
    assert again[2]["sha256"] == training[2]["sha256"]
    practice = ("strategy=ppo", "strategy.data_mode=replay", "strategy.updates=1")
    ((context, dataset, profile),) = run(
        tmp_path, *practice, *data, "dataset.recompute_log_probs=true"
    )
    assert (context, profile["transitions"]) == ("training", 4 * 60)
    assert json.loads(dataset.source) == {"uri": str(manifest)}
    ((context, *_),) = run(tmp_path, "strategy=replay", *data)
    assert context == "replay"
