import numpy as np
import pytest
import torch

from journeyman.learning.optimizers import adam
from journeyman.learning.policy import initial_checkpoint, network_from_checkpoint, weights
from journeyman.seeding import SeedPlan
from support.signal_env import SignalEnv
from support.training import SMALL

SPEC = SignalEnv().lane_spec
CPU = torch.device("cpu")


@pytest.mark.parametrize("max_norm", [0.0, 0.5])
@pytest.mark.parametrize("shared", [False, True])
def test_a_step_is_the_one_that_torchs_adam_makes_weight_by_weight(max_norm, shared):
    settings = SMALL.model_copy(update={"share_trunk": shared})
    start = initial_checkpoint(settings, SPEC, SeedPlan(0))
    network, plain = (network_from_checkpoint(start, CPU) for _ in range(2))
    optimizer = adam(network, 1e-2, 1e-5)
    reference = torch.optim.Adam(plain.parameters(), lr=1e-2, eps=1e-5)
    features = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    for _ in range(4):
        outputs, values = network(features)
        norm = optimizer.descend(outputs.square().sum() + values.sum(), max_norm)
        outputs, values = plain(features)
        reference.zero_grad()
        (outputs.square().sum() + values.sum()).backward()
        limit = max_norm if max_norm > 0.0 else float("inf")
        expected = torch.nn.utils.clip_grad_norm_(plain.parameters(), limit)
        reference.step()
        torch.testing.assert_close(norm, expected, rtol=1e-5, atol=1e-6)
    for name, array in weights(plain).items():
        np.testing.assert_allclose(weights(network)[name], array, rtol=1e-4, atol=1e-6)


def test_what_is_not_to_be_stepped_keeps_weights_and_moments():
    network = network_from_checkpoint(initial_checkpoint(SMALL, SPEC, SeedPlan(0)), CPU)
    optimizer = adam(network, 1e-2, 1e-5)
    features = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))

    def loss():
        outputs, values = network(features)
        return outputs.square().sum() + values.square().sum()

    optimizer.descend(loss(), 0.0)
    kept, moments = weights(network), optimizer.arrays()
    optimizer.descend(loss(), 0.0, policy=False)
    moved = {
        name for name, array in weights(network).items() if not np.array_equal(array, kept[name])
    }
    assert moved == {name for name in kept if name.startswith(("critic.", "value_head."))}
    now = optimizer.arrays()
    still = {name for name in moments if np.array_equal(moments[name], now[name])}
    assert {name.partition(":")[0] for name in still} == kept.keys() - moved
    assert now["actor.layers.0.weight:step"] == 1
    assert now["value_head.weight:step"] == 2


def test_gradients_taken_away_come_back():
    network = network_from_checkpoint(initial_checkpoint(SMALL, SPEC, SeedPlan(0)), CPU)
    optimizer = adam(network, 1e-2, 1e-5)
    network.zero_grad(set_to_none=True)
    outputs, values = network(torch.ones(8, 4))
    assert optimizer.descend(outputs.sum() + values.sum(), 0.0) > 0.0
