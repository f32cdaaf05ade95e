import subprocess
import sys

import numpy as np
import pytest

from journeyman.checkpoint import Checkpoint, save_checkpoint
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.learning.normalization import RunningMoments
from journeyman.learning.policy import initial_checkpoint, policy_from_checkpoint
from journeyman.policies.actions import draw_choices
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.seeding import SeedPlan
from journeyman.settings.policy import PolicySettings

SPEC = LaneSpec(
    env_id="test",
    feature_names=tuple(f"f{i}" for i in range(12)),
    action_names=("a", "b", "c", "d"),
    map_channels=("wall", "food", "people"),
    map_shape=(3, 6, 7),
    has_action_mask=True,
)


def checkpoint(seed=0, **changes):
    """Random weights large enough that logits differ by several nats."""
    values = {
        "hidden_sizes": (24, 16),
        "activation": "tanh",
        "share_trunk": False,
        "map_encoder": "flatten",
        "map_features": 10,
    }
    settings = PolicySettings.model_validate({**values, **changes})
    start = initial_checkpoint(settings, SPEC, SeedPlan(seed))
    part = {name: array.copy() for name, array in start.part("policy").items()}
    rng = np.random.default_rng(seed)
    part["policy_head.weight"] *= 50.0
    for name in part:
        if name.endswith(".bias"):
            part[name] = rng.normal(0.0, 0.3, part[name].shape).astype(np.float32)
    return start.with_parts({"policy": part})


def observation(lanes=33, seed=1):
    rng = np.random.default_rng(seed)
    mask = rng.random((lanes, 4)) < 0.6
    mask[:, 0] = True
    return {
        "features": rng.normal(0.0, 2.0, (lanes, 12)).astype(np.float32),
        "map": rng.integers(0, 3, (lanes, 3, 6, 7), dtype=np.uint8),
        "action_mask": mask,
    }


def with_statistics(start):
    moments = RunningMoments(12)
    moments.update(np.random.default_rng(2).normal(1.0, 3.0, (50, 12)))
    return start.with_parts({"normalizer": moments.arrays("feature")})


