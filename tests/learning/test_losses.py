import math

import pytest
import torch

from journeyman.learning.distributions import (
    Categorical,
    DiagonalGaussian,
    MultiCategorical,
    mask_bias,
)
from journeyman.learning.losses import (
    clipped_surrogate,
    imitation_loss,
    normalise_advantages,
    ppo_loss,
    value_loss,
)


def test_masks_enter_log_probability_and_entropy():
    # Two of three actions are open and their logits are equal: 1/2 each, entropy ln 2 nats.
    logits = torch.tensor([[3.0, 3.0, 50.0]])
    chosen = Categorical.of(logits, mask_bias(torch.tensor([[True, True, False]])))
    assert chosen.log_prob(torch.tensor([1])).item() == pytest.approx(math.log(0.5))
    assert chosen.entropy().item() == pytest.approx(math.log(2.0))
    assert chosen.log_probs.exp()[0, 2].item() == 0.0


def test_a_masked_action_gets_no_gradient():
    logits = torch.tensor([[0.3, -0.2, 1.0]], requires_grad=True)
    chosen = Categorical.of(logits, mask_bias(torch.tensor([[True, True, False]])))
    (chosen.entropy() + chosen.log_probs[:, 0]).sum().backward()
    assert logits.grad[0, 2].item() == 0.0
    assert logits.grad[0, 0].item() != 0.0


def test_clipped_surrogate():
    # Ratios 1.5 and 0.5, advantages 1 and 1, clip .2:
    #   min(1.5, 1.2) = 1.2 and min(.5, .8) = .5; loss = -(1.2 + .5) / 2 = -.85
    # Both ratios left the range. k3: mean(r - 1) = 0, so kl = -mean(log r) = -ln(.75) / 2.
    old = torch.zeros(2)
    new = torch.tensor([1.5, 0.5]).log()
    parts = clipped_surrogate(new, old, torch.ones(2), 0.2)
    assert parts.loss.item() == pytest.approx(-0.85)
    assert parts.clip_fraction.item() == 1.0
    assert parts.kl.item() == pytest.approx(-math.log(0.75) / 2.0)
    assert parts.kl_signed.item() == pytest.approx(-math.log(0.75) / 2.0)


def test_clipped_surrogate_keeps_the_pessimistic_side_of_a_negative_advantage():
    # Ratio 0.5, advantage -1: min(-.5, -.8) = -.8. Ratio 1.5: min(-1.5, -1.2) = -1.5.
    new = torch.tensor([0.5, 1.5]).log()
    parts = clipped_surrogate(new, torch.zeros(2), -torch.ones(2), 0.2)
    assert parts.loss.item() == pytest.approx((0.8 + 1.5) / 2.0)


def test_a_weight_of_zero_keeps_a_sample_out_of_the_surrogate_and_its_figures():
    # As above, with a third sample that a guide acted, its log-probability unknown.
    old = torch.tensor([0.0, 0.0, math.nan])
    new = torch.tensor([1.5, 0.5, 0.3]).log()
    advantages = torch.tensor([1.0, 1.0, 100.0])
    parts = clipped_surrogate(new, old, advantages, 0.2, weights=torch.tensor([1.0, 1.0, 0.0]))
    assert parts.loss.item() == pytest.approx(-0.85)
    assert parts.clip_fraction.item() == 1.0
    assert parts.kl.item() == pytest.approx(-math.log(0.75) / 2.0)
    assert parts.kl_signed.item() == pytest.approx(-math.log(0.75) / 2.0)
    # Below the range with a positive advantage the gradient is -r / 2; above it there is none.
    assert parts.gradient.tolist() == pytest.approx([0.0, -0.25, 0.0])


def test_without_any_weight_the_surrogate_is_nothing():
    nothing = clipped_surrogate(
        torch.zeros(2), torch.full((2,), math.nan), torch.ones(2), 0.2, weights=torch.zeros(2)
    )
    assert [part.item() for part in nothing[:4]] == [0.0, 0.0, 0.0, 0.0]


