"""Reward terms, fainting, and what befalls the town."""

import numpy as np
import pytest

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
    town.step(ticks=2)
    assert town.clock["price_factor"] == 1.5
    town.step()
    assert town.clock["price_factor"] == 1.0
