"""SAME_STEP autoreset: what is last seen, what a cut is worth, and what crosses no border.

Twin towns show it: a town with a longer episode goes on where the other is cut.
"""

import numpy as np
import pytest
import torch

from journeyman.env.town.vector_env import TownVectorEnv
from journeyman.learning.collector import Collector
from journeyman.learning.gae import generalised_advantages
from journeyman.learning.normalization import Normalizer
from journeyman.learning.policy import initial_checkpoint, network_from_checkpoint
from journeyman.seeding import SeedPlan
from journeyman.services.rollout import capture_rollout
from support.training import SMALL

WAIT = 0
CUT = 12


@pytest.fixture
def twins(settings):
    """A town whose episodes are cut after 12 ticks, and its twin that goes on to 24."""

    def build(**overrides):
        towns = [
            TownVectorEnv(
                settings(agents=3, grid=10, episode_ticks=ticks, **overrides), num_worlds=2
            )
            for ticks in (CUT, 2 * CUT)
        ]
        for env in towns:
            env.reset(seed=5)
        return towns

    return build


def without(env, obs, *names):
    """What is seen, but for the share of the episode that is over, in which the twins differ."""
    columns = [env.lane_spec.feature_names.index(name) for name in ("episode_progress", *names)]
    features = np.delete(obs["features"], columns, axis=1)
    return {"features": features, "map": obs["map"].copy(), "mask": obs["action_mask"].copy()}


def equal(one, other, lanes=slice(None)):
    return all(np.array_equal(one[key][lanes], other[key][lanes]) for key in one)


def step_both(towns, tick):
    actions = np.array([1, 4, 5, 3, 6, 2]) if tick % 2 else np.full(6, 5)
    return [env.step(actions) for env in towns]


def test_the_final_observation_is_what_would_have_been_seen_next(twins):
    cut, whole = towns = twins()
    for tick in range(CUT):
        ours, theirs = step_both(towns, tick)
        if tick < CUT - 1:
            assert equal(without(cut, ours[0]), without(whole, theirs[0]))
            assert not ours[4]["_final_obs"].any()
    assert ours[3].all()
    assert not theirs[3].any()
    times = ("time_sin", "time_cos")
    final = without(cut, ours[4]["final_obs"], *times)
    assert equal(final, without(whole, theirs[0], *times))
    assert not equal(final, without(cut, ours[0], *times))
    np.testing.assert_array_equal(ours[1], theirs[1])  # the last tick's reward counts in full


def test_the_final_observation_tells_its_own_time(twins):
    cut, whole = towns = twins()
    for tick in range(CUT):
        ours, theirs = step_both(towns, tick)
    assert equal(without(cut, ours[4]["final_obs"]), without(whole, theirs[0]))


class Remembering(TownVectorEnv):
    """Keeps copies of what each step handed over."""

    def step(self, actions):
        outcome = super().step(actions)
        obs, rewards, terminated, truncated, info = outcome
        self.kept.append(
            [
                obs["features"].copy(),
                info["final_obs"]["features"].copy(),
                rewards.copy(),
                terminated.copy(),
                truncated.copy(),
            ]
        )
        return outcome


def test_the_value_of_what_comes_next(settings):
    """Practice bootstraps from the next state, at a cut from the last one, at a death from none."""
    # Hunger of .0425 at most falls to .03 within (.0425 - .03) / .0025 = 5 ticks, and then again
    # only after a respawn at .5: everybody faints once an episode of 12 ticks.
    overrides = {"needs.start_low": 0.035, "needs.start_high": 0.0425, "jobs.shifts": []}
    env = Remembering(settings(agents=2, grid=10, episode_ticks=CUT, **overrides), num_worlds=2)
    env.kept = []
    start = initial_checkpoint(SMALL, env.lane_spec, SeedPlan(0))
    network = network_from_checkpoint(start, torch.device("cpu"))
    collector = Collector(env, network, Normalizer(None, None), ticks=2 * CUT + 3)
    collector.begin(env.reset(seed=0)[0])
    rollout = collector.collect(np.random.default_rng(0))
    nexts, finals, rewards, terminated, truncated = (
        np.stack(p) for p in zip(*env.kept, strict=True)
    )

    def value(features):
        with torch.inference_mode():
            return network.values(torch.from_numpy(features)).numpy()

    gamma, gae_lambda = 0.9, 0.8
    advantages, returns = generalised_advantages(
        rollout.rewards,
        rollout.values,
        rollout.next_values,
        rollout.terminated,
        rollout.truncated,
        gamma=gamma,
        gae_lambda=gae_lambda,
    )
    seen = {"alive": 0, "cut": 0, "dead": 0}
    for t in range(len(rewards)):
        for lane in range(env.num_envs):
            if terminated[t, lane]:
                kind, target = "dead", rewards[t, lane]
            elif truncated[t, lane]:
                kind, target = "cut", rewards[t, lane] + gamma * value(finals[t])[lane]
            elif t + 1 < len(rewards):
                carried = gamma * gae_lambda * advantages[t + 1, lane]
                kind, target = "alive", rewards[t, lane] + gamma * value(nexts[t])[lane] + carried
            else:
                continue
            seen[kind] += 1
            assert returns[t, lane] == pytest.approx(target, abs=2e-5), (kind, t, lane)
    assert seen["dead"] >= 4
    assert seen["cut"] >= 4
    assert seen["alive"] > 60