def test_a_truncated_ratio_bounds_the_loss_of_a_bad_action():
    # Ratio 5, advantage -1: min(-5, -1.2) = -5; truncated at 2: min(-2, -1.2) = -2, and no
    # gradient. Ratio .5 is as it was: -.8. The figures see the ratio itself:
    # k3 = ((5 - 1) + (.5 - 1)) / 2 - ln(2.5) / 2.
    new = torch.tensor([5.0, 0.5]).log()
    arguments = (torch.zeros(2), -torch.ones(2), 0.2)
    plain = clipped_surrogate(new, *arguments)
    parts = clipped_surrogate(new, *arguments, ratio_truncation=2.0)
    assert plain.loss.item() == pytest.approx((5.0 + 0.8) / 2.0)
    assert parts.loss.item() == pytest.approx((2.0 + 0.8) / 2.0)
    assert parts.kl.item() == pytest.approx(1.75 - math.log(2.5) / 2.0)
    assert parts.gradient.tolist() == pytest.approx([0.0, 0.0])
    assert plain.gradient.tolist() == pytest.approx([2.5, 0.0])
    # However far it ran away, the gradient is a number.
    one = torch.ones(1)
    far = clipped_surrogate(200.0 * one, 0.0 * one, -one, 0.2, ratio_truncation=2.0)
    assert far.gradient.item() == 0.0


def test_value_loss():
    # Errors 3 and 1: half of the mean of 9 and 1 is 2.5.
    values, returns = torch.tensor([4.0, 0.0]), torch.tensor([1.0, 1.0])
    assert value_loss(values, returns, torch.zeros(2), None).loss.item() == pytest.approx(2.5)
    # Clipped to .5 around 0 the first moves to .5 (error .25 < 9: the larger, 9, counts).
    assert value_loss(values, returns, torch.zeros(2), 0.5).loss.item() == pytest.approx(2.5)
    # A value that ran past its target from 3: clipped to 2.5, error 1.5^2 = 2.25 > 0.
    found = value_loss(torch.tensor([1.0]), torch.tensor([1.0]), torch.tensor([3.0]), 0.5)
    assert found.loss.item() == pytest.approx(2.25 / 2.0)


def test_normalised_advantages():
    # Mean 2, deviation over B = sqrt(((1-2)^2 + (3-2)^2) / 2) = 1.
    found = normalise_advantages(torch.tensor([1.0, 3.0]))
    assert found.values.tolist() == pytest.approx([-1.0, 1.0])
    assert (found.mean.item(), found.std.item(), found.flat.item()) == (2.0, 1.0, False)


def test_advantages_are_normalised_over_the_weighted_samples():
    # As above; the guide's 50 is no part of mean and deviation.
    found = normalise_advantages(torch.tensor([1.0, 50.0, 3.0]), torch.tensor([1.0, 0.0, 1.0]))
    assert found.values.tolist() == pytest.approx([-1.0, 48.0, 1.0])
    assert (found.mean.item(), found.std.item(), found.flat.item()) == (2.0, 1.0, False)
    nobody = normalise_advantages(torch.tensor([1.0, 3.0]), torch.zeros(2))
    assert (nobody.mean.item(), nobody.std.item(), nobody.flat.item()) == (0.0, 0.0, True)


@pytest.mark.parametrize("alike", [[0.7], [0.7, 0.7, 0.7]])
def test_advantages_that_do_not_vary_are_left_alone(alike):
    found = normalise_advantages(torch.tensor(alike))
    assert found.values.tolist() == pytest.approx(alike)
    assert found.flat.item() is True


def test_imitation_loss_is_a_weighted_mean():
    # Uniform over two: each costs ln 2. The second row is certain of the wrong one of two:
    # logits (10, 0), action 1 costs 10 + ln(1 + e^-10).
    logits = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    parts = imitation_loss(
        Categorical.of(logits, None), torch.tensor([0, 1]), torch.tensor([3.0, 1.0])
    )
    expected = (3.0 * math.log(2.0) + 10.0 + math.log1p(math.exp(-10.0))) / 4.0
    assert parts.loss.item() == pytest.approx(expected)
    assert parts.correct.item() == 0.5


def test_label_smoothing_spreads_over_allowed_actions_only():
    # Two of three open, logits (2, 0): log p = (-.126928, -2.126928).
    # .8 * .126928 + .2 * (.126928 + 2.126928) / 2 = .326928
    bias = mask_bias(torch.tensor([[True, True, False]]))
    logits = torch.tensor([[2.0, 0.0, 5.0]])
    loss = imitation_loss(Categorical.of(logits, bias), torch.tensor([0]), torch.ones(1), 0.2).loss
    assert loss.item() == pytest.approx(0.326928, abs=1e-5)


