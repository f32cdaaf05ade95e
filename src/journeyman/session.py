"""One tracked run: its folder, its record, its tracker, and a truthful end."""

import hashlib
import json
import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from journeyman.checkpoint import load_checkpoint, write_json
from journeyman.context import Progress
from journeyman.environment import describe_environment
from journeyman.inputs import INPUTS_FILE, note_inputs, with_absolute_paths
from journeyman.policies.mlflow_flavor import write_model
from journeyman.record import OVERRIDES_FILE, save_record, saved_overrides
from journeyman.reporting.run_page import write_run_page
from journeyman.results import AnnealStageResult, AnnealSummary, RunResult
from journeyman.run_folder import RUNNING, note_status
from journeyman.settings.root import Settings
from journeyman.settings.tracking import without_passwords
from journeyman.stop_signals import StopSignals
from journeyman.tracking.composite import build_tracker
from journeyman.tracking.configuration import CONFIGURATION_TAG, configuration_digest
from journeyman.tracking.fetching import keep_log
from journeyman.tracking.protocol import RunInfo, RunStatus

_LOG = logging.getLogger(__name__)
_NAME_LENGTH = 100
POLICY_FOLDER = "policy"
"""The trained policy in the run folder, as a model that MLflow loads."""


class RunSession:
    """Opens a run folder and a tracked run; closes both with the status that is true.

    Args:
        settings: the validated configuration.
        run_dir: absolute run folder; made if it is missing.
        overrides: what was given on the command line, for the run's name and tags; None: nobody
            knows. Of a resumed run those count that it was begun with.
        progress: the live display, told to leave the screen at the end.
        position: of the tracker at the checkpoint the run is resumed from (``{}``: it had none);
            None: it is a new run.
    """

    def __init__(
        self,
        settings: Settings,
        run_dir: Path,
        overrides: Sequence[str] | None,
        progress: Progress,
        position: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings, self.run_dir, self.progress = settings, run_dir, progress
        self.signals = StopSignals()
        self.tracker = build_tracker(
            settings.tracking,
            settings.metrics_log,
            settings.outputs_path,
            run_dir,
            position=position,
        )
        self._is_new = position is None
        self.describe_course: Callable[[], Mapping[str, Any]] = dict
        given = None if overrides is None else without_passwords(overrides)
        self._overrides = given if self._is_new else saved_overrides(run_dir)

    def __enter__(self) -> Self:
        if self._is_new:
            save_record(self.settings, self.run_dir, self._overrides)
        config = self.settings.model_dump(mode="json")
        machine = describe_environment(
            torch_threads=self.settings.runtime.torch_threads,
            town_threads=self.settings.runtime.town_threads,
        )
        # What the run began with stays on record; a resumed one is warned where it differs.
        if not (self.run_dir / "environment.json").is_file():
            note_inputs(config, self.run_dir)
            write_json(self.run_dir / "environment.json", machine)
        note_status(self.run_dir, RUNNING)
        self.signals.__enter__()
        try:
            self.tracker.start(self._run_info(config, machine))
            self.tracker.artifact(self.run_dir / "config.yaml")
            self.tracker.artifact(self.run_dir / "environment.json")
            for name in (OVERRIDES_FILE, INPUTS_FILE):
                if (self.run_dir / name).is_file():
                    self.tracker.artifact(self.run_dir / name)
        except BaseException as error:
            killed = not isinstance(error, Exception)
            note_status(self.run_dir, (RunStatus.KILLED if killed else RunStatus.FAILED).value)
            self.signals.__exit__()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        status = RunStatus.FINISHED
        if kind is not None:
            # Ctrl-C, an exit and a stop asked for by a signal are no errors of the work.
            status = RunStatus.FAILED if issubclass(kind, Exception) else RunStatus.KILLED
        self.signals.end(is_bounded=status is RunStatus.KILLED)
        try:
            self._end(status, "" if kind is None else f"{kind.__name__}: {error}"[:5000])
        except Exception:
            # A run is finished with its tracking, so that this one can be gone on with.
            status = RunStatus.FAILED if status is RunStatus.FINISHED else status
            raise
        finally:
            try:
                note_status(self.run_dir, status.value)
            finally:
                self.signals.__exit__()

    def _end(self, status: RunStatus, said: str) -> None:
        """Ends display and tracking.

        Args:
            status: how the run ended.
            said: what ended it, if it did not end as it should.
        """
        self.progress.close()
        try:
            if said:
                self.tracker.tag({"error": said})
                page = self._write_page(status, error=said)
                # Whoever stopped the run is waiting; the page lies in its folder.
                if page is not None and status is RunStatus.FAILED:
                    self.tracker.artifact(page)
        finally:
            self.tracker.finish(status)

    def conclude(self, result: RunResult, seconds: float) -> None:
        """Writes ``results.json`` and hands results and final policy to the tracker.

        Args:
            result: of the strategy.
            seconds: wall time of the run, that before a resumed one's checkpoint included.
        """
        document = {
            "strategy": self.settings.strategy.kind,
            "seed": self.settings.seed,
            "result": result.model_dump(mode="json"),
            "duration_sec": seconds,
        }
        write_json(self.run_dir / "results.json", document)
        if isinstance(result, AnnealSummary):
            self.tracker.tag({"status": result.status, "reason": result.reason})
        for name in ("results.json", "anneal_results.json", "promotion.json"):
            if (self.run_dir / name).is_file():
                self.tracker.artifact(self.run_dir / name)
        keep_log(self.run_dir, self.tracker)
        final = self.run_dir / "checkpoints" / "final.safetensors"
        if final.is_file():
            self.tracker.artifact(final, "checkpoints")
            checkpoint = load_checkpoint(final)
            known_by = write_model(checkpoint, self.run_dir / POLICY_FOLDER)
            steps = int(checkpoint.state["counters"]["env_steps"])
            self.tracker.model(self.run_dir / POLICY_FOLDER, "policy", steps, known_by)
        page = self._write_page(RunStatus.FINISHED, result=result, seconds=seconds)
        if page is not None:
            self.tracker.artifact(page)

    def _write_page(self, status: RunStatus, **found: Any) -> Path | None:
        """Writes ``report.html``; that it could not be drawn is no failure of the run."""
        try:
            return write_run_page(
                self.run_dir,
                title=run_name(self.settings, self._overrides or ()),
                status=status.value,
                confidence=self.settings.evaluation.confidence,
                overrides=self._overrides,
                stages=self._judged(),
                **found,
            )
        except OSError as reason:
            # What a run failed on stops its page, too, and is said already.
            if status is not RunStatus.FAILED:
                _LOG.warning("%s: the run's page could not be written: %s", self.run_dir, reason)
            return None
        except Exception:
            _LOG.warning("%s: the run's page could not be written", self.run_dir, exc_info=True)
            return None

    def _judged(self) -> list[AnnealStageResult]:
        """Returns the stages of a schedule that were judged so far."""
        schedule = self.describe_course().get("schedule") or {}
        return [AnnealStageResult.model_validate(each) for each in schedule.get("stages", ())]

    def _run_info(self, config: dict[str, Any], machine: dict[str, Any]) -> RunInfo:
        settings = self.settings
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        tags = {
            "kind": "job",
            "seed": str(settings.seed),
            "strategy": settings.strategy.kind,
            "config.digest": digest,
            CONFIGURATION_TAG: configuration_digest(with_absolute_paths(config)),
            "run_dir": str(self.run_dir),
        }
        if self._overrides is not None:
            tags["overrides"] = shlex.join(self._overrides)
        if machine["git"] is not None:
            tags["git.commit"] = machine["git"]["commit"]
            tags["git.dirty"] = str(machine["git"]["dirty"]).lower()
        tracking = settings.tracking
        given = getattr(tracking, "run_name", None)
        return RunInfo(
            experiment=getattr(tracking, "experiment", "journeyman"),
            name=given or run_name(settings, self._overrides or ()),
            run_dir=self.run_dir,
            params=flatten(config),
            tags=tags,
        )


def run_name(settings: Settings, overrides: Sequence[str]) -> str:
    """Returns what varies: strategy, schedule, the seed, the leaves that were overridden.

    ``strategy.ppo.clip=0.1`` is shortened to ``clip=0.1``; it is cut at 100 characters.
    """
    kind = settings.strategy.kind
    head = f"{kind}={settings.anneal.label}" if kind == "anneal" else kind
    silent = ("strategy", "anneal", "seed", "experiment", "debug")
    said = []
    for override in overrides:
        key, _, value = override.partition("=")
        if key not in silent and not key.startswith(("tracking", "hydra", "outputs")):
            said.append(f"{key.lstrip('+~').rpartition('.')[2]}={value}")
    # The seed comes early: narrow columns cut a name's end.
    name = " ".join([head, f"seed={settings.seed}", *said])
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 3] + "..."


def flatten(config: Any, prefix: str = "") -> dict[str, object]:
    """Returns the leaves of a config by dotted key; lists of plain values stay whole.

    >>> flatten({"a": {"b": 1, "c": [1, 2]}, "d": [{"e": 2}]})
    {'a.b': 1, 'a.c': [1, 2], 'd.0.e': 2}
    """
    leaves: dict[str, object] = {}
    children = config.items() if isinstance(config, dict) else enumerate(config)
    for name, child in children:
        nested = isinstance(child, dict) or (
            isinstance(child, list) and any(isinstance(item, dict) for item in child)
        )
        if nested and child:
            leaves |= flatten(child, f"{prefix}{name}.")
        else:
            leaves[f"{prefix}{name}"] = child
    return leaves
