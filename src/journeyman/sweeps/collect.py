"""Jobs as a report needs them: from a sweep's folder, or from what MLflow knows of them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from journeyman.errors import UserError
from journeyman.sweeps.record import (
    JobRecord,
    SweepRecord,
    config_options,
    experiment_overrides,
)
from journeyman.tracking.address import StoreAddress, resolve_address
from journeyman.tracking.configuration import configuration_digest
from journeyman.tracking.history import CURVES, SCORE, JobHistory, RunReader
from journeyman.tracking.identity import RunIdentity
from journeyman.tracking.jsonl import read_metrics

_RUN_ID_LENGTH = 32


@dataclass(frozen=True)
class Gathered:
    """The jobs of a report, and what they are of.

    Attributes:
        title: of the report.
        command: of the one sweep they are of, else None.
        jobs: at least one.
        sweep_dir: folder of the one sweep they are of, else None.
    """

    title: str
    command: str | None
    jobs: tuple[JobHistory, ...]
    sweep_dir: Path | None


def gather(sources: Sequence[str], *, uri: str | None, outputs: Path) -> Gathered:
    """Finds the jobs of run folders, sweep folders, run ids and experiments.

    Of a folder that was tracked only the id of its run is read; what MLflow knows counts.

    Args:
        sources: each a path, a run id, or the name of an experiment.
        uri: tracking URI of ids and names; None: as a run would choose.
        outputs: absolute outputs folder, home of the embedded store.

    Raises:
        UserError: a source is none of these, or has no job.
    """
    # Of a source that is given twice no seed was run again.
    named = {Path(each).resolve() if Path(each).is_dir() else each: each for each in sources}
    parts = [_gathered(source, uri, outputs) for source in named.values()]
    if len(parts) == 1:
        return parts[0]
    jobs: list[JobHistory] = [job for part in parts for job in part.jobs]
    return Gathered(" and ".join(part.title for part in parts), None, tuple(jobs), None)


def _gathered(source: str, uri: str | None, outputs: Path) -> Gathered:
    folder = Path(source)
    if folder.is_dir():
        return _of_folder(folder.resolve(), uri, outputs)
    reader = RunReader(resolve_address(uri, outputs))
    if len(source) == _RUN_ID_LENGTH and set(source) <= set("0123456789abcdef"):
        return _named(source, reader.about(source), reader.jobs_of_run(source), None)
    if os.sep in source:
        raise UserError(f"{source}: no such folder")
    jobs = reader.jobs_of_experiment(source)
    return _named(source, {"title": f"experiment {source}"}, jobs, None)


def _of_folder(folder: Path, uri: str | None, outputs: Path) -> Gathered:
    identity = RunIdentity.read(folder)
    if identity is not None:
        reader = RunReader(_address(identity, uri, outputs))
        about = reader.about(identity.run_id)
        sweep_dir = folder if about["kind"] == "sweep" else None
        return _named(str(folder), about, reader.jobs_of_run(identity.run_id), sweep_dir)
    record = SweepRecord.read(folder)
    about = {"title": title_of(record), "command": record.command}
    return _named(str(folder), about, jobs_in(folder, record), folder)


def _address(identity: RunIdentity, uri: str | None, outputs: Path) -> StoreAddress:
    """Returns the store that was asked for, else the one a folder was tracked in.

    A password comes from the surroundings. An embedded store that is not where it was has moved
    with its outputs folder.
    """
    chosen = resolve_address(uri, outputs)
    if uri is not None or chosen.shown == identity.tracking_uri:
        return chosen
    own = resolve_address(identity.tracking_uri, outputs)
    moved = own.database is not None and not own.database.exists()
    return chosen if moved else own


def _named(
    source: str, about: dict[str, str], jobs: list[JobHistory], sweep_dir: Path | None
) -> Gathered:
    if not jobs:
        raise UserError(f"{source}: has no job yet")
    return Gathered(about["title"], about.get("command"), tuple(jobs), sweep_dir)


def title_of(record: SweepRecord) -> str:
    """Returns what a sweep is called: the overrides that vary in it, or all there are."""
    options = config_options(record.argv)
    given = (word for word in record.argv if not word.startswith("-") and word not in options)
    words = experiment_overrides(given)
    varied = [word for word in words if "," in word or "(" in word]
    return " ".join(["sweep", *(varied or words)])


def jobs_in(sweep_dir: Path, record: SweepRecord) -> list[JobHistory]:
    """Returns a sweep's jobs from its folder alone, MLflow or none.

    Args:
        sweep_dir: folder of the sweep.
        record: its account, up to date.
    """
    return [_job(sweep_dir / job.folder, job) for job in record.jobs]


def _job(run_dir: Path, job: JobRecord) -> JobHistory:
    curves, config = _curves(run_dir), _config(run_dir)
    last = curves.get(SCORE)
    return JobHistory(
        name=job.folder,
        overrides=job.overrides,
        seed=None if config is None else int(config["seed"]),
        status=job.status.value,
        reason=job.error,
        score=None if last is None else last[1][-1],
        duration_sec=job.duration_sec,
        command=job.command,
        curves=curves,
        digest=None if config is None else configuration_digest(config),
    )


def _curves(run_dir: Path) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    if not (run_dir / "metrics.jsonl").is_file():
        return {}
    points: dict[str, dict[int, float]] = {}
    wanted = [metric.partition("/")[::2] for metric in CURVES]
    for line in read_metrics(run_dir):
        for group, name in wanted:
            if line["group"] == group and name in line:
                points.setdefault(f"{group}/{name}", {})[line["step"]] = float(line[name])
    return {
        metric: (tuple(map(float, sorted(at))), tuple(at[step] for step in sorted(at)))
        for metric, at in points.items()
    }


def _config(run_dir: Path) -> dict[str, Any] | None:
    path = run_dir / "config.yaml"
    if not path.is_file():
        return None
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    return config
