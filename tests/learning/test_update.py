from dataclasses import replace

import numpy as np
import pytest
import torch

from journeyman.errors import NotFiniteError
from journeyman.learning.batch import PracticeBatch
from journeyman.learning.demonstrations import DemonstrationTensors
from journeyman.learning.losses import imitation_loss
from journeyman.learning.optimizers import adam
from journeyman.learning.plain import PlainPractice
from journeyman.learning.policy import weights
from journeyman.learning.update import FIGURES, Coefficients, draw, optimise
from support.signal_env import SignalEnv
from support.training import ppo_settings, signal_demonstrations
from support.updates import COEFFICIENTS, CPU, advantages_of, rollout_of, run


def demonstrations():
    shown = signal_demonstrations(worlds=2, ticks=10)
    return DemonstrationTensors.from_rows(shown, np.arange(len(shown)), needs_map=False, device=CPU)


def test_before_the_first_step_every_ratio_is_one(practised):
    network, batch = practised
    distribution = network.distribution(network.outputs(batch.features), batch.bias)
    ratio = (distribution.log_prob(batch.actions) - batch.columns[0]).exp()
    torch.testing.assert_close(ratio, torch.ones(len(batch)), atol=1e-6, rtol=0.0)


def test_the_first_minibatch_of_an_update_measures_no_change(practised):
    network, batch = practised
    figures = run(network, batch)
    assert abs(figures.column("kl_divergence")[0]) < 1e-6
    assert figures.column("clip_fraction")[0] == 0.0
    assert figures.column("kl_divergence")[-1] > 1e-6


def test_every_sample_counts_once_an_epoch_and_the_partial_minibatch_too(practised):
    # 64 samples in minibatches of 24: 24, 24, 16; two epochs: 6 rows.
    network, batch = practised
    figures = run(network, batch)
    assert figures.table.shape == (6, len(FIGURES))
    assert (figures.epochs, figures.samples) == (2, 128)
    frozen = Coefficients(learning_rate=0.0, clip=0.2, entropy_coef=0.0)
    still = run(network, batch, ppo_settings(epochs=1), frozen)
    means = still.column("adv_mean")
    expected = batch.columns[2].double().mean().item()
    assert (means * [24, 24, 16]).sum() / 64 == pytest.approx(expected, abs=1e-6)


def test_a_last_minibatch_of_one_sample_is_handled(practised):
    # 64 samples in minibatches of 63: the second holds one, whose deviation is 0.
    network, batch = practised
    figures = run(network, batch, ppo_settings(minibatch_size=63, epochs=1))
    assert figures.column("adv_std")[1] == 0.0
    assert figures.column("adv_zero_std").tolist() == [0.0, 1.0]
    assert np.isfinite(figures.table).all()


def test_one_minibatch_larger_than_the_batch_holds_it_whole(practised):
    network, batch = practised
    figures = run(network, batch, ppo_settings(minibatch_size=10**6, epochs=3))
    assert figures.table.shape == (3, len(FIGURES))
    assert figures.samples == 3 * 64


def test_a_single_lane_and_a_single_minibatch():
    network, rollout = rollout_of(SignalEnv(num_worlds=1, agents=1), ticks=8)
    batch = PracticeBatch.of(rollout, advantages_of(rollout), CPU)
    figures = run(network, batch, ppo_settings(epochs=1, minibatch_size=8))
    assert figures.table.shape == (1, len(FIGURES))
    found = figures.column("adv_mean")[0]
    assert found == pytest.approx(advantages_of(rollout).advantages.mean(), abs=1e-6)


def test_a_step_size_of_zero_leaves_every_weight(practised):
    network, batch = practised
    before = weights(network)
    run(network, batch, coefficients=replace(COEFFICIENTS, learning_rate=0.0))
    assert all(
        before[name].tobytes() == array.tobytes() for name, array in weights(network).items()
    )


