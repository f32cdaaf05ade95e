"""What a stage overrides reaches the update it is meant for, and nothing else changes."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from journeyman.learning.policy import initial_checkpoint
from journeyman.settings.anneal import StageSettings
from journeyman.strategies import ppo
from journeyman.strategies.training import anneal_strategy
from support.anneal import IMITATE, context_for, run
from support.training import SMALL, practised

PLAIN = {"cycle": 0, "mode": "ppo", "epochs": 3}
RAMP = {"start": 0.5, "end": 0.1}


def asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: dict[str, Any]
) -> list[dict[str, Any]]:
    """Returns, update by update, every setting and coefficient that the optimisation was given."""
    seen: list[dict[str, Any]] = []
    optimise = ppo.optimise

    def noting(network: Any, optimizer: Any, batch: Any, settings: Any, *args: Any, **more: Any):
        coefficients = args[0]
        in_force = asdict(coefficients)
        kept = {name: v for name, v in settings.model_dump().items() if name not in in_force}
        seen.append(kept | in_force)
        return optimise(network, optimizer, batch, settings, *args, **more)

    monkeypatch.setattr(ppo, "optimise", noting)
    context = context_for(tmp_path, stage)
    start = initial_checkpoint(SMALL, context.lane_spec, context.seeds)
    stage_settings = StageSettings.model_validate(stage)
    anneal_strategy().trainers["ppo"](context, start, stage_settings, {})
    monkeypatch.setattr(ppo, "optimise", optimise)
    return seen


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("clip", 0.05, [0.05, 0.05, 0.05]),
        ("clip", RAMP, [0.5, 0.3, 0.1]),
        ("entropy_coef", 0.25, [0.25, 0.25, 0.25]),
        ("entropy_coef", RAMP, [0.5, 0.3, 0.1]),
        ("learning_rate", 0.01, [0.01, 0.01, 0.01]),
        ("learning_rate", RAMP, [0.5, 0.3, 0.1]),
        ("target_kl", 0.125, [0.125, 0.125, 0.125]),
    ],
)
def test_an_override_reaches_every_update_and_changes_nothing_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: Any,
    expected: list[float],
) -> None:
    plain = asked_for(tmp_path / "plain", monkeypatch, PLAIN)
    changed = asked_for(tmp_path / "changed", monkeypatch, {**PLAIN, name: value})
    assert len(plain) == len(changed) == 3
    for before, after, wanted in zip(plain, changed, expected, strict=True):
        assert before[name] != wanted
        assert after.pop(name) == pytest.approx(wanted)
        before.pop(name)
        assert after == before


def test_a_target_of_kl_ends_the_updates_early(tmp_path: Path) -> None:
    epochs = []
    for name, target in (("free", {}), ("held", {"target_kl": 1e-12})):
        context = context_for(tmp_path / name, {**PLAIN, **target}, epochs=5)
        run(context)
        last = context.tracker.emissions.of("ppo")[-1]  # type: ignore[attr-defined]
        epochs.append(last["epoch"])
    # 3 updates of 5 epochs; held, each ends after its first, whose KL is above nothing at all.
    assert epochs == [15, 3]


def test_the_step_size_of_imitation_is_the_stages(tmp_path: Path) -> None:
    shipped, small = (
        run(context_for(tmp_path / name, {**IMITATE, "epochs": 1, **change})).stages[0].training
        for name, change in (("shipped", {}), ("small", {"learning_rate": 1e-4}))
    )
    assert (shipped.learning_rate, small.learning_rate) == (1e-2, 1e-4)  # type: ignore[union-attr]
    assert shipped.weights_digest != small.weights_digest


def test_demonstrations_of_weight_0_are_bit_for_bit_none(tmp_path: Path) -> None:
    # Without demonstrations to draw from, so that a single draw would fail ...
    _, none = practised(tmp_path / "none")
    _, zero = practised(tmp_path / "zero", weight=lambda index: 0.0)
    assert zero.checkpoint.digest() == none.checkpoint.digest()
    assert zero.checkpoint.state["generators"] == none.checkpoint.state["generators"]


def test_demonstrations_of_any_weight_are_not_none(tmp_path: Path) -> None:
    stage = {**PLAIN, "bc_weight": 1e-3}
    digests = {
        run(context_for(tmp_path / name, one)).weights_digest
        for name, one in (("with", stage), ("without", PLAIN))
    }
    assert len(digests) == 2
