import math

import numpy as np
import pytest
import torch
from torch import nn

from journeyman.env.protocol import LaneSpec
from journeyman.learning.network import build_network, initialise
from journeyman.settings.policy import PolicySettings

SPEC = LaneSpec(
    env_id="test",
    feature_names=("a", "b", "c"),
    action_names=("x", "y"),
    map_channels=("wall", "food"),
    map_shape=(2, 5, 5),
)


def settings(**changes):
    values = {
        "hidden_sizes": (16, 8),
        "activation": "tanh",
        "share_trunk": False,
        "map_encoder": "none",
        "map_features": 6,
    }
    return PolicySettings.model_validate({**values, **changes})


def made(seed=0, **changes):
    network = build_network(SPEC, settings(**changes))
    initialise(network, torch.Generator().manual_seed(seed))
    return network


def inputs(rows=7):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((rows, 3)).astype(np.float32)
    grid = rng.integers(0, 2, (rows, 2, 5, 5), dtype=np.uint8)
    return torch.from_numpy(features), torch.from_numpy(grid)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_logits_and_values_are_those_of_plain_layers(activation):
    network = made(activation=activation)
    features, _ = inputs()
    act = nn.Tanh() if activation == "tanh" else nn.ReLU()

    def through(body, head):
        hidden = features
        for layer in body.layers:
            hidden = act(hidden @ layer.weight.T + layer.bias)
        return hidden @ head.weight.T + head.bias

    logits, values = network(features)
    torch.testing.assert_close(
        logits, through(network.actor, network.policy_head), atol=1e-6, rtol=1e-5
    )
    torch.testing.assert_close(
        values, through(network.critic, network.value_head)[:, 0], atol=1e-6, rtol=1e-5
    )


def test_initial_weights_are_orthogonal_with_the_fields_gains():
    network = made()
    weight = network.actor.layers[1].weight.detach()  # (8, 16): rows orthogonal, length sqrt 2
    torch.testing.assert_close(weight @ weight.T, 2.0 * torch.eye(8), atol=1e-5, rtol=1e-5)
    head = network.policy_head.weight.detach()  # (2, 8)
    torch.testing.assert_close(head @ head.T, 1e-4 * torch.eye(2), atol=1e-8, rtol=1e-4)
    assert network.value_head.weight.norm().item() == pytest.approx(1.0, rel=1e-5)
    assert all(p.abs().max() == 0.0 for p in network.parameters() if p.ndim == 1)


def test_initial_weights_come_from_the_generator_alone():
    state = torch.get_rng_state()
    first, second, other = made(3), made(3), made(4)
    assert torch.equal(torch.get_rng_state(), state)
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.policy_head.weight, other.policy_head.weight)


@pytest.mark.parametrize("encoder", ["flatten", "conv"])
def test_a_map_changes_the_answer(encoder):
    network = made(map_encoder=encoder)
    features, grid = inputs()
    assert network.needs_map
    before, after = network.outputs(features, grid), network.outputs(features, 1 - grid)
    assert before.shape == (7, 2)
    assert not torch.allclose(before, after)
    with pytest.raises(ValueError, match="reads the map"):
        network.outputs(features)


def test_without_an_encoder_the_map_has_no_weights():
    network = made(map_encoder="none")
    assert not network.needs_map
    assert network.actor.layers[0].weight.shape == (16, 3)


@pytest.mark.parametrize("shared", [False, True])
def test_critic_only_leaves_no_gradient_on_the_policy(shared):
    network = made(share_trunk=shared, map_encoder="flatten")
    features, grid = inputs()
    logits, values = network(features, grid, critic_only=True)
    assert not logits.requires_grad
    values.sum().backward()
    touched = {name for name, p in network.named_parameters() if p.grad is not None}
    expected = {"value_head.weight", "value_head.bias"}
    if not shared:
        expected |= {n for n, _ in network.named_parameters() if n.startswith("critic.")}
    assert touched == expected


def test_a_shared_trunk_has_no_second_body():
    network = made(share_trunk=True)
    features, _ = inputs()
    assert network.critic is None
    logits, values = network(features)
    torch.testing.assert_close(values, network.values(features))
    torch.testing.assert_close(logits, network.outputs(features))
    assert math.isfinite(values.sum().item())
