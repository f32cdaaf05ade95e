from itertools import pairwise

import pytest
import torch
from torch import nn

from journeyman.learning.dense import BLOCK_ROWS
from journeyman.learning.stack import dense_stack


def layers(*widths):
    generator = torch.Generator().manual_seed(0)
    made = [nn.Linear(i, o) for i, o in pairwise(widths)]
    with torch.no_grad():
        for layer in made:
            layer.weight.normal_(0.0, 0.5, generator=generator)
            layer.bias.normal_(0.0, 0.5, generator=generator)
    return made


def plain(inputs, stack, activation, head=None):
    act = torch.tanh if activation == "tanh" else torch.relu
    for layer in stack:
        inputs = act(layer(inputs))
    return inputs if head is None else head(inputs)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("widths", [(5, 7), (5, 7, 6), (5, 7, 6, 4)])
@pytest.mark.parametrize("headed", [False, True])
@pytest.mark.parametrize("rows", [1, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS + 37])
def test_outputs_and_gradients_equal_those_of_plain_layers(activation, widths, rows, headed):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(rows, widths[0], generator=generator)
    weighing = torch.randn(rows, widths[-1], generator=generator) / rows
    stack = layers(*widths)
    body, head = (stack[:-1], stack[-1]) if headed and len(stack) > 1 else (stack, None)
    found = {}
    for name, through in (("ours", dense_stack), ("plain", plain)):
        leaf = inputs.clone().requires_grad_()
        outputs = through(leaf, body, activation, head)
        for layer in stack:
            layer.zero_grad()
        (outputs * weighing).sum().backward()
        gradients = [p.grad.clone() for layer in stack for p in layer.parameters()]
        found[name] = [outputs.detach(), leaf.grad, *gradients]
    for ours, reference in zip(found["ours"], found["plain"], strict=True):
        torch.testing.assert_close(ours, reference, atol=2e-6, rtol=1e-5)
    assert found["plain"][-1].abs().max() > 1e-3


def test_inputs_are_left_as_they_are():
    inputs = torch.randn(9, 5, generator=torch.Generator().manual_seed(2))
    kept = inputs.clone()
    dense_stack(inputs, layers(5, 7, 6), "tanh").sum().backward()
    assert torch.equal(inputs, kept)


def test_two_passes_before_the_gradient_do_not_disturb_each_other():
    # Practice and imitation go through the same layers before one backward pass.
    stack = layers(5, 7, 6)
    first, second = torch.randn(2, 600, 5, generator=torch.Generator().manual_seed(3))
    (dense_stack(first, stack, "tanh").sum() + dense_stack(second, stack, "tanh").sum()).backward()
    together = stack[0].weight.grad.clone()
    stack[0].zero_grad()
    (plain(first, stack, "tanh").sum() + plain(second, stack, "tanh").sum()).backward()
    torch.testing.assert_close(together, stack[0].weight.grad, atol=1e-3, rtol=1e-4)


def test_a_network_that_only_answers_gives_the_same_bits():
    stack, head = layers(5, 7, 6), layers(6, 3)[0]
    inputs = torch.randn(700, 5, generator=torch.Generator().manual_seed(4))
    learning = dense_stack(inputs, stack, "tanh", head)
    with torch.inference_mode():
        answers = dense_stack(inputs, stack, "tanh", head)
        kept = answers.clone()
        dense_stack(-inputs, stack, "tanh", head)  # nothing handed out is written to again
    assert torch.equal(answers, learning)
    assert torch.equal(answers, kept)


def test_a_second_gradient_of_the_same_pass_is_refused():
    outputs = dense_stack(torch.ones(3, 5), layers(5, 7, 6), "tanh")
    outputs.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        outputs.sum().backward()


def test_no_rows_give_no_outputs():
    assert dense_stack(torch.zeros(0, 5), layers(5, 7), "relu").shape == (0, 7)
