"""Steps without torch's graph are those with it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from journeyman.learning import bc, update
from journeyman.learning.batch import PracticeBatch
from journeyman.learning.bc import train_epoch
from journeyman.learning.demonstrations import DemonstrationTensors
from journeyman.learning.optimizers import adamw
from journeyman.learning.plain import PlainImitation, PlainPractice, is_plain
from journeyman.learning.policy import initial_checkpoint, network_from_checkpoint, weights
from journeyman.learning.update import FIGURES, Coefficients
from journeyman.seeding import SeedPlan
from support.signal_env import SignalEnv
from support.training import SMALL, bc_settings, ppo_settings, signal_demonstrations
from support.updates import COEFFICIENTS, CPU, advantages_of, rollout_of, run


def without_plain_steps(monkeypatch):
    for module in (update, bc):
        monkeypatch.setattr(module, "is_plain", lambda network: False)


def counted(monkeypatch, kind):
    """Notes every plain step that is made."""
    made, step = [], kind.step

    def noted(self, *arguments):
        made.append(len(arguments[0]))
        return step(self, *arguments)

    monkeypatch.setattr(kind, "step", noted)
    return made


def practised():
    network, rollout = rollout_of(SignalEnv(num_worlds=4, hazard=0.1), ticks=8)
    advantages = advantages_of(rollout)
    # Actions of a somewhat other policy: ratios leave the clip range on both sides.
    columns = np.random.default_rng(0).normal(0.0, 0.2, rollout.log_probs.shape)
    rollout = replace(rollout, log_probs=rollout.log_probs + columns.astype(np.float32))
    return network, PracticeBatch.of(rollout, advantages, CPU)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("normalised", ["minibatch", "batch", "off"])
@pytest.mark.parametrize("max_grad_norm", [0.0, 0.05])
def test_an_update_of_ppo_is_the_same(monkeypatch, masked, normalised, max_grad_norm):
    settings = ppo_settings(
        epochs=3, normalize_advantages=normalised, max_grad_norm=max_grad_norm, value_coef=0.7
    )
    found = {}
    for kind in ("plain", "graph"):
        with monkeypatch.context() as patched:
            made = counted(patched, PlainPractice)
            if kind == "graph":
                without_plain_steps(patched)
            network, batch = practised()
            before = weights(network)
            batch = batch if masked else replace(batch, bias=None)
            figures = run(network, batch, settings, replace(COEFFICIENTS, entropy_coef=0.03))
            found[kind] = figures.table, weights(network)
            # 64 samples in minibatches of 24: 24, 24, 16
            assert made == ([24, 24, 16] * 3 if kind == "plain" else [])
    np.testing.assert_allclose(found["plain"][0], found["graph"][0], rtol=2e-3, atol=2e-5)
    assert 0.1 < found["plain"][0][:, FIGURES.index("clip_fraction")].mean() < 0.9
    for name, array in found["graph"][1].items():
        np.testing.assert_allclose(found["plain"][1][name], array, rtol=0.0, atol=2e-4)
    moved = max(np.abs(found["graph"][1][name] - before[name]).max() for name in before)
    assert moved > 0.01


def test_one_step_has_the_same_gradient(monkeypatch):
    gradients = {}
    for kind in ("plain", "graph"):
        with monkeypatch.context() as patched:
            if kind == "graph":
                without_plain_steps(patched)
            network, batch = practised()
            still = Coefficients(learning_rate=0.0, clip=0.2, entropy_coef=0.03)
            settings = ppo_settings(epochs=1, minibatch_size=64, max_grad_norm=0.0)
            run(network, batch, settings, still)
            gradients[kind] = {n: p.grad.clone() for n, p in network.named_parameters()}
    for name, gradient in gradients["graph"].items():
        assert gradient.abs().max() > 1e-5
        torch.testing.assert_close(gradients["plain"][name], gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("masked", [True, False])
def test_an_epoch_of_imitation_is_the_same(monkeypatch, masked):
    shown = signal_demonstrations(worlds=4, ticks=30)
    samples = DemonstrationTensors.from_rows(
        shown, np.arange(len(shown)), needs_map=False, device=CPU
    )
    uneven = torch.rand(len(samples), generator=torch.Generator().manual_seed(0))
    samples = replace(samples, weights=uneven, bias=samples.bias if masked else None)
    found = {}
    for kind in ("plain", "graph"):
        with monkeypatch.context() as patched:
            made = counted(patched, PlainImitation)
            if kind == "graph":
                without_plain_steps(patched)
            start = initial_checkpoint(SMALL, SignalEnv().lane_spec, SeedPlan(0))
            network = network_from_checkpoint(start, CPU)
            settings = bc_settings(batch_size=50, max_grad_norm=0.5)
            figures = train_epoch(
                network,
                adamw(network, 1e-2, 0.01),
                samples,
                settings,
                rng=np.random.default_rng(0),
                epoch=1,
            )
            found[kind] = figures, weights(network)
            assert made == ([50] * 4 + [40] if kind == "plain" else [])
    ours, theirs = found["plain"][0], found["graph"][0]
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)
    assert ours.accuracy == pytest.approx(theirs.accuracy, abs=0.01)
    assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-3)
    for name, array in found["graph"][1].items():
        np.testing.assert_allclose(found["plain"][1][name], array, rtol=0.0, atol=2e-4)
        changed = not np.array_equal(array, start.part("policy")[name])
        assert changed == (not name.startswith(("critic.", "value_head.")))


@pytest.mark.parametrize(
    ("changes", "spec"),
    [
        ({"share_trunk": True}, {}),
        ({"map_encoder": "flatten"}, {"map_shape": (1, 2, 2), "map_channels": ("a",)}),
        ({}, {"action_kind": "multi_discrete", "action_sizes": (2, 2)}),
        ({}, {"action_kind": "box", "action_low": (0.0,) * 4, "action_high": (1.0,) * 4}),
    ],
)
def test_other_networks_are_not_plain(changes, spec):
    lane_spec = replace(SignalEnv().lane_spec, **spec)
    start = initial_checkpoint(SMALL.model_copy(update=changes), lane_spec, SeedPlan(0))
    assert not is_plain(network_from_checkpoint(start, CPU))


@pytest.mark.parametrize(
    ("settings", "coefficients"),
    [({"value_clip": 0.2}, {}), ({}, {"critic_only": True})],
)
def test_updates_of_other_kinds_are_made_by_the_graph(monkeypatch, settings, coefficients):
    made = counted(monkeypatch, PlainPractice)
    network, batch = practised()
    run(network, batch, ppo_settings(**settings), replace(COEFFICIENTS, **coefficients))
    assert made == []
