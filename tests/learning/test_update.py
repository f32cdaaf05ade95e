from dataclasses import replace

import numpy as np
import pytest
import torch

from journeyman.errors import TrainingError
from journeyman.learning.demonstrations import DemonstrationTensors
from journeyman.learning.gae import generalised_advantages
from journeyman.learning.losses import imitation_loss
from journeyman.learning.normalization import Normalizer
from journeyman.learning.optimizers import adam
from journeyman.learning.policy import initial_checkpoint, network_from_checkpoint, weights
from journeyman.learning.rollout import Collector
from journeyman.learning.update import FIGURES, Coefficients, PracticeBatch, draw, optimise
from journeyman.seeding import SeedPlan
from support.signal_env import SignalEnv
from support.training import SMALL, ppo_settings, signal_demonstrations

CPU = torch.device("cpu")
COEFFICIENTS = Coefficients(learning_rate=3e-3, clip=0.2, entropy_coef=0.01)


@pytest.fixture
def practised():
    """A network, and a rollout of 8 steps by 8 lanes that it has just played."""
    env = SignalEnv(num_worlds=4, hazard=0.1)
    start = initial_checkpoint(SMALL, env.lane_spec, SeedPlan(0))
    network = network_from_checkpoint(start, CPU)
    collector = Collector(env, network, Normalizer(None, None), ticks=8)
    collector.begin(env.reset(seed=1)[0])
    rollout = collector.collect(np.random.default_rng(0))
    advantages = generalised_advantages(
        rollout.rewards,
        rollout.values,
        rollout.next_values,
        rollout.terminated,
        rollout.truncated,
        gamma=0.9,
        gae_lambda=0.9,
    )
    return network, PracticeBatch.of(rollout, advantages, CPU)


def demonstrations():
    shown = signal_demonstrations(worlds=2, ticks=10)
    return DemonstrationTensors.from_rows(shown, np.arange(len(shown)), needs_map=False, device=CPU)


def run(network, batch, settings=None, coefficients=COEFFICIENTS, **options):
    return optimise(
        network,
        adam(network, 0.0, 1e-5),
        batch,
        settings or ppo_settings(),
        coefficients,
        minibatch_rng=np.random.default_rng(0),
        **options,
    )


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
    with pytest.raises(TrainingError, match=r"loss_value is nan .*rollout, epoch 1, minibatch 1"):
        run(network, batch)


def test_imitation_without_demonstrations_is_an_error(practised):
    network, batch = practised
    imitating = Coefficients(learning_rate=1e-3, clip=0.2, entropy_coef=0.0, bc_weight=0.5)
    with pytest.raises(ValueError, match="no demonstrations"):
        run(network, batch, coefficients=imitating)