@pytest.mark.parametrize("encoder", ["flatten", "conv", "none"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("whitens", [False, True])
def test_logits_and_values_equal_torchs(encoder, activation, shared, whitens):
    start = checkpoint(map_encoder=encoder, activation=activation, share_trunk=shared)
    if whitens:
        start = with_statistics(start)
    obs = observation()
    logits, values = NumpyActorCritic.from_checkpoint(start).evaluate(obs)
    torch_logits, torch_values = policy_from_checkpoint(start).evaluate(obs)
    assert np.ptp(logits) > 1.0
    np.testing.assert_allclose(logits, torch_logits, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(values, torch_values, rtol=1e-6, atol=1e-6)
    assert logits.dtype == values.dtype == np.float32


def test_both_players_make_the_same_choices():
    start, obs = with_statistics(checkpoint()), observation(lanes=200)
    player = NumpyActorCritic.from_checkpoint(start, "champion")
    ours = player.act(obs, np.random.default_rng(3))
    theirs = policy_from_checkpoint(start).act(obs, np.random.default_rng(3))
    assert player.label == "champion"
    assert ours.actions.tolist() == theirs.actions.tolist()
    assert obs["action_mask"][np.arange(200), ours.actions].all()
    np.testing.assert_allclose(ours.log_probs, theirs.log_probs, atol=1e-5)
    best = player.act(obs, np.random.default_rng(3), deterministic=True)
    assert (best.log_probs >= ours.log_probs).all()


def test_acting_changes_neither_weights_nor_observation():
    start, obs = with_statistics(checkpoint(activation="relu")), observation()
    kept = {name: array.copy() for name, array in obs.items()}
    player = NumpyActorCritic.from_checkpoint(start)
    first = player.evaluate(obs)[0].tobytes()
    assert player.evaluate(obs)[0].tobytes() == first
    assert all(obs[name].tobytes() == kept[name].tobytes() for name in kept)


def test_sampling_follows_the_probabilities():
    # Probabilities .1, 0, .6, .3: uniforms up to .1 give 0, up to .7 give 2, above give 3.
    probabilities = np.array([0.1, 0.0, 0.6, 0.3], np.float32)
    with np.errstate(divide="ignore"):
        logits = np.repeat(np.log(probabilities)[None] + np.float32(3.0), 6, axis=0)
    uniforms = np.array([0.0, 0.099, 0.101, 0.699, 0.701, np.nextafter(1.0, 0.0)])
    found, log_probs = draw_choices(logits, None, uniforms)
    assert found.tolist() == [0, 0, 2, 2, 3, 3]
    np.testing.assert_allclose(np.exp(log_probs), probabilities[found], rtol=1e-6)
    best, log_probs = draw_choices(logits, None, None)
    assert best.tolist() == [2] * 6
    np.testing.assert_allclose(np.exp(log_probs), 0.6, rtol=1e-6)


def test_a_masked_action_is_never_drawn_however_the_uniform_falls():
    rng = np.random.default_rng(0)
    logits = rng.normal(0.0, 5.0, (2000, 6)).astype(np.float32)
    mask = rng.random((2000, 6)) < 0.4
    mask[np.arange(2000), rng.integers(0, 6, 2000)] = True
    allowed = np.where(mask, np.exp(logits.astype(np.float64)), 0.0)
    expected = np.log(allowed, where=mask, out=np.full((2000, 6), -np.inf))
    expected -= np.log(allowed.sum(axis=1, keepdims=True))
    for uniforms in (np.zeros(2000), np.full(2000, np.nextafter(1.0, 0.0)), rng.random(2000)):
        found, log_probs = draw_choices(logits, mask, uniforms)
        assert mask[np.arange(2000), found].all()
        np.testing.assert_allclose(log_probs, expected[np.arange(2000), found], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape"), [("features", (5, 11)), ("map", (5, 3, 6, 6)), ("action_mask", (5, 3))]
)
def test_an_observation_of_another_shape_is_refused(name, shape):
    obs = {**observation(lanes=5), name: np.zeros(shape, np.float32)}
    with pytest.raises(UserError, match=f"observation {name}"):
        NumpyActorCritic.from_checkpoint(checkpoint()).act(obs, np.random.default_rng(0))


def test_without_an_encoder_the_map_need_not_be_there():
    obs = observation()
    del obs["map"]
    step = NumpyActorCritic.from_checkpoint(checkpoint(map_encoder="none")).act(
        obs, np.random.default_rng(0)
    )
    assert len(step.actions) == 33


def test_a_checkpoint_without_a_policy_is_refused():
    with pytest.raises(UserError, match="holds no policy"):
        NumpyActorCritic.from_checkpoint(Checkpoint({}))


def test_it_plays_without_torch(tmp_path):
    save_checkpoint(checkpoint(), tmp_path / "policy.safetensors")
    code = f"""
import sys
sys.modules["torch"] = None
from pathlib import Path
import numpy as np
from journeyman.checkpoint import load_checkpoint
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
path = Path({str(tmp_path)!r}) / "policy.safetensors"
player = NumpyActorCritic.from_checkpoint(load_checkpoint(path))
obs = dict(features=np.zeros((3, 12), np.float32), map=np.zeros((3, 3, 6, 7), np.uint8),
           action_mask=np.ones((3, 4), bool))
print(player.act(obs, np.random.default_rng(0)).actions.shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "(3,)", done.stderr


@pytest.mark.parametrize("shared", [False, True])
def test_leaving_out_the_critic_changes_no_action(shared):
    start, obs = checkpoint(share_trunk=shared), observation()
    whole = NumpyActorCritic.from_checkpoint(start)
    actor_only = NumpyActorCritic.from_checkpoint(start, with_values=False)
    expected = whole.act(obs, np.random.default_rng(3))
    step = actor_only.act(obs, np.random.default_rng(3))
    np.testing.assert_array_equal(step.actions, expected.actions)
    np.testing.assert_array_equal(step.log_probs, expected.log_probs)
    assert np.isnan(step.values).all()