def test_adam_is_given_its_epsilon_and_step_size(practised):
    network, batch = practised
    optimizer = adam(network, 0.0, 1e-5)
    rng = np.random.default_rng(0)
    optimise(network, optimizer, batch, ppo_settings(), COEFFICIENTS, minibatch_rng=rng)
    assert [(g["eps"], g["lr"]) for g in optimizer.torch.param_groups] == [(1e-5, 3e-3)]


def test_the_value_clip_reaches_the_loss(practised):
    # At a step size of 0 the values have not moved since collection, so clipping changes
    # nothing; pretending they were 10 lower then, a clip of 1 keeps the errors large.
    network, batch = practised
    frozen = replace(COEFFICIENTS, learning_rate=0.0)
    settings = {"epochs": 1, "minibatch_size": 64}
    plain = run(network, batch, ppo_settings(**settings), frozen).column("loss_value")[0]
    same = run(network, batch, ppo_settings(value_clip=1.0, **settings), frozen)
    assert same.column("loss_value")[0] == pytest.approx(plain, rel=1e-5)
    batch.columns[1] -= 10.0
    clipped = run(network, batch, ppo_settings(value_clip=1.0, **settings), frozen)
    moved = batch.columns[1] + 1.0
    expected = 0.5 * (moved - batch.columns[3]).square().mean().item()
    assert clipped.column("loss_value")[0] == pytest.approx(expected, rel=1e-5)
    assert expected > 10.0 * plain


def test_normalisation_may_be_off(practised):
    # Of one minibatch before the first step the ratio is 1: the loss is minus the mean advantage
    # as it is; normalised that mean is 0.
    network, batch = practised
    frozen = replace(COEFFICIENTS, learning_rate=0.0)
    whole = {"epochs": 1, "minibatch_size": 64}
    off = run(network, batch, ppo_settings(normalize_advantages="off", **whole), frozen)
    mean = batch.columns[2].mean().item()
    assert off.column("loss_policy")[0] == pytest.approx(-mean, abs=1e-6)
    assert abs(mean) > 1e-3
    on = run(network, batch, ppo_settings(**whole), frozen)
    assert on.column("loss_policy")[0] == pytest.approx(0.0, abs=1e-6)


def test_advantages_all_alike_are_counted_and_not_normalised(practised):
    network, batch = practised
    batch.columns[2] = 0.25
    figures = run(network, batch, ppo_settings(epochs=1))
    assert figures.column("adv_zero_std").tolist() == [1.0] * 3
    assert figures.column("loss_policy")[0] == pytest.approx(-0.25, abs=1e-6)


class Waited:
    """Counts what makes the program wait until a device has computed a tensor."""

    def __init__(self, monkeypatch):
        self.count = 0
        for name in ("item", "tolist", "cpu", "__float__", "__bool__", "__int__", "__index__"):
            monkeypatch.setattr(torch.Tensor, name, self.noting(getattr(torch.Tensor, name)))

    def noting(self, original):
        def noted(*arguments, **options):
            self.count += 1
            return original(*arguments, **options)

        return noted


@pytest.mark.parametrize("minibatch_size", [32, 2])
def test_the_device_is_waited_for_once_an_epoch(practised, monkeypatch, minibatch_size):
    """Of steps by torch's graph, which are all that a GPU ever makes.

    The demonstrations beside them keep the CPU on that path too; steps by NumPy (``plain``) have
    no device to wait for.
    """
    # 2 or 32 minibatches: figures stay tensors until the epoch ends.
    network, batch = practised
    monkeypatch.setattr(PlainPractice, "step", None)
    shown = demonstrations()
    waited = Waited(monkeypatch)
    settings = ppo_settings(minibatch_size=minibatch_size, epochs=3, max_grad_norm=0.5)
    imitating = replace(COEFFICIENTS, bc_weight=0.5)
    run(
        network,
        batch,
        settings,
        imitating,
        demonstrations=shown,
        demonstration_rng=np.random.default_rng(0),
    )
    assert waited.count == 3


