"""The diagnosis of a stage: distance to the prior, agreement with the demonstrator, critic."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from journeyman.data.trajectory import Demonstrations
from journeyman.env.protocol import LaneSpec
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.results import BCTrainingResult, PPOTrainingResult
from journeyman.services import diagnosis
from journeyman.services.diagnosis import diagnose, kl_divergence, most_probable
from support.training import SMALL

DISCRETE = LaneSpec(
    env_id="test/lanes",
    feature_names=("left", "right"),
    action_names=("wait", "go", "turn"),
    has_action_mask=True,
    forced_actions=(0,),
)
MULTI = replace(
    DISCRETE,
    action_names=("a0", "a1", "b0", "b1", "b2"),
    action_kind="multi_discrete",
    action_sizes=(2, 3),
    has_action_mask=False,
    forced_actions=(),
)
BOX = replace(
    DISCRETE,
    action_names=("gas", "wheel"),
    action_kind="box",
    action_low=(-1.0, -1.0),
    action_high=(1.0, 1.0),
    has_action_mask=False,
    forced_actions=(),
)
LINEAR = SMALL.model_copy(update={"hidden_sizes": ()})
IMITATED = BCTrainingResult.model_construct()


def linear(spec: LaneSpec, matrix: Any, **more: Any) -> NumpyActorCritic:
    """A policy whose outputs are the features times a matrix."""
    head = np.array(matrix, np.float32)
    weights = {"policy_head.weight": head, "policy_head.bias": np.zeros(len(head), np.float32)}
    return NumpyActorCritic({**weights, **more}, spec, LINEAR, label="linear", with_values=False)


def shown(spec: LaneSpec, features: Any, actions: Any, mask: Any = None) -> Demonstrations:
    rows = len(features)
    dtype = np.float32 if spec.action_kind == "box" else np.int64
    return Demonstrations(
        features=np.array(features, np.float32),
        actions=np.array(actions, dtype),
        action_mask=None if mask is None else np.array(mask, np.bool_),
        weights=np.ones(rows, np.float32),
        trajectory_ids=np.arange(rows),
        groups=np.arange(rows),
        lane_spec=spec,
        label="shown",
    )


def practised(**last: float) -> PPOTrainingResult:
    return PPOTrainingResult.model_construct(last_update=last)


@pytest.mark.parametrize("spec", [DISCRETE, MULTI, BOX], ids=lambda spec: spec.action_kind)
def test_the_distance_is_that_of_the_loss(spec: LaneSpec) -> None:
    # Another implementation, on tensors, of the same formulas.
    torch = pytest.importorskip("torch")
    from journeyman.learning import distributions

    rng = np.random.default_rng(0)
    count = len(spec.action_names)
    one, other = (rng.normal(size=(50, count)).astype(np.float32) for _ in range(2))
    stds = [rng.normal(size=count).astype(np.float32) for _ in range(2)]
    mask = None
    if spec is BOX:
        bounded = [distributions.bounded_log_std(torch.from_numpy(std)) for std in stds]
        pair = [
            distributions.DiagonalGaussian(torch.from_numpy(means), std)
            for means, std in zip((one, other), bounded, strict=True)
        ]
    else:
        bias = None
        if spec is DISCRETE:
            mask = rng.random((50, count)) < 0.6
            mask[:, 0] = True
            bias = distributions.mask_bias(torch.from_numpy(mask))
        of = distributions.Categorical.of
        if spec is MULTI:
            of = lambda logits, bias: distributions.MultiCategorical.of(logits, (2, 3), bias)  # noqa: E731
        pair = [of(torch.from_numpy(logits), bias) for logits in (one, other)]
    expected = pair[0].kl_divergence(pair[1]).numpy()
    given = stds if spec is BOX else (None, None)
    found = kl_divergence(spec, one, given[0], other, given[1], mask)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert found.max() > 0.1


def test_the_distance_to_the_prior_is_a_mean_over_held_out_states() -> None:
    # The prior is indifferent, 1/2 and 1/2; the policy's odds are 3 : 1 in row 2 and 1 : 1 in
    # row 3. KL(prior, policy) = log(1/2) - (log 3/4 + log 1/4) / 2 = log(2 / sqrt 3) and 0.
    spec = replace(DISCRETE, action_names=("go", "turn"), has_action_mask=False, forced_actions=())
    demonstrations = shown(spec, [[9, 9], [9, 9], [1, 0], [0, 0]], [0, 0, 0, 0])
    policy = linear(spec, [[math.log(3.0), 0.0], [0.0, 0.0]])
    prior = linear(spec, np.zeros((2, 2)))
    found = diagnose(policy, prior, IMITATED, demonstrations, np.array([2, 3]))
    assert found.kl_to_prior == pytest.approx(math.log(2.0 / math.sqrt(3.0)) / 2.0)
    assert found.states == 2
    assert diagnose(policy, None, IMITATED, demonstrations, np.array([2])).kl_to_prior is None


def test_agreement_is_recall_by_demonstrated_action_on_decisions() -> None:
    # It goes where left is seen, turns where right is, whatever is shown.
    policy = linear(DISCRETE, [[0, 0], [1, 0], [0, 1]])
    free, forced = [True] * 3, [True, False, False]
    left, right = [1, 0], [0, 1]
    rows = [
        (left, 1, free),  # right
        (right, 1, free),  # wrong: it turns
        (right, 1, free),  # wrong
        (right, 2, free),  # right
        (left, 0, forced),  # no decision: the mask leaves nothing else
        (left, 2, free),  # not held out
    ]
    demonstrations = shown(DISCRETE, *(list(column) for column in zip(*rows, strict=True)))
    found = diagnose(policy, None, IMITATED, demonstrations, np.arange(5))
    assert found.agreement_by_action == pytest.approx({"go": 1 / 3, "turn": 1.0})
    assert found.support == {"go": 3, "turn": 1}
    assert found.agreement == 0.5


def test_of_several_components_each_choice_counts_by_itself() -> None:
    # It answers (a0, b2) always.
    policy = linear(MULTI, np.zeros((5, 2)), **{"policy_head.bias": np.float32([1, 0, 0, 0, 1])})
    demonstrations = shown(MULTI, np.zeros((3, 2)), [[0, 2], [0, 1], [1, 2]])
    found = diagnose(policy, None, IMITATED, demonstrations, np.arange(3))
    assert found.agreement_by_action == {"a0": 1.0, "a1": 0.0, "b1": 0.0, "b2": 1.0}
    assert found.support == {"a0": 2, "a1": 1, "b1": 1, "b2": 2}
    assert found.agreement == pytest.approx(1 / 3)


def test_continuous_actions_have_errors_by_component() -> None:
    policy = linear(BOX, [[1, 0], [0, 1]], log_std=np.zeros(2, np.float32))
    demonstrations = shown(BOX, [[1, 1], [0, 0]], [[1.0, 0.0], [0.5, 0.0]])
    found = diagnose(policy, policy, IMITATED, demonstrations, np.arange(2))
    # gas: |1 - 1|, |0 - .5|; wheel: |1 - 0|, |0 - 0|
    assert found.action_errors == pytest.approx({"gas": 0.25, "wheel": 0.5})
    assert found.agreement is None
    assert found.kl_to_prior == pytest.approx(0.0, abs=1e-12)


def test_the_critics_error_is_the_last_updates() -> None:
    policy = linear(DISCRETE, np.zeros((3, 2)))
    found = diagnose(policy, None, practised(value_rmse=1.5, explained_variance=0.25), None, None)
    assert (found.value_rmse, found.explained_variance) == (1.5, 0.25)
    assert (found.states, found.agreement, found.agreement_by_action) == (0, None, {})
    imitated = diagnose(policy, None, IMITATED, None, None)
    assert (imitated.value_rmse, imitated.explained_variance) == (None, None)


def test_the_likeliest_action_is_an_allowed_one() -> None:
    logits = np.array([[5.0, 1.0, 0.0]], np.float32)
    assert most_probable(DISCRETE, logits, None).tolist() == [0]
    assert most_probable(DISCRETE, logits, np.array([[False, True, True]])).tolist() == [1]


def test_states_are_looked_at_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    features, mask = rng.normal(size=(50, 2)), np.ones((50, 3), np.bool_)
    demonstrations = shown(DISCRETE, features, rng.integers(0, 3, 50), mask)
    policy, prior = (linear(DISCRETE, rng.normal(size=(3, 2))) for _ in range(2))
    whole = diagnose(policy, prior, IMITATED, demonstrations, np.arange(50))
    monkeypatch.setattr(diagnosis, "CHUNK", 7)
    pieces = diagnose(policy, prior, IMITATED, demonstrations, np.arange(50))
    assert pieces.kl_to_prior == pytest.approx(whole.kl_to_prior)
    assert pieces.agreement_by_action == whole.agreement_by_action
