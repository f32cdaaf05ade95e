"""Legend: B samples, N outputs of the policy, D components of an action."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from journeyman.env.protocol import LaneSpec
from journeyman.learning.distributions import (
    Categorical,
    DiagonalGaussian,
    MultiCategorical,
    bounded_log_std,
    mask_bias,
)
from journeyman.learning.losses import imitation_loss
from journeyman.policies.actions import choose

SIZES = (2, 3, 4)
DRAWN = 40_000


def logits(rows, columns, seed=0, scale=1.5):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, columns, generator=generator)


def mask(rows, sizes, seed=0):
    """A mask that leaves at least the first choice of every component open."""
    rng = np.random.default_rng(seed)
    parts = [rng.random((rows, size)) < 0.6 for size in sizes]
    for part in parts:
        part[:, 0] = True
    return torch.from_numpy(np.concatenate(parts, axis=1))


def probabilities(row, allowed):
    weights = np.where(allowed, np.exp(row.astype(np.float64)), 0.0)
    return weights / weights.sum()


def test_categorical_is_what_scipy_says():
    raw, allowed = logits(6, 5), mask(6, (5,))
    found = Categorical.of(raw, mask_bias(allowed))
    for row in range(6):
        law = probabilities(raw[row].numpy(), allowed[row].numpy())
        assert found.entropy()[row].item() == pytest.approx(stats.entropy(law), abs=1e-5)
        assert found.mode()[row].item() == law.argmax()
        for action in np.flatnonzero(law):
            log_prob = found.log_prob(torch.full((6,), int(action)))[row].item()
            assert log_prob == pytest.approx(math.log(law[action]), abs=1e-5)


def test_multi_categorical_is_a_product_of_categoricals():
    raw, allowed = logits(7, sum(SIZES)), mask(7, SIZES)
    bias = mask_bias(allowed)
    found = MultiCategorical.of(raw, SIZES, bias)
    parts = [
        Categorical.of(part, part_bias)
        for part, part_bias in zip(
            torch.split(raw, list(SIZES), 1), torch.split(bias, list(SIZES), 1), strict=True
        )
    ]
    actions = found.mode()
    assert actions.tolist() == torch.stack([part.mode() for part in parts], dim=1).tolist()
    columns = list(zip(parts, actions.unbind(1), strict=True))
    for ours, theirs in (
        (found.log_prob(actions), sum(part.log_prob(column) for part, column in columns)),
        (found.entropy(), sum(part.entropy() for part in parts)),
        (found.uniform_cross_entropy(), sum(part.uniform_cross_entropy() for part in parts)),
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    # masked choices have probability 0 and contribute nothing
    assert (found.log_probs.exp()[~allowed] == 0.0).all()
    free = MultiCategorical.of(raw, SIZES, None)
    assert (free.entropy() > found.entropy()).any()


def test_one_component_is_a_categorical():
    raw, bias = logits(9, 4), mask_bias(mask(9, (4,)))
    one, many = Categorical.of(raw, bias), MultiCategorical.of(raw, (4,), bias)
    assert torch.equal(one.log_probs, many.log_probs)
    assert torch.equal(one.mode(), many.mode()[:, 0])
    assert torch.equal(one.log_prob(one.mode()), many.log_prob(many.mode()))


def test_gaussian_is_what_scipy_says():
    mean, log_std = logits(5, 3), torch.tensor([-1.0, 0.0, 0.7])
    actions = logits(5, 3, seed=1)
    law = stats.norm(mean.numpy(), np.exp(log_std.numpy()))
    found = DiagonalGaussian(mean, log_std)
    np.testing.assert_allclose(
        found.log_prob(actions).numpy(), law.logpdf(actions.numpy()).sum(axis=1), rtol=1e-5
    )
    np.testing.assert_allclose(found.entropy().numpy(), law.entropy().sum(axis=1), rtol=1e-6)
    assert torch.equal(found.mode(), mean)


def drawn(kind, outputs, log_std=None, allowed=None):
    """Many actions of one state, chosen as the players choose them."""
    names = tuple(f"n{k}" for k in range(outputs.shape[1]))
    sizes = SIZES if kind == "multi_discrete" else ()
    spec = LaneSpec(
        env_id="test",
        feature_names=("f",),
        action_names=names,
        action_kind=kind,
        action_sizes=sizes,
    )

    def many(array):
        return None if array is None else np.repeat(array.numpy(), DRAWN, axis=0)

    actions, _ = choose(
        spec,
        many(outputs),
        None if log_std is None else log_std.numpy(),
        many(allowed),
        np.random.default_rng(0),
        deterministic=False,
    )
    return torch.from_numpy(actions)


def pairs(kind):
    """Two distributions over the same actions, each a function of how many rows it has."""
    if kind == "box":
        first, second = logits(1, 3), logits(1, 3, seed=1)
        spread, wider = torch.tensor([-1.0, 0.0, 0.5]), torch.tensor([-0.5, 0.3, 0.2])
        return (
            drawn(kind, first, spread),
            lambda rows: DiagonalGaussian(first.expand(rows, 3), spread),
            lambda rows: DiagonalGaussian(second.expand(rows, 3), wider),
        )
    sizes = SIZES if kind == "multi_discrete" else (5,)
    first, second = logits(1, sum(sizes)), logits(1, sum(sizes), seed=1)
    allowed = mask(1, sizes, seed=2)
    bias = mask_bias(allowed)

    def over(raw, rows):
        raw, wide = raw.expand(rows, -1), bias.expand(rows, -1)
        if kind == "discrete":
            return Categorical.of(raw, wide)
        return MultiCategorical.of(raw, sizes, wide)

    actions = drawn(kind, first, allowed=allowed)
    return actions, lambda rows: over(first, rows), lambda rows: over(second, rows)


@pytest.mark.parametrize("kind", ["discrete", "multi_discrete", "box"])
def test_divergence_and_entropy_are_what_many_draws_say(kind):
    # KL(p, q) is the mean of log p - log q over draws from p, and the entropy that of -log p;
    # four standard errors of 40 000 draws.
    actions, first, second = pairs(kind)
    old, new = first(DRAWN).log_prob(actions).double(), second(DRAWN).log_prob(actions).double()
    for draws, exact in (
        (old - new, first(1).kl_divergence(second(1))),
        (-old, first(1).entropy()),
    ):
        error = draws.std().item() / math.sqrt(DRAWN)
        assert exact.item() == pytest.approx(draws.mean().item(), abs=4.0 * error)
        assert error < 0.03
    assert first(1).kl_divergence(second(1)).item() > 0.1
    assert first(1).kl_divergence(first(1)).item() == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("kind", ["discrete", "multi_discrete", "box"])
def test_gradients_are_those_of_finite_differences(kind):
    sizes = SIZES if kind == "multi_discrete" else (4,)
    raw = logits(3, sum(sizes)).double().requires_grad_()
    other = logits(3, sum(sizes), seed=1).double()
    bias = mask_bias(mask(3, sizes)).double()
    if kind == "box":
        log_std = torch.tensor([-1.0, 0.0, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
        actions, prior = other.float(), DiagonalGaussian(other, torch.zeros(4).double())

        def figures(mean, spread):
            law = DiagonalGaussian(mean, bounded_log_std(spread))
            return law.log_prob(actions.double()), law.entropy(), law.kl_divergence(prior)

        assert torch.autograd.gradcheck(figures, (raw, log_std))
        return

    def of(values):
        if kind == "discrete":
            return Categorical.of(values, bias)
        return MultiCategorical.of(values, sizes, bias)

    actions, prior = of(other).mode(), of(other)

    def figures(values):
        law = of(values)
        spread = law.uniform_cross_entropy()
        return law.log_prob(actions), law.entropy(), law.kl_divergence(prior), spread

    assert torch.autograd.gradcheck(figures, (raw,))


def test_deviations_are_bounded_and_can_come_back():
    log_std = torch.tensor([-9.0, -5.0, 0.3, 2.0, 4.0], requires_grad=True)
    bounded = bounded_log_std(log_std)
    assert bounded.tolist() == pytest.approx([-5.0, -5.0, 0.3, 2.0, 2.0])
    assert bounded[2].item() == log_std[2].item()
    bounded.sum().backward()
    assert log_std.grad.tolist() == [1.0] * 5


def test_imitation_of_continuous_actions_is_a_weighted_mean_of_log_densities():
    # Standard normals at distances 0 and 2: -log density .918939 and .918939 + 2.
    law = DiagonalGaussian(torch.tensor([[1.0], [0.0]]), torch.zeros(1))
    actions, weights = torch.tensor([[1.0], [2.0]]), torch.tensor([3.0, 1.0])
    parts = imitation_loss(law, actions, weights)
    assert parts.loss.item() == pytest.approx(0.918939 + 2.0 / 4.0, abs=1e-5)
    assert (parts.correct.item(), parts.absolute_error.item()) == (0.0, 1.0)
    with pytest.raises(ValueError, match="label smoothing needs choices"):
        imitation_loss(law, actions, weights, 0.1)


def test_imitation_of_several_components_is_right_if_all_are():
    # Two components of two choices, each certain of its first: rows (0, 0) and (0, 1).
    law = MultiCategorical.of(torch.tensor([[9.0, 0.0, 9.0, 0.0]] * 2), (2, 2), None)
    parts = imitation_loss(law, torch.tensor([[0, 0], [0, 1]]), torch.ones(2))
    assert (parts.correct.item(), parts.absolute_error.item()) == (0.5, 0.0)
    # wrong costs 9 + ln(1 + e^-9), right ln(1 + e^-9), four components in two rows
    expected = (9.0 + 4.0 * math.log1p(math.exp(-9.0))) / 2.0
    assert parts.loss.item() == pytest.approx(expected, abs=1e-5)
    # .2 of the mass over the two choices of each: each component costs .1 * 9 more
    smooth = imitation_loss(law, torch.tensor([[0, 0]] * 2), torch.ones(2), 0.2).loss.item()
    assert smooth == pytest.approx(2.0 * (0.9 + math.log1p(math.exp(-9.0))), abs=1e-5)
