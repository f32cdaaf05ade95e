"""The shipped rules, played in the environments they are for."""

import gymnasium
import numpy as np
import pytest

from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.policies.registry import demonstrator_from


def spec_of(env: gymnasium.Env) -> LaneSpec:
    names = tuple(f"feature_{i}" for i in range(env.observation_space.shape[0]))
    if isinstance(env.action_space, gymnasium.spaces.Discrete):
        actions = tuple(f"action_{i}" for i in range(env.action_space.n))
        return LaneSpec(env_id=env.spec.id, feature_names=names, action_names=actions)
    box = env.action_space
    return LaneSpec(
        env_id=env.spec.id,
        feature_names=names,
        action_names=tuple(f"action_{i}" for i in range(box.shape[0])),
        action_kind="box",
        action_low=tuple(box.low.tolist()),
        action_high=tuple(box.high.tolist()),
    )


def mean_return(env_id: str, name: str | None, episodes: int) -> float:
    """Mean return of a demonstrator, or of chance, over the seeds from 0 on."""
    env = gymnasium.make(env_id)
    policy = demonstrator_from(name, spec_of(env)) if name else None
    env.action_space.seed(0)
    returns = []
    for seed in range(episodes):
        obs, _ = env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            if policy is None:
                action = env.action_space.sample()
            else:
                seen = {"features": obs[np.newaxis].astype(np.float32)}
                action = policy.act(seen, np.random.default_rng(0)).actions[0]
                assert env.action_space.contains(action)
            obs, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    env.close()
    return float(np.mean(returns))


# The bar lies between chance and play worth imitating: Gymnasium's own thresholds are 475 of
# CartPole, -110 and 90 of the mountain cars and -100 of Acrobot; -200 is usual for Pendulum.
@pytest.mark.parametrize(
    ("env_id", "name", "bar"),
    [
        ("CartPole-v1", "cartpole", 475.0),
        ("MountainCar-v0", "mountain_car", -125.0),
        ("MountainCarContinuous-v0", "mountain_car", 85.0),
        ("Acrobot-v1", "acrobot", -100.0),
        ("Pendulum-v1", "pendulum", -200.0),
    ],
)
def test_the_shipped_rules_play_well_and_chance_does_not(env_id, name, bar):
    assert mean_return(env_id, name, 20) > bar
    assert mean_return(env_id, None, 3) < bar


@pytest.mark.parametrize("name", ["cartpole", "mountain_car", "acrobot", "pendulum"])
def test_a_rule_refuses_lanes_of_another_shape(name):
    spec = LaneSpec(env_id="test/other", feature_names=("a",), action_names=("b",))
    with pytest.raises(UserError, match=f"{name} plays .* test/other has 1 and 1 discrete"):
        demonstrator_from(name, spec)
