"""Every option in conf/ composes and validates; YAML keys and schema fields are the same."""

import importlib.util
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from journeyman.composition import compose_settings
from journeyman.config_folder import CONF_DIR
from journeyman.settings.root import Settings

GROUPS = sorted(path.name for path in CONF_DIR.iterdir() if path.is_dir())
OPTIONS = [(path.parent.name, path.stem) for path in sorted(CONF_DIR.glob("*/*.yaml"))]

WITHOUT_RAY = importlib.util.find_spec("ray") is None
COMPOSABLE = [
    pytest.param(
        *option,
        marks=pytest.mark.skipif(option == ("launch", "ray") and WITHOUT_RAY, reason="needs Ray"),
    )
    for option in OPTIONS
]

NEEDS = {
    ("dataset", "manifest"): ["dataset.manifest=captures/rollout_sample_manifest.json"],
    ("env", "gymnasium"): ["env.id=CartPole-v1"],
    ("env", "pettingzoo"): ["env.module=pettingzoo.butterfly.pistonball_v6"],
}
"""Overrides without which an option is rightly incomplete."""

KIND_OF = {("dataset", "small"): "scripted"}
"""Options named by their size, not their kind."""

EXPECTED = {
    "strategy": {"bc", "ppo", "anneal", "capture", "replay", "evaluate"},
    "dataset": {"scripted", "small", "manifest", "rollout"},
    "anneal": {
        "stepped",
        "linear",
        "cosine",
        "kickstart",
        "demo_augmented",
        "jump_start",
        "critic_first",
        "quick",
    },
    "social_reward": {"off", "c1", "c2", "c3", "staged"},
    "env": {"town", "gymnasium", "pettingzoo"},
    "policy": {"default", "small", "conv", "features"},
    "promotion": {"gate", "off"},
    "tracking": {"mlflow", "none"},
    "launch": {"local", "joblib", "slurm", "ray"},
    "sweep": {"grid", "optuna"},
    "experiment": {"quickstart", "cartpole", "acrobot", "pendulum", "simple_spread"},
    "debug": {"fast"},
}


def test_the_groups_and_options_are_these() -> None:
    found = {group: {option for g, option in OPTIONS if g == group} for group in GROUPS}
    assert found == EXPECTED


@pytest.mark.parametrize(("group", "option"), COMPOSABLE)
def test_option_composes_and_validates(group: str, option: str) -> None:
    settings = compose_settings([f"{group}={option}", *NEEDS.get((group, option), [])])
    if hasattr(getattr(settings, group, None), "kind"):
        kind = getattr(settings, group).kind
        assert kind == KIND_OF.get((group, option), option)
    assert Settings.model_validate(settings.model_dump(mode="json")) == settings


def test_a_saved_config_is_read_back_as_it_was() -> None:
    settings = compose_settings([])
    text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
    assert Settings.model_validate(yaml.safe_load(text)) == settings


def leaves(model: BaseModel, prefix: str = "") -> Iterator[str]:
    """Yields the dotted keys of a settings model's fields, down to plain values."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def yaml_keys(node: Any, prefix: str = "") -> Iterator[str]:
    """Yields the dotted keys of a composed config, as deep as its mappings go."""
    for name, child in node.items():
        if isinstance(child, dict) and child:
            yield from yaml_keys(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


@pytest.mark.parametrize(("group", "option"), COMPOSABLE)
def test_yaml_keys_equal_schema_fields(group: str, option: str) -> None:
    """No key of the schema rests on a default that the YAML does not show."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    overrides = [f"{group}={option}", *NEEDS.get((group, option), [])]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        raw = OmegaConf.to_container(compose("config", overrides=overrides), resolve=True)
    settings = compose_settings(overrides)
    shown = set(yaml_keys(raw))
    for key in leaves(settings):
        assert key in shown or any(k.startswith(f"{key}.") for k in shown), f"{key} has no YAML"


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yields the settings models reachable from a type annotation."""
    origin = typing.get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation)
    elif origin is not None or isinstance(annotation, types.UnionType):
        for argument in typing.get_args(annotation):
            yield from models(argument)


def test_every_setting_says_what_it_is() -> None:
    for model in set(models(Settings)):
        for name, field in model.model_fields.items():
            is_block = any(True for _ in models(field.annotation))
            if name != "kind" and not is_block:
                assert field.description, f"{model.__name__}.{name} has no description"


def test_the_config_keys_are_the_golden_list() -> None:
    """A new key is a visible decision: add it to golden_config_keys.txt."""
    golden = (Path(__file__).parent / "golden_config_keys.txt").read_text().split()
    assert sorted(leaves(compose_settings([]))) == golden


def test_experiments_start_with_their_command() -> None:
    for path in sorted(CONF_DIR.glob("experiment/*.yaml")) + sorted(CONF_DIR.glob("debug/*.yaml")):
        first = path.read_text().splitlines()[:2]
        assert f"# journeyman {path.parent.name}={path.stem}" in first, path
