"""Needs and the use of objects, with figures derived from the shipped constants."""

import pytest

WAIT, EAT, COOK, SHOWER, SLEEP, RELEASE = 0, 1, 2, 3, 4, 8
FRIDGE, STOVE, BATH, BED = 1, 2, 3, 4


def test_needs_decay_by_one_ticks_worth(stage):
    town = stage()
    town.step()
    # .8 less .0025, .00125 and .002
    assert town.agents["hunger"] == pytest.approx(0.7975)
    assert town.agents["hygiene"] == pytest.approx(0.79875)
    assert town.agents["energy"] == pytest.approx(0.798)


def test_a_meal_takes_15_ticks_and_pays_for_itself_as_it_goes(stage):
    town = stage()
    fridge = town.object(FRIDGE)
    town.put(0, at=fridge)
    town.agents["hunger"][0] = 0.3
    first = town.step(EAT)
    assert town.agents["use"][0] == EAT
    assert town.agents["use_left"][0] == 14  # the tick of starting counts
    assert town.objects["stock"][fridge] == 4  # of 5
    assert first["events"](0) == {}
    rest = town.step(WAIT, ticks=14)
    assert rest["events"](0) == {"meal": 1.0}
    # hunger .3 + .4 - 15 x .0025; energy .8 + .05 - 15 x .002; wallet 2 - .4
    assert town.agents["hunger"][0] == pytest.approx(0.6625)
    assert town.agents["energy"][0] == pytest.approx(0.82)
    assert town.agents["wallet"][0] == pytest.approx(1.6)
    assert town.agents["use"][0] == 0


def test_stopping_early_keeps_what_accrued_and_nothing_more(stage):
    town = stage()
    town.put(0, at=town.object(BED))
    town.agents["energy"][0] = 0.2
    town.step(SLEEP, ticks=1)
    town.step(WAIT, ticks=29)
    town.step(RELEASE)
    # 30 of 60 ticks: .2 + .4 - 31 x .002 (the tick of stopping accrues nothing)
    assert town.agents["energy"][0] == pytest.approx(0.538)
    assert town.objects["user"][town.object(BED)] == -1


def test_who_cannot_pay_is_refused(stage):
    town = stage()
    fridge = town.object(FRIDGE)
    town.put(0, at=fridge)
    town.agents["wallet"][0] = 0.39
    town.step(EAT)
    assert town.agents["use"][0] == 0
    assert town.agents["last_success"][0] == 0
    assert town.objects["stock"][fridge] == 5
    assert town.objects["user"][fridge] == -1


def test_an_empty_fridge_is_passed_by_for_a_full_one(stage):
    town = stage()
    near, far = town.object(FRIDGE, 0), town.object(FRIDGE, 1)
    town.objects["stock"][near] = 0
    town.put(0, at=near)
    before = abs(town.agents["x"][0] - town.objects["x"][far]) + abs(
        town.agents["y"][0] - town.objects["y"][far]
    )
    town.step(EAT)
    after = abs(town.agents["x"][0] - town.objects["x"][far]) + abs(
        town.agents["y"][0] - town.objects["y"][far]
    )
    assert after == before - 1


def test_cooking_puts_three_meals_into_the_nearest_fridge(stage):
    town = stage()
    stove = town.object(STOVE)
    town.put(0, at=stove)
    fridges = [town.object(FRIDGE, 0), town.object(FRIDGE, 1)]
    gaps = [
        abs(town.objects["x"][f] - town.objects["x"][stove])
        + abs(town.objects["y"][f] - town.objects["y"][stove])
        for f in fridges
    ]
    nearest = fridges[gaps.index(min(gaps))]
    town.agents["hunger"][0] = 0.3
    town.step(COOK)
    events = town.step(WAIT, ticks=39)["events"](0)
    assert events == {"cooked": 1.0}
    assert town.objects["stock"][nearest] == 8
    assert town.objects["stock"][fridges].sum() == 13
    # wallet 2 - .15, energy .8 - .05 - 40 x .002, hunger .3 + .4 - 40 x .0025
    assert town.agents["wallet"][0] == pytest.approx(1.85)
    assert town.agents["energy"][0] == pytest.approx(0.67)
    assert town.agents["hunger"][0] == pytest.approx(0.6)