def test_critic_warmup_leaves_the_policy_bit_identical(practised):
    network, batch = practised
    optimizer = adam(network, 0.0, 1e-5)

    def optimised(coefficients):
        settings, rng = ppo_settings(), np.random.default_rng(0)
        optimise(network, optimizer, batch, settings, coefficients, minibatch_rng=rng)
        return weights(network)

    # After an ordinary update: Adam's momentum must not move the policy either.
    before = optimised(COEFFICIENTS)
    after = optimised(replace(COEFFICIENTS, bc_weight=1.0, critic_only=True))
    for name in before:
        same = before[name].tobytes() == after[name].tobytes()
        assert same is not name.startswith(("critic.", "value_head.")), name


def gradients(network, batch, bc_weight):
    """The gradient of one minibatch holding the whole batch, at a step size of 0."""
    run(
        network,
        batch,
        ppo_settings(epochs=1, minibatch_size=64, max_grad_norm=0.0),
        Coefficients(learning_rate=0.0, clip=0.2, entropy_coef=0.01, bc_weight=bc_weight),
        demonstrations=demonstrations(),
        demonstration_rng=np.random.default_rng(5),
    )
    return {name: p.grad.clone() for name, p in network.named_parameters()}


def test_bc_weight_adds_its_share_of_the_imitation_gradient(practised):
    network, batch = practised
    alone, weighted = gradients(network, batch, 0.0), gradients(network, batch, 0.3)
    shown = draw(demonstrations(), 16, np.random.default_rng(5))
    network.zero_grad(set_to_none=True)
    distribution = network.distribution(network.outputs(shown.features), shown.bias)
    imitation_loss(distribution, shown.actions, shown.weights).loss.backward()
    for name, parameter in network.named_parameters():
        difference = weighted[name] - alone[name]
        if parameter.grad is None:
            assert name.startswith(("critic.", "value_head."))
            assert difference.abs().max() == 0.0
        else:
            torch.testing.assert_close(difference, 0.3 * parameter.grad, atol=1e-6, rtol=1e-4)
    assert network.policy_head.weight.grad.abs().max() > 1e-3


def test_the_gradient_norm_is_measured_before_clipping_and_when_not_clipped(practised):
    network, batch = practised
    frozen = Coefficients(learning_rate=0.0, clip=0.2, entropy_coef=0.0)
    free = run(network, batch, ppo_settings(max_grad_norm=0.0), frozen).column("grad_norm")
    tight = run(network, batch, ppo_settings(max_grad_norm=1e-3), frozen).column("grad_norm")
    np.testing.assert_allclose(free, tight)
    left = torch.nn.utils.get_total_norm([p.grad for p in network.parameters()])
    assert left.item() == pytest.approx(1e-3, rel=1e-3)
    assert free.min() > 1e-3


def test_target_kl_ends_the_epochs(practised):
    network, batch = practised
    figures = run(network, batch, ppo_settings(epochs=50, target_kl=1e-4))
    assert 1 <= figures.epochs < 50
    last = figures.column("kl_divergence").reshape(figures.epochs, 3).mean(axis=1)
    assert last[-1] > 1e-4
    assert (last[:-1] <= 1e-4).all()


def test_batch_normalisation_covers_the_whole_rollout(practised):
    network, batch = practised
    run(network, batch, ppo_settings(normalize_advantages="batch", epochs=1))
    std, mean = torch.std_mean(batch.columns[2], correction=0)
    assert mean.item() == pytest.approx(0.0, abs=1e-6)
    assert std.item() == pytest.approx(1.0, abs=1e-5)


def test_a_nan_is_named_with_epoch_and_minibatch(practised):
    network, batch = practised
    batch.columns[3, :] = torch.nan  # returns: only the value's loss and the total see them
    with pytest.raises(NotFiniteError, match=r"loss_value is nan .*rollout, epoch 1, minibatch 1"):
        run(network, batch)


def test_imitation_without_demonstrations_is_an_error(practised):
    network, batch = practised
    imitating = Coefficients(learning_rate=1e-3, clip=0.2, entropy_coef=0.0, bc_weight=0.5)
    with pytest.raises(ValueError, match="no demonstrations"):
        run(network, batch, coefficients=imitating)