def test_the_total_is_the_sum_of_its_weighted_parts():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, generator=generator)
    values, old, advantages, returns = torch.randn(4, 6, generator=generator)
    arguments = {
        "actions": torch.tensor([0, 1, 2, 0, 1, 2]),
        "old_log_probs": old,
        "advantages": advantages,
        "returns": returns,
        "old_values": values + 0.1,
        "clip": 0.2,
        "value_clip": None,
        "value_coef": 0.5,
        "entropy_coef": 0.01,
    }
    parts = ppo_loss(Categorical.of(logits, None), values, **arguments)
    expected = parts.surrogate.loss + 0.5 * parts.value - 0.01 * parts.entropy
    assert parts.total.item() == pytest.approx(expected.item())
    alone = ppo_loss(Categorical.of(logits, None), values, **arguments, critic_only=True)
    assert alone.total.item() == pytest.approx(0.5 * parts.value.item())
    assert alone.surrogate.loss.item() == pytest.approx(parts.surrogate.loss.item())


def by_the_book(distribution, values, weights, truncation, value_clip, critic_only, given):
    """The same objective in torch's own operations, for its own gradients."""
    share = torch.ones_like(values) if weights is None else weights
    share = share / share.sum()
    log_ratio = distribution.log_prob(given["actions"]) - given["old_log_probs"]
    if truncation is not None:
        log_ratio = log_ratio.clamp(max=math.log(truncation))
    ratio, advantages = log_ratio.exp(), given["advantages"]
    gains = torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    error = (values - given["returns"]).square()
    if value_clip is not None:
        old = given["old_values"]
        moved = old + (values - old).clamp(-value_clip, value_clip)
        error = torch.maximum(error, (moved - given["returns"]).square())
    total = 0.5 * 0.5 * error.mean()
    if not critic_only:
        entropy = (share * distribution.entropy()).sum()
        total = total - (share * gains).sum() - 0.01 * entropy
    return total


def gaussian(outputs):
    return DiagonalGaussian(outputs, outputs[0])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("truncation", [None, 1.5])
@pytest.mark.parametrize("value_clip", [None, 0.3])
@pytest.mark.parametrize("critic_only", [False, True])
@pytest.mark.parametrize("kind", ["discrete", "masked", "multi_discrete", "box"])
def test_the_written_out_gradients_are_those_torch_finds(
    weighted, truncation, value_clip, critic_only, kind
):
    draws = torch.Generator().manual_seed(0)
    count = 400
    outputs = torch.randn(count, 5, generator=draws).requires_grad_()
    values = torch.randn(count, generator=draws).requires_grad_()
    mask = torch.rand(count, 5, generator=draws) < 0.6
    mask[:, 0] = True
    make = {
        "discrete": lambda: Categorical.of(outputs, None),
        "masked": lambda: Categorical.of(outputs, mask_bias(mask)),
        "multi_discrete": lambda: MultiCategorical.of(outputs, (2, 3), None),
        "box": lambda: gaussian(outputs),
    }[kind]
    actions = {
        "discrete": torch.randint(0, 5, (count,), generator=draws),
        "masked": torch.zeros(count, dtype=torch.int64),
        "multi_discrete": torch.randint(0, 2, (count, 2), generator=draws),
        "box": outputs.detach() + 0.1 * torch.randn(count, 5, generator=draws),
    }[kind]
    now = make().log_prob(actions).detach()
    given = {
        "actions": actions,
        "old_log_probs": now + 0.3 * torch.randn(count, generator=draws),
        "advantages": torch.randn(count, generator=draws),
        "returns": torch.randn(count, generator=draws),
        "old_values": values.detach() + 0.4 * torch.randn(count, generator=draws),
    }
    weights = (torch.rand(count, generator=draws) < 0.7).float() if weighted else None
    book = by_the_book(make(), values, weights, truncation, value_clip, critic_only, given)
    parts = ppo_loss(
        make(),
        values,
        **given,
        clip=0.2,
        value_clip=value_clip,
        value_coef=0.5,
        entropy_coef=0.01,
        critic_only=critic_only,
        weights=weights,
        ratio_truncation=truncation,
    )
    torch.testing.assert_close(parts.total, book, atol=1e-6, rtol=1e-5)
    wanted = (values,) if critic_only else (outputs, values)
    for ours, reference in zip(
        torch.autograd.grad(2.0 * parts.total, wanted),
        torch.autograd.grad(2.0 * book, wanted),
        strict=True,
    ):
        assert reference.abs().max() > 1e-4
        torch.testing.assert_close(ours, reference, atol=1e-7, rtol=1e-4)
