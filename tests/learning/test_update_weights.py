"""Samples that do not all count the same: a guide's, and recorded ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from journeyman.learning.batch import PracticeBatch
from journeyman.learning.update import FIGURES
from support.signal_env import SignalEnv
from support.training import ppo_settings
from support.updates import COEFFICIENTS, CPU, advantages_of, rollout_of, run


@pytest.fixture
def guided():
    """The rollout again; on two of its eight lanes a guide acted, with unknown chance."""
    network, rollout = rollout_of(SignalEnv(num_worlds=4, hazard=0.1), ticks=8)
    mask = np.zeros((8, 8), np.bool_)
    mask[:, [2, 5]] = True
    log_probs = np.where(mask, np.nan, rollout.log_probs).astype(np.float32)
    own = replace(rollout, idle=mask)
    rollout = replace(rollout, guided=mask, log_probs=log_probs)
    return (
        network,
        PracticeBatch.of(rollout, advantages_of(rollout), CPU),
        # What of it the policy itself acted, with the same advantages.
        PracticeBatch.of(own, advantages_of(rollout), CPU),
    )


def gradient_of(network, batch, **changes):
    """Gradients and figures of one minibatch of all samples."""
    settings = ppo_settings(epochs=1, minibatch_size=len(batch), max_grad_norm=0.0, **changes)
    figures = run(network, batch, settings, replace(COEFFICIENTS, learning_rate=0.0))
    return {name: p.grad.clone() for name, p in network.named_parameters()}, figures


def entropy_of(network, batch):
    """Mean entropy of the policy over all states of a batch, in nats."""
    outputs = network.outputs(batch.features, batch.grid)
    return network.distribution(outputs, batch.bias).entropy().mean().item()


@pytest.mark.parametrize("normalised", ["minibatch", "batch", "off"])
def test_what_a_guide_acted_trains_the_values_and_not_the_policy(guided, normalised):
    network, batch, own = guided
    assert (len(batch), len(own)) == (64, 48)
    found, figures = gradient_of(network, batch, normalize_advantages=normalised)
    expected, alone = gradient_of(network, own, normalize_advantages=normalised)
    for name, gradient in found.items():
        of_the_value = name.startswith(("critic.", "value_head."))
        same = torch.allclose(gradient, expected[name], atol=1e-6)
        assert same is not of_the_value, name
    shared = set(FIGURES) - {"loss_value", "loss_total", "grad_norm", "entropy"}
    for name in shared:
        assert figures.column(name)[0] == pytest.approx(alone.column(name)[0], abs=1e-5), name
    # How undecided the policy is, and the value's loss, are means over all 64.
    assert figures.column("entropy")[0] == pytest.approx(entropy_of(network, batch), abs=1e-5)
    values = network.values(batch.features).detach()
    expected_loss = 0.5 * (values - batch.columns[3]).square().mean().item()
    assert figures.column("loss_value")[0] == pytest.approx(expected_loss, rel=1e-5)


def test_a_minibatch_of_guided_steps_alone_trains_the_values_alone(guided):
    network, batch, _ = guided
    batch.columns[4] = 0.0
    found, figures = gradient_of(network, batch, normalize_advantages="minibatch")
    assert np.isfinite(figures.table).all()
    assert figures.column("loss_policy")[0] == figures.column("loss_entropy")[0] == 0.0
    assert figures.column("entropy")[0] == pytest.approx(entropy_of(network, batch), abs=1e-5)
    assert found["policy_head.weight"].abs().max() == 0.0
    assert found["value_head.weight"].abs().max() > 0.0


def test_ratios_are_truncated_only_where_there_is_recorded_play(practised):
    # Behaviour that chose everything e^3 times less often: ratios of e^3 = 20. For bad actions
    # the loss is -A times the ratio, or times the truncation.
    network, batch = practised
    batch.columns[0] -= 3.0
    batch.columns[2] = -1.0
    changes = {"normalize_advantages": "off", "ratio_truncation": 5.0}
    _, live = gradient_of(network, batch, **changes)
    gradients, recorded = gradient_of(network, batch, data_mode="replay", **changes)
    assert live.column("loss_policy")[0] == pytest.approx(np.exp(3.0), rel=1e-4)
    assert recorded.column("loss_policy")[0] == pytest.approx(5.0, rel=1e-4)
    assert recorded.column("kl_divergence")[0] == pytest.approx(np.exp(3.0) - 4.0, rel=1e-4)
    # What is left of the policy's gradient is the entropy bonus's.
    assert gradients["policy_head.weight"].abs().max() < 0.05
