"""One run of anneal.py: a method on a task with a seed, kept so that it is made only once."""

import hashlib
import json
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from anneal_tasks import SCRATCH, TASKS, Task

from journeyman.checkpoint import Checkpoint, load_checkpoint, write_json
from journeyman.composition import compose_settings
from journeyman.context import TrainingContext
from journeyman.env.build import make_env
from journeyman.orchestrator import Orchestrator
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.results import AnnealSummary, EvaluationResult, TrainingSummary
from journeyman.services.evaluation import evaluate
from journeyman.settings.root import Settings

ROOT = Path(__file__).resolve().parents[1]
VERSION = 2
"""Of what a kept result holds; raised where it changes."""

DEMONSTRATOR_SEED = 100
SNAPSHOTS = 4
"""Updates between two points of a curve."""

QUICK_SCRATCH_UPDATES = 48

DECISIVE = {
    *("seed", "strategy", "dataset", "anneal", "social_reward"),
    *("env", "policy", "evaluation", "checkpoint"),
}
"""Sections of the settings that a run's figures depend on."""


def demonstrator_path(name: str, cache: Path) -> Path:
    """Returns where a task's demonstrator is kept."""
    return cache / f"demonstrator-{name}-{TASKS[name].demonstrator_updates}.safetensors"


def make_demonstrator(name: str, cache: Path) -> Path | None:
    """Trains a task's demonstrator unless it is kept already; None: the task needs none."""
    updates, path = TASKS[name].demonstrator_updates, demonstrator_path(name, cache)
    if updates is None:
        return None
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            stopped = [f"strategy.updates={updates}", f"seed={DEMONSTRATOR_SEED}"]
            settings = compose_settings([*overrides_of(name, SCRATCH, quick=False), *stopped])
            settings = settings.model_copy(update={"outputs": folder})
            run_dir = Path(folder) / "run"
            Orchestrator(settings, run_dir=run_dir).run()
            final = run_dir / "checkpoints" / "final.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            final.replace(path)
    return path


def overrides_of(name: str, method: str, *, quick: bool) -> list[str]:
    """Returns the command-line overrides of a method on a task."""
    task = TASKS[name]
    practice = [*task.practice, *(task.quick_practice if quick else ())]
    shared = [
        *task.shared,
        "promotion=off",
        "tracking=none",
        *((task.quick or ()) if quick else ()),
    ]
    if method == SCRATCH:
        updates = QUICK_SCRATCH_UPDATES if quick else task.scratch_updates
        return [
            *shared,
            "strategy=ppo",
            f"strategy.updates={updates}",
            f"checkpoint.every={SNAPSHOTS}",
            *(f"strategy.{override}" for override in [*practice, *task.scratch]),
        ]
    return [
        *shared,
        "strategy=anneal",
        f"anneal={method}",
        f"checkpoint.every={SNAPSHOTS}",
        *task.imitation,
        *(task.quick_imitation if quick else ()),
        *(f"strategy.ppo.{override}" for override in practice),
    ]


def run_method(name: str, method: str, seed: int, cache: Path, *, quick: bool) -> dict[str, Any]:
    """Runs a method, or reads what it came to before with the same settings.

    Returns:
        task, method, seed, config (its digest), commit, steps, seconds, cpu_seconds; curve
        (steps, returns, and rates by event); untrained, demonstrator and its return in the
        curve's worlds, imitated (None from scratch) and final, each with return and rates;
        status and stages of a preset.
    """
    task = TASKS[name]
    player = make_demonstrator(name, cache)
    more = [] if player is None else [f"env.demonstrator={player}"]
    settings = compose_settings([*overrides_of(name, method, quick=quick), *more, f"seed={seed}"])
    digest = config_digest(settings, player)
    kept = cache / f"{name}-{method}-{seed}{'-quick' if quick else ''}.json"
    if kept.exists():
        record: dict[str, Any] = json.loads(kept.read_text())
        if record["config"] == digest:
            return record
    record = {"task": name, "method": method, "seed": seed, "config": digest, "commit": commit()}
    record |= measured(settings, task)
    write_json(kept, record)
    return record


