"""A run that is ended at any moment and resumed ends as one that was not: same bits, same metrics.

Two ways of ending: asked to stop, which it answers at a safe point with a checkpoint; and killed,
which leaves whatever happens to be there. Here "killed" is an exception that nobody catches,
raised by the tracker or by the write of a checkpoint.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from journeyman.checkpoint import load_checkpoint
from journeyman.composition import compose_settings
from journeyman.context import RunStopped, TrainingContext
from journeyman.results import PromotionSnapshot, RunResult, TrainingSummary
from journeyman.services.promotion import PromotionStore
from journeyman.settings.guardrails import HealthGuardrail
from journeyman.strategies import training
from support.anneal import IMITATE, PRACTISE, Recorder, context_for

TAUGHT = {**IMITATE, "epochs": 4}
DESTROYED = {"cycle": 1, "mode": "ppo", "epochs": 4, "learning_rate": 1.0}
PRACTISED = {**PRACTISE, "cycle": 2, "epochs": 2}
HELD = {**PRACTISE, "cycle": 3, "epochs": 4}
STAGES = (TAUGHT, DESTROYED, PRACTISED, HELD, {**PRACTISED, "cycle": 4})

STRATEGIES = {
    "anneal": training.anneal_strategy,
    "bc": training.bc_strategy,
    "ppo": training.ppo_strategy,
}


class Killed(BaseException):
    """The process is gone; nobody has time to do anything about it."""


class Run:
    """One run folder, and the processes that work on it one after the other."""

    def __init__(
        self, folder: Path, strategy: str = "anneal", champion: Path | None = None
    ) -> None:
        self.folder, self.strategy, self.champion = folder, strategy, champion
        self.emissions: list[tuple[str, dict[str, Any], int]] = []
        self.asked = 0
        self.saved = 0

    def go(
        self,
        *,
        stop_at: int | None = None,
        kill_at_emission: int | None = None,
        kill_at_save: int | None = None,
    ) -> RunResult:
        """Begins or resumes it.

        Args:
            stop_at: the safe point at which it is asked to stop.
            kill_at_emission: it is killed instead of making this emission.
            kill_at_save: it is killed instead of writing this checkpoint.
        """
        context = self.context()
        self.asked = self.saved = 0
        self.resume(context)
        log, save = context.tracker.log, context.save

        def asks() -> int | None:
            self.asked += 1
            return 15 if stop_at is not None and self.asked > stop_at else None

        def dying_log(group: str, metrics: Mapping[str, Any], step: int) -> None:
            if kill_at_emission is not None and len(self.emissions) == kill_at_emission:
                raise Killed
            log(group, metrics, step)

        def dying_save(checkpoint: Any, name: str = "latest") -> Path:
            self.saved += 1
            if kill_at_save is not None and self.saved > kill_at_save:
                raise Killed
            return save(checkpoint, name)

        context.stop_requested = asks
        context.tracker.log = dying_log  # type: ignore[method-assign]
        context.save = dying_save  # type: ignore[method-assign]
        return STRATEGIES[self.strategy]().run(context, None)

    def context(self) -> TrainingContext:
        context = context_for(self.folder, *STAGES, episodes=8)
        settings = context.settings
        # Every update is out of bounds, so that only stages of 4 updates trip.
        held = HealthGuardrail(
            enabled=True,
            on_trip="hold",
            max_kl=1e-9,
            max_grad_norm=1e9,
            min_entropy=0.0,
            consecutive=4,
        )
        guardrails = settings.anneal.guardrails.model_copy(update={"health": held})
        anneal = settings.anneal.model_copy(update={"guardrails": guardrails})
        update: dict[str, Any] = {"anneal": anneal}
        update["checkpoint"] = settings.checkpoint.model_copy(update={"every": 3})
        if self.champion is not None:
            gate = compose_settings([f"promotion.champion={self.champion}"]).promotion
            changes: dict[str, Any] = {
                "evaluations": 3,
                "episodes": 4,
                "non_inferiority_margin": 1e6,
            }
            changes["max_rate_increase"] = {}
            update["promotion"] = gate.model_copy(update=changes)
        if self.strategy != "anneal":
            shorter = {"epochs": 5} if self.strategy == "bc" else {}
            update["strategy"] = getattr(settings, self.strategy)().model_copy(update=shorter)
        context.settings = settings.model_copy(update=update)
        return context

    def resume(self, context: TrainingContext) -> None:
        """Puts the context where the last checkpoint stands, and the log back to it."""
        tracker = context.tracker
        assert isinstance(tracker, Recorder)
        latest = context.checkpoint_path("latest")
        if latest.exists():
            context.resumed = load_checkpoint(latest)
        position = 0
        if context.resumed is not None:
            position = context.resumed.state["tracker"]["lines"]
        del self.emissions[position:]
        tracker.emissions.calls = self.emissions
        context.tracker_position = lambda: {"lines": len(self.emissions)}

    def timeless(self) -> list[Any]:
        """What was emitted, without durations."""
        return [
            (group, without_times(metrics), step)
            for group, metrics, step in self.emissions
            if group != "time"
        ]


def without_times(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {k: without_times(v) for k, v in node.items() if not k.endswith("_sec")}
    return [without_times(item) for item in node] if isinstance(node, list | tuple) else node


def outcome(result: RunResult) -> Any:
    return without_times(result.model_dump())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Run, Any]]:
    """Returns the run of a strategy that nobody disturbs, and what it came to."""
    known: dict[str, tuple[Run, Any]] = {}

    def get(strategy: str) -> tuple[Run, Any]:
        if strategy not in known:
            run = Run(tmp_path_factory.mktemp(strategy), strategy)
            known[strategy] = run, outcome(run.go())
        return known[strategy]

    return get


def test_the_schedule_has_all_that_can_happen(undisturbed: Any) -> None:
    _, result = undisturbed("anneal")
    became = [(stage["status"], stage["rolled_back"]) for stage in result["stages"]]
    kept, held, rolled_back = ("PASS", False), ("HOLD", False), ("HOLD", True)
    assert became == [kept, rolled_back, kept, held, kept]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_killed_before_every_single_emission(
    undisturbed: Any, tmp_path: Path, strategy: str
) -> None:
    whole, expected = undisturbed(strategy)
    run = Run(tmp_path, strategy)
    for number in range(len(whole.emissions)):
        with pytest.raises(Killed):
            run.go(kill_at_emission=number)
    assert outcome(run.go()) == expected
    assert run.timeless() == whole.timeless()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_killed_at_every_third_checkpoint(undisturbed: Any, tmp_path: Path, strategy: str) -> None:
    whole, expected = undisturbed(strategy)
    run = Run(tmp_path, strategy)
    kills = 0
    while True:
        try:
            result = run.go(kill_at_save=2)
            break
        except Killed:
            kills += 1
    # Two at a time: at a stage's end there is one under its name beside the latest, and only the
    # latter is gone on from.
    assert kills >= whole.saved // 3
    assert outcome(result) == expected
    assert run.timeless() == whole.timeless()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_asked_to_stop_again_and_again(
    undisturbed: Any, tmp_path: Path, strategy: str, seed: int
) -> None:
    whole, expected = undisturbed(strategy)
    run, rng = Run(tmp_path, strategy), np.random.default_rng(seed)
    stops = 0
    while True:
        try:
            # An evaluation asks at each of its 20 ticks and is not gone on from in its middle.
            result = run.go(stop_at=int(rng.integers(0, 45)))
            break
        except RunStopped:
            stops += 1
    assert stops >= 2
    assert outcome(result) == expected
    assert run.timeless() == whole.timeless()


@pytest.mark.parametrize("after", [False, True])
def test_promotion_plays_no_evaluation_twice(
    undisturbed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """Killed at each of its evaluations, before or after it is counted; there are three."""
    champion = undisturbed("bc")[0].folder / "checkpoints" / "final.safetensors"
    whole = Run(tmp_path / "whole", "ppo", champion)
    expected = whole.go()
    run, save = Run(tmp_path / "killed", "ppo", champion), PromotionStore.save
    alive = False  # killed before: at every other call, the one after it is survived

    def dying_save(store: PromotionStore, snapshot: PromotionSnapshot) -> None:
        nonlocal alive
        if after or alive:
            save(store, snapshot)
        alive = not alive
        if after or alive:
            raise Killed

    monkeypatch.setattr(PromotionStore, "save", dying_save)
    for _ in range(3):
        with pytest.raises(Killed):
            run.go()
    monkeypatch.undo()
    result = run.go()
    assert isinstance(result, TrainingSummary)
    assert isinstance(expected, TrainingSummary)
    assert result.promotion is not None
    assert expected.promotion is not None
    assert len(result.promotion.history) == len(expected.promotion.history) == 3
    assert result.promotion.seeds_used == expected.promotion.seeds_used == 12
    assert result.promotion.last_result == expected.promotion.last_result
    assert result.promotion.pass_streak == 3
    assert run.timeless() == whole.timeless()
