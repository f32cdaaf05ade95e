"""The stage of a strategy that has one: its run is as one of a schedule."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from journeyman.strategies import training
from support.anneal import IMITATE, PRACTISE, context_for
from support.training import bc_settings, ppo_settings


class StageNotes:
    """Takes down what a tracker is told of stages."""

    def __init__(self) -> None:
        self.settings: dict[str, dict[str, Any]] = {}
        self.numbers: dict[str, float] = {}
        self.tags: dict[str, str] = {}

    @contextmanager
    def stage(self, name: str, settings: dict[str, Any]) -> Any:
        self.settings[name] = settings
        yield self

    def figures(self, metrics: dict[str, float]) -> None:
        self.numbers.update(metrics)

    def tag(self, tags: dict[str, str]) -> None:
        self.tags.update(tags)


def notes_of(folder: Path, trainer: Any, *stages: dict[str, Any], **update: Any) -> StageNotes:
    context, notes = context_for(folder, *stages), StageNotes()
    context.settings = context.settings.model_copy(update=update)
    context.tracker.stage = notes.stage  # type: ignore[method-assign, assignment]
    trainer.run(context, None)
    return notes


@pytest.mark.parametrize("mode", ["bc", "ppo"])
def test_the_one_stage_of_a_strategy_says_what_stages_of_a_schedule_say(
    tmp_path: Path, mode: str
) -> None:
    single = training.bc_strategy() if mode == "bc" else training.ppo_strategy()
    settings = bc_settings(epochs=2) if mode == "bc" else ppo_settings(updates=2)
    stage = IMITATE if mode == "bc" else {**PRACTISE, "cycle": 0}
    one = notes_of(tmp_path / "one", single, IMITATE, strategy=settings)
    many = notes_of(tmp_path / "many", training.anneal_strategy(), stage)
    assert one.settings == {f"00-{mode}": settings.model_dump(mode="json")}
    assert one.tags.keys() == many.tags.keys()
    assert (one.tags["status"], one.tags["rolled_back"]) == ("PASS", "false")
    assert one.tags["reason"] == "no guardrail is checked outside a schedule"
    own = {"bc": "bc_accuracy", "ppo": "loss"}[mode]
    named = {"return_mean", "return_low", "return_high", own}
    assert one.numbers.keys() == named
    assert named <= many.numbers.keys()