def test_a_fridge_holds_no_more_than_its_capacity(stage):
    town = stage()
    town.objects["stock"][town.objects["kind"] == FRIDGE] = 9
    town.put(0, at=town.object(STOVE))
    town.step(COOK)
    town.step(WAIT, ticks=39)
    assert sorted(town.objects["stock"][town.objects["kind"] == FRIDGE]) == [9, 10]


def test_two_meals_a_day_are_delivered(stage):
    town = stage(episode_ticks=2000)
    # 2 a day is one each 720 ticks, the first when the share reaches 1
    town.step(ticks=719)
    assert town.objects["stock"][town.object(FRIDGE)] == 5
    town.step(ticks=2)
    assert town.objects["stock"][town.object(FRIDGE)] == 6


@pytest.mark.parametrize("failure", ["blackout_until", "outage_until"])
def test_without_power_or_water_no_shower_starts_or_goes_on(stage, failure):
    town = stage()
    bath = town.object(BATH)
    town.put(0, at=bath)
    town.agents["hygiene"][0] = 0.2
    town.step(SHOWER)
    assert town.agents["use"][0] == SHOWER
    town.clock[failure] = 100
    town.step(WAIT)
    assert town.agents["use"][0] == 0
    # one tick's share, .6 / 30, and two ticks' decay
    assert town.agents["hygiene"][0] == pytest.approx(0.2 + 0.02 - 0.0025)
    town.put(1, at=town.object(BATH, 1))
    town.step(WAIT, SHOWER)
    assert town.agents["use"][1] == 0


def test_an_outage_leaves_the_stoves_on(stage):
    town = stage()
    town.clock["outage_until"] = 100
    town.put(0, at=town.object(STOVE))
    town.step(COOK)
    assert town.agents["use"][0] == COOK


def test_prices_follow_the_spike(stage):
    town = stage()
    town.clock["price_factor"], town.clock["price_until"] = 1.5, 1000
    town.put(0, at=town.object(FRIDGE))
    town.step(EAT)
    town.step(WAIT, ticks=14)
    assert town.agents["wallet"][0] == pytest.approx(2.0 - 0.4 * 1.5)


def test_an_object_is_closed_to_its_last_user_for_60_ticks(stage):
    town = stage(**{"objects.fridge": 1})
    town.put(0, at=town.object(FRIDGE))
    town.step(EAT)
    town.step(WAIT, ticks=14)  # completed in tick 14, the 15th: closed until tick 74
    town.step(EAT, ticks=59)
    assert town.agents["use"][0] == 0
    town.step(EAT)
    assert town.agents["use"][0] == EAT


def test_one_tile_a_tick_along_the_longer_way(stage):
    town = stage()
    fridge = town.object(FRIDGE)
    x, y = int(town.objects["x"][fridge]), int(town.objects["y"][fridge])
    town.objects["stock"][town.object(FRIDGE, 1)] = 0
    town.put(0, tile=(x + 3, y + 2))
    town.step(EAT)
    assert (town.agents["x"][0], town.agents["y"][0]) == (x + 2, y + 2)
    town.step(EAT, ticks=3)  # (2, 2) -> (1, 2) -> (1, 1) -> (0, 1), which is beside it
    assert (town.agents["x"][0], town.agents["y"][0]) == (x, y + 1)
    assert town.agents["use"][0] == 0
    town.step(EAT)
    assert town.agents["use"][0] == EAT


