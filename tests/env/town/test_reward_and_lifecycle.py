"""Reward terms, fainting, and what befalls the town."""

import numpy as np
import pytest

from journeyman.env.town.vector_env import TownVectorEnv

WAIT, EAT, CHAT = 0, 1, 6


def test_survival_weighs_squared_deficits(stage):
    town = stage()
    # resulting needs of .5, .4, .3 (one tick's decay added beforehand)
    town.agents["hunger"][0] = 0.5 + 0.0025
    town.agents["hygiene"][0] = 0.4 + 0.00125
    town.agents["energy"][0] = 0.3 + 0.002
    terms = town.step()["terms"](0)
    # .002 - .1 x (1 x .25 + .6 x .36 + .8 x .49) = .002 - .0858
    assert terms["survival"] == pytest.approx(-0.0838, abs=1e-6)


def test_the_sum_is_clipped_and_faints_are_not(stage):
    town = stage(**{"reward.needs_scale": 1.0})
    town.agents["hunger"][0] = 0.03
    played = town.step()
    terms = played["terms"](0)
    assert terms["survival"] < -0.9
    assert terms["survival"] + terms["clipping"] == pytest.approx(-0.2, abs=1e-6)
    assert terms["faint"] == -1.0
    assert played["rewards"][0] == pytest.approx(-1.2, abs=1e-6)


def test_terms_sum_to_the_reward_exactly_in_any_order(stage):
    town = stage(social_stage="C3")
    rng = np.random.default_rng(0)
    for _ in range(400):
        played = town.step(*rng.integers(0, 9, 8))
        terms = played["info"]["reward_terms"]
        for order in (slice(None), slice(None, None, -1)):
            total = np.zeros(8, np.float32)
            for column in terms[:, order].T:
                total += column
            np.testing.assert_array_equal(total, played["info"]["reward_terms"].sum(axis=1))
            np.testing.assert_array_equal(total, np.float32(played["rewards"]))


@pytest.mark.parametrize("need", ["hunger", "energy"])
def test_a_faint_ends_the_lane_and_the_agent_goes_on_from_home(stage, need):
    town = stage()
    fridge = town.object(1)
    town.put(0, at=fridge)
    town.step(EAT)
    town.put(1, at=fridge)
    town.step(WAIT, EAT)
    assert town.agents["queue"][1] == fridge
    town.agents[need][:2] = -1.0 if need == "hunger" else 0.02
    town.pairs["trust"][1, 0] = 0.5
    town.agents["wallet"][1] = 1.25
    played = town.step()
    info, names = played["info"], town.env.lane_spec.feature_names
    at = names.index(f"need_{need}")
    assert list(played["terminated"][:3]) == [True, True, False]
    assert not played["truncated"].any()
    assert list(info["_final_obs"][:3]) == [True, True, False]
    assert info["final_obs"]["features"][1, at] <= 0.03
    assert played["obs"]["features"][1, at] == 0.5
    assert info["final_obs"]["features"][1, names.index("queueing_fridge")] == 1.0
    assert played["obs"]["features"][1, names.index("queueing_fridge")] == 0.0
    assert town.agents["x"][1] == town.agents["home_x"][1]
    assert town.objects["user"][fridge] == -1
    assert town.objects["queue_length"][fridge] == 0
    # The meal ended, complete or not: closed for 60 ticks to who ate, not to who waited.
    closed = town.env.town.cooldowns[0, fridge]
    assert list(closed[:2]) == [town.clock["tick"] + 60, 0]
    assert town.pairs["trust"][1, 0] == 0.5
    assert town.agents["wallet"][1] == 1.25


def test_hygiene_makes_nobody_faint(stage):
    town = stage()
    town.agents["hygiene"][0] = 0.0
    assert not town.step()["terminated"].any()


@pytest.mark.parametrize(
    ("name", "until", "shortest", "longest"),
    [
        ("price_spike", "price_until", 60, 120),
        ("blackout", "blackout_until", 20, 60),
        ("outage", "outage_until", 20, 60),
        ("arranged_meet", "meet_until", 30, 45),
    ],
)
def test_perturbations_last_as_long_as_they_may(stage, name, until, shortest, longest):
    town = stage(**{f"perturbations.{name}.per_day": 100.0})
    lengths, last = [], 0
    for _ in range(700):
        tick = int(town.clock["tick"])
        town.step()
        if town.clock[until] != last:
            last = int(town.clock[until])
            lengths.append(last - tick)
        if name == "price_spike" and last > tick:
            assert 1.2 <= town.clock["price_factor"] <= 1.8
    assert len(lengths) >= 3
    assert all(shortest <= length <= longest for length in lengths)


