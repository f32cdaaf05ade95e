from dataclasses import replace

import numpy as np
import pytest
import torch

from journeyman.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.learning.optimizers import adam
from journeyman.learning.policy import (
    TorchPolicy,
    acting_player,
    initial_checkpoint,
    network_from_checkpoint,
    policy_from_checkpoint,
    require_same_spec,
    weights,
)
from journeyman.seeding import SeedPlan
from support.signal_env import SignalEnv
from support.training import SMALL

SPEC = SignalEnv().lane_spec
CPU = torch.device("cpu")


def test_an_untrained_policy_depends_on_the_seed_alone():
    first, again = (initial_checkpoint(SMALL, SPEC, SeedPlan(5)) for _ in range(2))
    assert first.digest() == again.digest()
    assert first.digest("policy") != initial_checkpoint(SMALL, SPEC, SeedPlan(6)).digest("policy")
    assert first.state["counters"]["env_steps"] == 0
    assert LaneSpec.from_json(first.state["spec"]) == SPEC
    assert {array.dtype.name for array in first.part("policy").values()} == {"float32"}


def test_weights_come_back_from_disk_bit_for_bit(tmp_path):
    start = initial_checkpoint(SMALL, SPEC, SeedPlan(5))
    save_checkpoint(start, tmp_path / "a.safetensors")
    network = network_from_checkpoint(load_checkpoint(tmp_path / "a.safetensors"), CPU)
    assert start.with_parts({"policy": weights(network)}).digest() == start.digest()


def test_a_policy_acts_within_its_mask_and_by_its_probabilities():
    env = SignalEnv(num_worlds=500, forced=0.5)
    obs, _ = env.reset(seed=0)
    policy = policy_from_checkpoint(initial_checkpoint(SMALL, SPEC, SeedPlan(0)), "novice")
    step = policy.act(obs, np.random.default_rng(0))
    assert policy.label == "novice"
    rows = np.arange(env.num_envs)
    assert obs["action_mask"][rows, step.actions].all()
    forced = ~obs["action_mask"][:, 1]
    assert (step.log_probs[forced] == 0.0).all()
    # The untrained policy is almost uniform over four: 1/4 each, of about 500 free lanes;
    # four standard errors are 4 * sqrt(.1875 / 500) = .077.
    shares = np.bincount(step.actions[~forced], minlength=4) / (~forced).sum()
    assert np.abs(shares - 0.25).max() < 0.08
    np.testing.assert_allclose(step.log_probs[~forced], np.log(0.25), atol=0.1)


def test_deterministic_play_draws_nothing():
    obs, _ = SignalEnv().reset(seed=0)
    policy = policy_from_checkpoint(initial_checkpoint(SMALL, SPEC, SeedPlan(0)))
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    first = policy.act(obs, rng, deterministic=True)
    assert rng.bit_generator.state == state
    logits, _ = policy.evaluate(obs)
    best = np.where(obs["action_mask"], logits, -np.inf).argmax(axis=1)
    assert first.actions.tolist() == best.tolist()


def test_read_only_observations_are_accepted():
    obs, _ = SignalEnv().reset(seed=0)
    obs["features"].flags.writeable = False
    policy = policy_from_checkpoint(initial_checkpoint(SMALL, SPEC, SeedPlan(0)))
    assert policy.act(obs, np.random.default_rng(0)).actions.shape == (8,)


def test_weights_of_another_network_are_refused():
    start = initial_checkpoint(SMALL, SPEC, SeedPlan(0))
    wider = SMALL.model_copy(update={"hidden_sizes": (33, 32)})
    wrong = Checkpoint(
        start.arrays, {**start.state, "policy_settings": wider.model_dump(mode="json")}
    )
    with pytest.raises(UserError, match=r"actor\.layers\.0\.bias"):
        network_from_checkpoint(wrong, CPU)


def test_another_environment_is_refused():
    start = initial_checkpoint(SMALL, SPEC, SeedPlan(0))
    with pytest.raises(UserError, match=r"actions: expected .*answer_3.*, got .*answer_4"):
        require_same_spec(start, SignalEnv(signals=4).lane_spec)


def test_a_checkpoint_without_a_policy_is_refused():
    with pytest.raises(UserError, match="holds no policy"):
        policy_from_checkpoint(Checkpoint({}))


def test_adam_goes_on_from_its_arrays_bit_for_bit():
    def step(network, optimizer, seed):
        rng = np.random.default_rng(seed)
        features = torch.from_numpy(rng.standard_normal((9, 4)).astype(np.float32))
        optimizer.descend(network.outputs(features).square().sum(), 0.0, value=False)

    network = network_from_checkpoint(initial_checkpoint(SMALL, SPEC, SeedPlan(0)), CPU)
    optimizer = adam(network, 1e-2, 1e-5)
    step(network, optimizer, 0)
    other = network_from_checkpoint(
        Checkpoint({}, initial_checkpoint(SMALL, SPEC, SeedPlan(0)).state).with_parts(
            {"policy": weights(network)}
        ),
        CPU,
    )
    other_optimizer = adam(other, 1e-2, 1e-5)
    arrays = optimizer.arrays()
    assert not any(name.startswith("critic.") for name in arrays)
    other_optimizer.restore(arrays)
    for seed in (1, 2):
        step(network, optimizer, seed)
        step(other, other_optimizer, seed)
    pairs = zip(weights(network).values(), weights(other).values(), strict=True)
    assert all(a.tobytes() == b.tobytes() for a, b in pairs)


@pytest.mark.parametrize("encoder", ["none", "flatten", "conv"])
@pytest.mark.parametrize("shared", [False, True])
def test_who_plays_for_a_network_in_practice_chooses_as_the_network_would(encoder, shared):
    spec = replace(SPEC, map_channels=("a", "b"), map_shape=(2, 5, 5))
    settings = SMALL.model_copy(
        update={"map_encoder": encoder, "map_features": 8, "share_trunk": shared}
    )
    network = network_from_checkpoint(initial_checkpoint(settings, spec, SeedPlan(0)), CPU)
    optimizer = adam(network, 0.05, 1e-5)
    rng = np.random.default_rng(0)
    obs = {
        "features": rng.standard_normal((50, 4)).astype(np.float32),
        "map": rng.integers(0, 3, (50, 2, 5, 5), dtype=np.uint8),
        "action_mask": np.ones((50, 4), np.bool_),
    }
    before = acting_player(network, spec).act(obs, np.random.default_rng(1))
    for _ in range(5):  # it must see the weights as they are now
        grid = torch.from_numpy(obs["map"]) if network.needs_map else None
        outputs, values = network(torch.from_numpy(obs["features"]), grid)
        optimizer.descend((outputs - 1.0).square().sum() + values.sum(), 0.0)
    ours = acting_player(network, spec).act(obs, np.random.default_rng(1))
    theirs = TorchPolicy(network, spec, label="torch").act(obs, np.random.default_rng(1))
    assert ours.actions.tolist() == theirs.actions.tolist()
    np.testing.assert_allclose(ours.log_probs, theirs.log_probs, atol=1e-6)
    assert np.isnan(ours.values).all()
    assert np.isfinite(theirs.values).all()
    assert np.abs(before.log_probs - ours.log_probs).max() > 1e-3