def test_the_nearest_object_is_the_one_with_the_fewest_people(stage):
    town = stage(agents=4)
    near, far = town.object(BED, 0), town.object(BED, 1)
    x, y = int(town.objects["x"][near]), int(town.objects["y"][near])
    away = int(town.objects["x"][far]), int(town.objects["y"][far])
    gap = abs(x - away[0]) + abs(y - away[1])
    assert gap == 2  # the bedroom's beds stand two tiles apart
    town.put(1, at=near)
    town.step(WAIT, SLEEP)
    # From beyond the near bed: 2 steps + 2 x 1 person = 4 = 2 + 2 steps to the far one: a tie,
    # which goes to the lower number; with one more waiting, 6 > 4 and the far bed is sought.
    side = (x - 2 * (away[0] - x) // gap, y - 2 * (away[1] - y) // gap)
    for waiting, goal in ((0, near), (1, far)):
        if waiting:
            town.put(2, at=near)
            town.step(WAIT, WAIT, SLEEP)
            assert town.agents["queue"][2] == near
        town.put(0, tile=side)
        town.step(SLEEP, ticks=2 if goal == near else 3)
        here = int(town.agents["x"][0]), int(town.agents["y"][0])
        steps = {
            o: abs(here[0] - town.objects["x"][o]) + abs(here[1] - town.objects["y"][o])
            for o in (near, far)
        }
        assert bool(town.agents["queue"][0] == near) is (goal == near)
        assert steps[goal] <= 1
        if goal == near:
            town.step(RELEASE)
            town.env.town.cooldowns[0, near, 0] = 0


def test_a_diagonal_tile_is_out_of_reach(stage):
    town = stage()
    bed = town.object(BED)
    x, y = int(town.objects["x"][bed]), int(town.objects["y"][bed])
    town.put(0, tile=(x - 1, y - 1))
    town.step(SLEEP)
    assert town.agents["use"][0] == 0  # two steps away: it took one
    town.step(SLEEP)
    assert town.agents["use"][0] == SLEEP


def test_cooking_stopped_early_yields_no_meals(stage):
    town = stage()
    town.put(0, at=town.object(STOVE))
    town.step(COOK)
    town.step(WAIT, ticks=38)
    assert town.step(RELEASE)["events"](0) == {}
    assert set(town.objects["stock"][town.objects["kind"] == FRIDGE]) == {5}


def test_a_spike_raises_what_one_must_have_as_well(stage):
    town = stage()
    town.clock["price_factor"], town.clock["price_until"] = 1.5, 1000
    town.put(0, at=town.object(FRIDGE))
    town.agents["wallet"][0] = 0.59  # below .4 x 1.5
    town.step(EAT)
    assert town.agents["use"][0] == 0
    town.agents["wallet"][0] = 0.61
    town.step(EAT)
    assert town.agents["use"][0] == EAT


def test_a_spike_during_a_meal_leaves_no_debt(stage):
    town = stage()
    town.put(0, at=town.object(FRIDGE))
    town.agents["wallet"][0] = 0.4
    town.step(EAT)
    town.clock["price_factor"], town.clock["price_until"] = 1.8, 1000
    assert town.step(WAIT, ticks=14)["events"](0) == {"meal": 1.0}
    assert town.agents["wallet"][0] == 0.0


def test_a_blackout_ends_cooking_and_spares_the_fridge(stage):
    town = stage()
    town.put(0, at=town.object(STOVE))
    town.put(1, at=town.object(FRIDGE))
    town.step(COOK, EAT)
    town.clock["blackout_until"] = 100
    town.step()
    assert list(town.agents["use"][:2]) == [0, EAT]


@pytest.mark.parametrize(("left", "goes"), [(1, False), (2, False), (3, True)])
def test_an_object_still_closed_to_one_seems_farther(stage, left, goes):
    town = stage(agents=2)
    near, far = town.object(BED, 0), town.object(BED, 1)
    town.put(0, at=near)
    town.env.town.cooldowns[0, near, 0] = town.clock["tick"] + left
    town.step(SLEEP)
    # It stands on the near bed, 0 steps + the ticks left; the far one is 2 steps away, and a tie
    # goes to the lower number.
    here = town.agents["x"][0], town.agents["y"][0]
    there = town.objects["x"][far], town.objects["y"][far]
    assert abs(here[0] - there[0]) + abs(here[1] - there[1]) == (1 if goes else 2)
    assert town.agents["use"][0] == 0