def test_a_price_spike_ends(stage):
    town = stage()
    town.clock["price_factor"], town.clock["price_until"] = 1.5, 2
    price = town.env.lane_spec.feature_names.index("price")
    town.put(0, at=town.object(1))
    assert town.step()["obs"]["features"][0, price] == 0.5
    # The state after tick 1 is tick 2's, in which the spike is over: seen is what is asked for.
    assert town.step()["obs"]["features"][0, price] == 0.0
    town.agents["wallet"][0] = 0.45  # a meal is .4, in the spike .6
    town.step(EAT)
    assert town.agents["use"][0] == EAT


def test_a_factor_beyond_2_is_seen_as_2(stage):
    town = stage(**{"perturbations.price_spike.max_factor": 5.0})
    town.clock["price_factor"], town.clock["price_until"] = 3.5, 100
    seen = town.step()["obs"]
    assert seen["features"][0, town.env.lane_spec.feature_names.index("price")] == 1.0
    assert town.env.observation_space["features"].contains(seen["features"])


def test_an_episode_starts_with_drawn_needs_and_a_full_purse(settings):
    env = TownVectorEnv(settings(**{"needs.start_low": 0.4, "money.start": 1.5}), num_worlds=50)
    env.reset(seed=0)
    agents = env.town.agents
    for need in ("hunger", "hygiene", "energy"):
        # 400 draws, uniform in [.4, 1]: mean .7 with a standard error of .6 / sqrt(12 x 400)
        assert agents[need].min() >= 0.4
        assert agents[need].max() <= 1.0
        assert agents[need].mean() == pytest.approx(0.7, abs=4 * 0.00866)
    assert (agents["wallet"] == 1.5).all()
    assert (agents["x"] == agents["home_x"]).all()
    assert (agents["holds"] == -1).all()
    assert (agents["queue"] == -1).all()


@pytest.mark.parametrize(
    ("name", "until"),
    [
        ("price_spike", "price_until"),
        ("blackout", "blackout_until"),
        ("outage", "outage_until"),
        ("arranged_meet", "meet_until"),
    ],
)
def test_perturbations_come_as_often_as_they_may(settings, name, until):
    # One tick long they can begin in every tick: 200 worlds x 300 ticks x 14.4 / 1440 = 600
    # beginnings, with a standard deviation of sqrt(600 x .99) = 24.4.
    quiet = {
        f"perturbations.{other}.per_day": 0.0
        for other in ("price_spike", "blackout", "outage", "arranged_meet")
    }
    once = {f"perturbations.{name}.{key}_ticks": 1 for key in ("min", "max")}
    config = settings(agents=1, **{**quiet, **once, f"perturbations.{name}.per_day": 14.4})
    env = TownVectorEnv(config, num_worlds=200)
    env.reset(seed=0)
    begun, before = 0, env.town.worlds[until].copy()
    for _ in range(300):
        env.step(np.zeros(200, np.int64))
        begun += int((env.town.worlds[until] != before).sum())
        before = env.town.worlds[until].copy()
    assert abs(begun - 600) < 4 * 24.4


def test_an_episodes_sum_may_be_bounded(stage):
    free, bound = stage(), stage(**{"reward.clip_per_episode": 0.5})
    rewards = []
    for town in (free, bound):
        for need in ("hunger", "hygiene", "energy"):
            town.agents[need] = 0.2
        sums = [town.step()["rewards"][0] for _ in range(30)]
        rewards.append(np.array(sums, np.float64))
    # Needs of .2: .002 - .1 x 2.4 x .64 = -.152 a tick, so that -.5 is reached in the 4th.
    assert rewards[0].sum() < -4.0
    np.testing.assert_array_equal(rewards[0][:3], rewards[1][:3])
    assert rewards[1].sum() == -0.5
    assert not rewards[1][4:].any()
    bound.agents["hunger"][0] = 0.0
    faint = bound.step()
    assert faint["terms"](0)["faint"] == -1.0  # neither bounded nor counted
    assert faint["rewards"][0] == -1.0
    assert bound.agents["episode_reward"][0] == -0.5
    # Well again it earns .002 a tick, which leads away from the bound; needs decay only a little.
    for need in ("hunger", "hygiene", "energy"):
        bound.agents[need] = 1.0
    assert bound.step()["rewards"][0] == pytest.approx(0.002, abs=1e-4)
    bound.clock["tick"] = 719
    bound.step()
    assert bound.agents["episode_reward"][0] == 0.0  # a new episode


def test_who_faints_keeps_absences_and_who_is_evicted_does_not(stage):
    for evicted, kept in ((False, 0b11), (True, 0)):
        town = stage()
        town.agents["absences"][0] = 0b111 if evicted else 0b11
        town.agents["hunger"][0] = 0.0
        played = town.step()
        assert played["events"](0).get("faint") == 1.0
        assert played["events"](0).get("eviction", 0.0) == float(evicted)
        assert town.agents["absences"][0] == kept
        assert played["rewards"][0] == pytest.approx(
            played["terms"](0)["survival"] - 1.0 - 2.0 * evicted, abs=1e-6
        )
