"""A policy as an MLflow model: what it answers, and what it refuses."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from journeyman.checkpoint import Checkpoint, load_checkpoint
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.policies.mlflow_flavor import _load_pyfunc, write_model
from journeyman.policies.numpy_actor_critic import NumpyActorCritic

RNG = np.random.default_rng
SETTINGS = {
    "hidden_sizes": [8],
    "activation": "tanh",
    "share_trunk": True,
    "map_encoder": "none",
    "map_features": 1,
}


def checkpoint(**changes):
    """A policy of three features with random weights, and what only training needs."""
    values = {
        "env_id": "three",
        "feature_names": ("left", "right", "speed"),
        "action_names": ("a", "b", "c", "d"),
    }
    spec = LaneSpec(**{**values, **changes})
    rng, outputs = RNG(0), len(spec.action_names)
    weights = {
        "actor.layers.0.weight": rng.normal(size=(8, 3)),
        "actor.layers.0.bias": rng.normal(size=8),
        "policy_head.weight": rng.normal(size=(outputs, 8)),
        "policy_head.bias": rng.normal(size=outputs),
        "value_head.weight": rng.normal(size=(1, 8)),
        "value_head.bias": rng.normal(size=1),
    }
    if spec.action_kind == "box":
        weights["log_std"] = np.zeros(outputs)
    arrays = {f"policy/{name}": array.astype(np.float32) for name, array in weights.items()}
    from journeyman.composition import compose_settings

    settings = compose_settings(["policy=small"]).policy.model_dump(mode="json") | SETTINGS
    state = {
        "spec": spec.to_json(),
        "policy_settings": settings,
        "counters": {"env_steps": 5},
        "tracker": {"mlflow": {}},
    }
    return Checkpoint({**arrays, "ppo_optimizer/m": np.zeros(1000, np.float32)}, state)


def features(lanes=50):
    return RNG(1).normal(size=(lanes, 3)).astype(np.float32)


def loaded(folder, **changes):
    write_model(checkpoint(**changes), folder)
    return _load_pyfunc(str(folder))


def test_a_model_holds_the_policy_and_text_alone(tmp_path):
    known_by = write_model(checkpoint(), tmp_path / "policy")
    assert known_by["weights_digest"] == checkpoint().digest("policy")
    files = {path.name for path in (tmp_path / "policy").iterdir()}
    assert files == {"MLmodel", "policy.safetensors", "requirements.txt", "spec.json"}
    kept = load_checkpoint(tmp_path / "policy" / "policy.safetensors")
    assert kept.digest("policy") == checkpoint().digest("policy")
    assert not kept.part("ppo_optimizer")
    assert "tracker" not in kept.state
    spec = json.loads((tmp_path / "policy" / "spec.json").read_text())
    assert spec["spec"]["feature_names"] == ["left", "right", "speed"]


def test_it_answers_as_the_player_does_whatever_form_it_is_asked_in(tmp_path):
    model, seen = loaded(tmp_path), features()
    player = NumpyActorCritic.from_checkpoint(checkpoint())
    expected = player.act({"features": seen}, RNG(0), deterministic=True).actions
    assert len(set(expected.tolist())) > 1
    frame = pd.DataFrame(seen, columns=["left", "right", "speed"])
    asked = {
        "array": seen,
        "float64": seen.astype(np.float64),
        "list": seen.tolist(),
        "dict": {"features": seen},
        "dict of lists": {"features": seen.tolist()},
        "frame": frame,
        "frame in another order, with more in it": frame.assign(more=1.0)[
            ["speed", "more", "left", "right"]
        ],
        "frame without names": pd.DataFrame(seen),
    }
    for form, data in asked.items():
        assert model.predict(data).tolist() == expected.tolist(), form


def test_it_draws_by_its_seed_when_asked_to(tmp_path):
    model, seen = loaded(tmp_path), np.repeat(features(1), 4000, axis=0)
    drawn = model.predict(seen, {"deterministic": False, "seed": 3})
    assert drawn.tolist() == model.predict(seen, {"deterministic": False, "seed": 3}).tolist()
    assert drawn.tolist() != model.predict(seen, {"deterministic": False, "seed": 4}).tolist()
    logits = NumpyActorCritic.from_checkpoint(checkpoint()).outputs({"features": seen[:1]})[0]
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    # The largest deviation of a share over 4000 draws is 0.5 / sqrt(4000) = 0.008; five of these.
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 4000, shares, atol=0.04)


def test_masks_are_honoured(tmp_path):
    model, seen = loaded(tmp_path, has_action_mask=True), features()
    mask = np.zeros((50, 4), bool)
    mask[:, 2] = True
    assert set(model.predict({"features": seen, "action_mask": mask}).tolist()) == {2}
    with pytest.raises(UserError, match=r"action_mask.*\(50, 4\), got None"):
        model.predict(seen)


def test_continuous_actions_stay_within_their_bounds(tmp_path):
    box = {
        "action_names": ("x", "y"),
        "action_kind": "box",
        "action_low": (-0.1, -math.inf),
        "action_high": (0.1, math.inf),
    }
    actions = loaded(tmp_path, **box).predict(features())
    assert (actions.shape, actions.dtype) == ((50, 2), np.float32)
    assert np.abs(actions[:, 0]).max() == np.float32(0.1)
    assert np.abs(actions[:, 1]).max() > 0.1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (np.zeros((2, 4), np.float32), r"shape \(2, 3\), got \(2, 4\)"),
        (np.zeros(3, np.float32), r"shape \(n, 3\), got \(3,\)"),
        ({"observations": [[0.0] * 3]}, r"need 'features' \(got \['observations'\]\)"),
        (pd.DataFrame({"left": [0.0], "right": [0.0]}), "lacks the features speed"),
    ],
)
def test_what_the_policy_was_not_made_for_is_refused(tmp_path, data, said):
    with pytest.raises(UserError, match=said):
        loaded(tmp_path).predict(data)


def test_a_checkpoint_without_a_policy_is_no_model(tmp_path):
    with pytest.raises(UserError, match="holds no policy"):
        write_model(Checkpoint({}), tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_features_that_are_not_finite_are_refused_by_name(tmp_path, value):
    """NaN would have been answered with the first action; 1e300 is infinite as a float32."""
    model, seen = loaded(tmp_path), features(4).astype(np.float64)
    seen[1, 0] = seen[2, 2] = seen[3, 2] = value
    for data in (seen, {"features": seen}, pd.DataFrame(seen, columns=["left", "right", "speed"])):
        with pytest.raises(ValueError, match="3 of 12 feature values are not finite, in left, sp"):
            model.predict(data)