def test_whoever_faints_is_last_seen_fainted_and_then_at_home(settings):
    env = TownVectorEnv(settings(agents=3, grid=10), num_worlds=2)
    env.reset(seed=0)
    env.town.agents["energy"][1, 2] = 0.031
    env.town.agents["x"][1, 2], env.town.agents["y"][1, 2] = 0, 0
    env.town.pairs["trust"][1, 2, 0] = 0.25
    obs, rewards, terminated, _, info = env.step(np.full(6, WAIT))
    names = env.lane_spec.feature_names
    energy, trust = names.index("need_energy"), names.index("trust_mean")
    assert list(np.flatnonzero(terminated)) == [5]
    assert info["final_obs"]["features"][5, energy] == pytest.approx(0.029)
    assert obs["features"][5, energy] == pytest.approx(0.5)
    assert rewards[5] < -1.0
    # The same person goes on: half of two others at .25 is .125, before and after.
    for seen in (info["final_obs"], obs):
        assert seen["features"][5, trust] == pytest.approx(0.125)
    agent = env.town.agents[1, 2]
    assert (agent["x"], agent["y"]) == (agent["home_x"], agent["home_y"])


def test_one_lane_that_ends_leaves_the_others_in_their_episode(twins):
    cut, other = twins()
    for env in (cut, other):
        env.step(np.full(6, 5))
    cut.town.agents["hunger"][0, 0] = 0.01
    ours, theirs = step_both((cut, other), 0)
    assert list(ours[4]["_final_obs"]) == [True] + 5 * [False]
    # World 1 knows nothing of it at all.
    lanes = slice(3, 6)
    assert equal(without(cut, ours[0]), without(other, theirs[0]), lanes)
    np.testing.assert_array_equal(ours[1][lanes], theirs[1][lanes])


def test_nothing_of_an_episode_is_left_in_the_next(settings):
    """What a lane sees at a new beginning says nothing of the end before it."""
    env = TownVectorEnv(settings(agents=3, grid=10, episode_ticks=CUT), num_worlds=2)
    obs, _ = env.reset(seed=0)
    town, rng = env.demonstrator(), np.random.default_rng(0)
    names = env.lane_spec.feature_names
    fresh = [
        names.index(name)
        for name in (
            "episode_progress",
            *(f"using_{kind}" for kind in ("fridge", "stove", "shower", "bed")),
            *(f"queueing_{kind}" for kind in ("fridge", "stove", "shower", "bed")),
            "last_action_success",
            "trust_mean",
            "familiarity_mean",
            "rivalry_max",
            "rivalry_avoid_count",
            "chat_cooldown",
            "lateness",
        )
    ]
    for _ in range(3):
        for _ in range(CUT):
            obs, _, _, truncated, info = env.step(town.act(obs, rng).actions)
        assert truncated.all()
        assert (info["final_obs"]["features"][:, fresh] != 0).any()
        assert not obs["features"][:, fresh].any()
        assert obs["action_mask"][:, :8].all()


def test_no_recorded_transition_crosses_a_border(settings):
    """A capture pairs what was seen in an episode with what was done in it."""
    env = TownVectorEnv(settings(agents=2, grid=10, episode_ticks=CUT), num_worlds=2)
    capture = capture_rollout(
        env, env.demonstrator(), ticks=2 * CUT + 1, seed=0, rng=np.random.default_rng(0)
    )
    progress = env.lane_spec.feature_names.index("episode_progress")
    last_action = env.lane_spec.feature_names.index("last_action_wait")
    # Before each action the share of the episode gone by: 0/12 ... 11/12, 0/12 ... 11/12, 0/12.
    ticks = np.arange(2 * CUT + 1) % CUT
    for lane in range(env.num_envs):
        seen = capture.features[lane]
        np.testing.assert_allclose(seen[:, progress], ticks / CUT, atol=1e-6)
        np.testing.assert_array_equal(capture.truncated[lane], ticks == CUT - 1)
        told = seen[:, last_action : last_action + 9].argmax(axis=1)
        inside = ticks[1:] > 0
        np.testing.assert_array_equal(told[1:][inside], capture.actions[lane][:-1][inside])
        assert not told[1:][~inside].any()  # a new episode begins with "wait"