def config_digest(settings: Settings, demonstrator: Path | None) -> str:
    """Returns a digest of all that decides what a run comes to, paths left out."""
    document = settings.model_dump(mode="json", include=DECISIVE)
    if demonstrator is not None:
        document["env"]["demonstrator"] = load_checkpoint(demonstrator).digest("policy")
    text = json.dumps([VERSION, document], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def measured(settings: Settings, task: Task) -> dict[str, Any]:
    """Runs, plays every snapshot, and returns the figures."""
    began, used = time.monotonic(), cpu_seconds()
    with tempfile.TemporaryDirectory() as folder, snapshots() as kept:
        result = Orchestrator(settings.model_copy(update={"outputs": folder})).run()
    assert isinstance(result, TrainingSummary | AnnealSummary)
    assert result.demonstrator is not None
    worlds = min(task.curve_worlds, settings.evaluation.episodes)
    played = played_curve(settings, kept, result.untrained.seeds[:worlds])
    kept_rates = {event: [one.rates[event] for _, one in played] for event in task.counts}
    figures: dict[str, Any] = {
        "steps": max(kept),
        "curve": {
            "steps": [steps for steps, _ in played],
            "returns": [one.episode_return.mean for _, one in played],
            "rates": kept_rates,
        },
        "demonstrator_in_curve": float(np.mean(result.demonstrator.episode_returns[:worlds])),
        "untrained": short(result.untrained, task),
        "demonstrator": short(result.demonstrator, task),
        "final": short(result.final, task),
        "imitated": None,
    }
    if isinstance(result, AnnealSummary):
        figures["imitated"] = short(result.stages[0].evaluation, task)
        figures["status"] = result.status
        figures["stages"] = [
            {
                "name": stage.name,
                "status": stage.status,
                "reason": stage.reason,
                "rolled_back": stage.rolled_back,
                "return": stage.evaluation.episode_return.mean,
                "diagnosis": stage.diagnosis.model_dump(),
                "digest": stage.training.weights_digest,
            }
            for stage in result.stages
        ]
    return figures | {
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(cpu_seconds() - used, 1),
    }


@contextmanager
def snapshots() -> Iterator[dict[int, NumpyActorCritic]]:
    """Yields a dictionary that fills with steps -> policy as runs in the block save them.

    Of several policies at the same steps the last is kept: what a rollback restored, what
    imitation left.
    """
    kept: dict[int, NumpyActorCritic] = {}
    save = TrainingContext.save

    def noting(self: TrainingContext, checkpoint: Checkpoint, *args: Any, **more: Any) -> Path:
        steps = int(checkpoint.state["counters"]["env_steps"])
        kept[steps] = NumpyActorCritic.from_checkpoint(checkpoint, with_values=False)
        return save(self, checkpoint, *args, **more)

    TrainingContext.save = noting  # type: ignore[method-assign]
    try:
        yield kept
    finally:
        TrainingContext.save = save  # type: ignore[method-assign]


def played_curve(
    settings: Settings, policies: dict[int, NumpyActorCritic], seeds: Sequence[int]
) -> list[tuple[int, EvaluationResult]]:
    """Plays every policy on the same worlds; returns (steps, evaluation) in their order."""
    evaluation = settings.evaluation.model_copy(update={"bootstrap_resamples": 100})
    stage = evaluation.social_stage
    env = make_env(settings.env, num_worlds=len(seeds), social_stage=stage)
    try:
        return [
            (
                steps,
                evaluate(
                    env,
                    policies[steps],
                    seeds=seeds,
                    social_stage=stage,
                    settings=evaluation,
                    rng=np.random.default_rng(settings.seed),
                ),
            )
            for steps in sorted(policies)
        ]
    finally:
        env.close()


def short(evaluation: EvaluationResult, task: Task) -> dict[str, Any]:
    """Returns an evaluation's mean return, and the rates that the table shows."""
    rates = {event: evaluation.rates[event] for event in task.counts}
    return {"return": evaluation.episode_return.mean, "rates": rates}


def cpu_seconds() -> float:
    """Returns the processor time that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def commit() -> str:
    """Returns the commit checked out."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip()
