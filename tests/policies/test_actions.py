"""Legend: L lanes, N outputs of the policy, D components of an action."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from journeyman.env.protocol import LaneSpec
from journeyman.learning.collector import Collector
from journeyman.learning.distributions import (
    Categorical,
    DiagonalGaussian,
    MultiCategorical,
    mask_bias,
)
from journeyman.learning.normalization import Normalizer
from journeyman.learning.policy import (
    initial_checkpoint,
    network_from_checkpoint,
    policy_from_checkpoint,
)
from journeyman.policies.actions import (
    LOG_STD_HIGH,
    LOG_STD_LOW,
    choose,
    gaussian_log_prob,
    mask_allows,
    output_positions,
)
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.seeding import SeedPlan
from journeyman.settings.policy import PolicySettings
from support.action_envs import AnswerEnv
from support.training import SMALL

SIZES = (2, 3)
KINDS = ("discrete", "multi_discrete", "box")


def spec_of(kind, **changes):
    values = {
        "env_id": "test",
        "feature_names": tuple(f"f{i}" for i in range(6)),
        "action_names": ("a", "b", "c", "d", "e"),
        "map_channels": ("red", "green"),
        "map_shape": (2, 6, 5),
        "map_scale": 1.0 / 255.0,
        "action_kind": kind,
        "has_action_mask": kind != "box",
    }
    values |= {"action_sizes": SIZES} if kind == "multi_discrete" else {}
    if kind == "box":
        values |= {"action_low": (-1.0,) * 5, "action_high": (1.0,) * 5}
    return LaneSpec(**{**values, **changes})


def outputs(lanes, seed=0):
    return np.random.default_rng(seed).normal(0.0, 1.0, (lanes, 5)).astype(np.float32)


def masks(lanes, kind, seed=1):
    if kind == "box":
        return None
    mask = np.random.default_rng(seed).random((lanes, 5)) < 0.6
    mask[:, [0, 2]] = True  # a choice of each component
    return mask


LOG_STD = np.array([-1.0, -0.3, 0.0, 0.4, 0.8], np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("deterministic", [False, True])
def test_log_probabilities_are_those_of_the_distribution_practised_with(kind, deterministic):
    raw, mask = outputs(500), masks(500, kind)
    actions, log_probs = choose(
        spec_of(kind), raw, LOG_STD, mask, np.random.default_rng(2), deterministic=deterministic
    )
    tensor = torch.from_numpy(raw)
    bias = None if mask is None else mask_bias(torch.from_numpy(mask))
    law = {
        "discrete": lambda: Categorical.of(tensor, bias),
        "multi_discrete": lambda: MultiCategorical.of(tensor, SIZES, bias),
        "box": lambda: DiagonalGaussian(tensor, torch.from_numpy(LOG_STD)),
    }[kind]()
    spec = spec_of(kind)
    assert (actions.dtype, actions.shape) == (spec.action_dtype, (500, *spec.action_shape))
    expected = law.log_prob(torch.from_numpy(actions)).numpy()
    assert log_probs.dtype == np.float32
    # densities are sums of five squares up to 16: 1e-6 of them
    np.testing.assert_allclose(log_probs, expected, atol=1e-6, rtol=1e-6)
    if deterministic:
        assert (actions == law.mode().numpy()).all()
    elif mask is not None:
        assert mask_allows(mask, actions, spec.action_sizes).all()


@pytest.mark.parametrize("kind", KINDS)
def test_deterministic_choice_draws_nothing_and_a_drawn_one_what_it_says(kind):
    raw, mask = outputs(7), masks(7, kind)
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    choose(spec_of(kind), raw, LOG_STD, mask, rng, deterministic=True)
    assert rng.bit_generator.state == state
    choose(spec_of(kind), raw, LOG_STD, mask, rng, deterministic=False)
    again = np.random.default_rng(0)
    match kind:
        case "discrete":
            again.random(7)
        case "multi_discrete":
            again.random((7, 2))
        case "box":
            again.standard_normal((7, 5), dtype=np.float32)
    assert rng.bit_generator.state == again.bit_generator.state


def test_components_are_drawn_by_their_probabilities_and_independently():
    lanes = 20_000
    # components: (1/4, 3/4), and (1/2, 0, 1/2) where the second choice is masked
    row = np.log(np.array([1.0, 3.0, 2.0, 9.0, 2.0], np.float32))
    mask = np.array([[True, True, True, False, True]])
    actions, log_probs = choose(
        spec_of("multi_discrete"),
        np.repeat(row[None], lanes, axis=0),
        None,
        np.repeat(mask, lanes, axis=0),
        np.random.default_rng(0),
        deterministic=False,
    )
    counts = np.bincount(3 * actions[:, 0] + actions[:, 1], minlength=6)
    expected = lanes * np.array([0.125, 0.0, 0.125, 0.375, 0.0, 0.375])
    assert counts[[1, 4]].tolist() == [0, 0]
    # deviation sqrt(n p (1 - p)) is 47 and 68: five of them
    assert (np.abs(counts - expected) <= 5.0 * np.sqrt(expected)).all()
    of_pair = np.log(np.where(actions[:, 0] == 0, 0.125, 0.375))
    np.testing.assert_allclose(log_probs, of_pair, atol=1e-6)


def test_continuous_actions_are_drawn_from_their_normals():
    lanes = 5000
    means = np.repeat(outputs(1), lanes, axis=0)
    actions, log_probs = choose(
        spec_of("box"), means, LOG_STD, None, np.random.default_rng(0), deterministic=False
    )
    law = stats.norm(means[0], np.exp(LOG_STD))
    for d in range(5):
        component = stats.norm(means[0, d], math.exp(LOG_STD[d]))
        assert stats.kstest(actions[:, d], component.cdf).pvalue > 1e-3
    assert np.abs(np.corrcoef(actions.T) - np.eye(5)).max() < 5.0 / math.sqrt(lanes)
    np.testing.assert_allclose(log_probs, law.logpdf(actions).sum(axis=1), atol=1e-5)
    assert (np.abs(actions) > 1.0).any()  # beyond the bounds: the environment clips


def test_deviations_beyond_their_bounds_count_as_the_bounds():
    means = np.zeros((1000, 5), np.float32)
    wild = np.array([-50.0, 50.0, 0.0, -50.0, 0.0], np.float32)
    actions, log_probs = choose(
        spec_of("box"), means, wild, None, np.random.default_rng(0), deterministic=False
    )
    bounds = np.array([LOG_STD_LOW, LOG_STD_HIGH, 0.0, LOG_STD_LOW, 0.0], np.float32)
    np.testing.assert_allclose(actions.std(axis=0), np.exp(bounds), rtol=0.1)
    np.testing.assert_array_equal(log_probs, gaussian_log_prob(actions, means, bounds))


def test_a_box_action_without_deviations_is_a_bug():
    with pytest.raises(ValueError, match="needs log_std"):
        choose(spec_of("box"), outputs(1), None, None, np.random.default_rng(0), deterministic=True)


def test_which_outputs_actions_stand_for():
    pairs = np.array([[1, 2], [0, 0]])
    assert output_positions(pairs, SIZES).tolist() == [[1, 4], [0, 2]]
    assert output_positions(np.array([3, 0]), ()).tolist() == [[3], [0]]
    mask = np.array([[True, True, True, True, False], [True, False, True, False, False]])
    assert mask_allows(mask, pairs, SIZES).tolist() == [False, True]
    assert mask_allows(mask, np.array([0, 1]), ()).tolist() == [True, False]


def checkpoint(kind, *, encoder="flatten", **spec):
    """An untrained policy whose head is large enough for outputs to differ by a nat or so."""
    settings = PolicySettings(
        hidden_sizes=(24, 16),
        activation="tanh",
        share_trunk=False,
        map_encoder=encoder,
        map_features=10,
        initial_log_std=-0.5,
    )
    start = initial_checkpoint(settings, spec_of(kind, **spec), SeedPlan(0))
    part = {name: array.copy() for name, array in start.part("policy").items()}
    part["policy_head.weight"] *= 50.0
    return start.with_parts({"policy": part})


def observation(kind, lanes=64):
    rng = np.random.default_rng(1)
    obs = {
        "features": rng.normal(0.0, 1.0, (lanes, 6)).astype(np.float32),
        "map": rng.integers(0, 256, (lanes, 2, 6, 5), dtype=np.uint8),
    }
    mask = masks(lanes, kind)
    return obs if mask is None else {**obs, "action_mask": mask}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoder", ["flatten", "conv", "none"])
def test_both_players_play_alike(kind, encoder):
    start, obs = checkpoint(kind, encoder=encoder), observation(kind)
    ours, theirs = NumpyActorCritic.from_checkpoint(start), policy_from_checkpoint(start)
    for found, expected in zip(ours.evaluate(obs), theirs.evaluate(obs), strict=True):
        assert np.ptp(found) > 0.3
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    for deterministic in (False, True):
        mine, yours = (
            player.act(obs, np.random.default_rng(3), deterministic=deterministic)
            for player in (ours, theirs)
        )
        np.testing.assert_allclose(mine.actions, yours.actions, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(mine.log_probs, yours.log_probs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("encoder", ["flatten", "conv"])
def test_the_map_is_scaled_before_it_is_read(encoder):
    # A map of bytes at scale 1/255 reads as the same map of fractions at scale 1.
    obs = observation("discrete")
    scaled, plain = (
        policy_from_checkpoint(checkpoint("discrete", encoder=encoder, map_scale=scale))
        for scale in (1.0 / 255.0, 1.0)
    )
    fractions = {**obs, "map": (obs["map"] * np.float32(1.0 / 255.0)).astype(np.float32)}
    np.testing.assert_array_equal(scaled.evaluate(obs)[0], plain.evaluate(fractions)[0])
    assert np.abs(plain.evaluate(obs)[0] - scaled.evaluate(obs)[0]).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_practice_acts_as_the_player_does_bit_for_bit(kind):
    env, again = AnswerEnv(kind), AnswerEnv(kind)
    start = initial_checkpoint(SMALL, env.lane_spec, SeedPlan(0))
    network = network_from_checkpoint(start, torch.device("cpu"))
    collector = Collector(env, network, Normalizer(None, None), ticks=6)
    collector.begin(env.reset(seed=3)[0])
    rollout = collector.collect(np.random.default_rng(5))
    player, rng = policy_from_checkpoint(start), np.random.default_rng(5)
    obs, _ = again.reset(seed=3)
    for t in range(6):
        step = player.act(obs, rng)
        np.testing.assert_array_equal(rollout.actions[t], step.actions)
        np.testing.assert_array_equal(rollout.log_probs[t], step.log_probs)
        obs, *_ = again.step(step.actions)


def test_only_continuous_actions_have_deviations_and_these_start_as_set():
    weights = checkpoint("box").part("policy")
    assert weights["log_std"].tolist() == [-0.5] * 5
    wide = initial_checkpoint(SMALL, spec_of("multi_discrete"), SeedPlan(0))
    assert "log_std" not in wide.part("policy")
