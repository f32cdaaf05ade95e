"""Demonstrators by name: shipped, registered, installed by other packages, trained."""

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from journeyman.checkpoint import EMPTY, save_checkpoint
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.learning.policy import initial_checkpoint
from journeyman.policies import registry
from journeyman.policies.classic_control import CartPoleBalancer
from journeyman.policies.random import RandomPolicy
from journeyman.policies.registry import (
    demonstrator_from,
    demonstrator_names,
    is_path,
    register_demonstrator,
)
from journeyman.seeding import SeedPlan
from support.training import SMALL

SPEC = LaneSpec(
    env_id="gym/CartPole-v1",
    feature_names=("position", "velocity", "angle", "turning"),
    action_names=("left", "right"),
)


@pytest.fixture(autouse=True)
def nothing_stays_registered(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})


def test_a_registered_factory_is_handed_the_spec():
    seen = []

    def factory(spec):
        seen.append(spec)
        return RandomPolicy(spec)

    register_demonstrator("my-rule_1", factory)
    assert isinstance(demonstrator_from("my-rule_1", SPEC), RandomPolicy)
    assert seen == [SPEC]
    assert "my-rule_1" in demonstrator_names()
    register_demonstrator("my-rule_1", factory)  # as when a module is imported again


def test_a_name_belongs_to_one_factory():
    register_demonstrator("mine", RandomPolicy)
    with pytest.raises(ValueError, match=r"'mine' belongs to journeyman\.policies\.random"):
        register_demonstrator("mine", CartPoleBalancer)
    with pytest.raises(ValueError, match="'cartpole' belongs to"):
        register_demonstrator("cartpole", RandomPolicy)


@pytest.mark.parametrize("name", ["", "a/b", "rule.safetensors", "random", "demonstrator"])
def test_names_that_mean_something_else_are_refused(name):
    with pytest.raises(ValueError, match="use letters, digits"):
        register_demonstrator(name, RandomPolicy)


def test_the_shipped_ones_need_no_registration():
    assert isinstance(demonstrator_from("cartpole", SPEC), CartPoleBalancer)
    assert {"cartpole", "mountain_car", "acrobot", "pendulum"} <= set(demonstrator_names())


def test_other_packages_name_theirs_by_entry_points(monkeypatch):
    point = EntryPoint("theirs", "journeyman.policies.random:RandomPolicy", "group")
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [point] * (group == "journeyman.demonstrators")
    )
    assert "theirs" in demonstrator_names()
    assert isinstance(demonstrator_from("theirs", SPEC), RandomPolicy)


def test_no_name_says_what_to_set():
    with pytest.raises(UserError) as refusal:
        demonstrator_from(None, SPEC)
    assert str(refusal.value) == (
        "env.demonstrator: gym/CartPole-v1 has no demonstrator; set env.demonstrator to cartpole, "
        "to the name of one that you register, or to the path of a checkpoint"
    )


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UserError, match=r"there is no 'carpole' .*did you mean cartpole\?"):
        demonstrator_from("carpole", SPEC)


def test_a_trained_policy_is_named_by_its_path(tmp_path: Path):
    path = tmp_path / "final.safetensors"
    save_checkpoint(initial_checkpoint(SMALL, SPEC, SeedPlan(0)), path)
    policy = demonstrator_from(str(path), SPEC)
    features = np.zeros((3, 4), np.float32)
    step = policy.act({"features": features}, np.random.default_rng(0))
    assert (policy.label, step.actions.shape) == ("final", (3,))


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path):
    trained, bare = tmp_path / "other.safetensors", tmp_path / "bare.safetensors"
    other = LaneSpec(env_id="other", feature_names=("x",), action_names=("left", "right"))
    save_checkpoint(initial_checkpoint(SMALL, other, SeedPlan(0)), trained)
    save_checkpoint(EMPTY, bare)
    with pytest.raises(UserError, match=r"other\.safetensors does not fit gym/CartPole-v1: feat"):
        demonstrator_from(str(trained), SPEC)
    with pytest.raises(UserError, match="holds no policy"):
        demonstrator_from(str(bare), SPEC)
    with pytest.raises(UserError, match="no such checkpoint"):
        demonstrator_from(str(tmp_path / "gone.safetensors"), SPEC)


def test_a_dataset_does_not_play():
    with pytest.raises(UserError, match=r"demos/manifest\.json is a dataset: it can be imitated"):
        demonstrator_from("demos/manifest.json", SPEC)


def test_a_pickle_is_no_checkpoint(tmp_path: Path):
    path = tmp_path / "policy.pt"
    path.write_bytes(b"\x80\x04}.")
    with pytest.raises(UserError, match="not a readable checkpoint"):
        demonstrator_from(str(path), SPEC)


def test_paths_and_names_are_told_apart():
    assert is_path("a/b")
    assert is_path("x.safetensors")
    assert not is_path("my-rule_1")
    assert not is_path("random")
