"""Shifts: wages, lateness, absence, colleagues, eviction. Agents 0, 2, 4, 6 are the grocers."""

import pytest

WAIT, WORK = 0, 5
START, END, WAGE = 180, 360, 0.02
NONE, EXPECTED, ON_TIME, LATE, ABSENT = range(5)


def at_site(town, *agents):
    for a in agents:
        town.put(a, tile=(int(town.agents["site_x"][a]), int(town.agents["site_y"][a])))


def before_the_shift(stage, **kwargs):
    town = stage(**kwargs)
    town.clock["tick"] = START - 1
    at_site(town, 0, 2)
    town.agents["shift_start"][[1, 3, 4, 5, 6, 7]] = 2000  # the others have nothing to do
    town.agents["shift_end"][[1, 3, 4, 5, 6, 7]] = 2001
    return town


def test_wages_are_paid_for_ticks_at_work_within_the_shift(stage):
    town = before_the_shift(stage)
    early = town.step(WORK)
    assert early["events"](0) == {}
    played = town.step(WORK, ticks=10)
    assert played["events"](0) == {"shift_on_time": 1.0, "shift_tick": 10.0}
    assert played["terms"](0)["wage"] == pytest.approx(10 * WAGE, abs=1e-5)
    assert town.agents["wallet"][0] == pytest.approx(2.0 + 10 * WAGE)
    assert town.agents["shift_state"][0] == ON_TIME


def test_work_walks_to_its_site_and_works_from_beside_it(stage):
    town = before_the_shift(stage)
    town.step()
    x, y = int(town.agents["site_x"][0]), int(town.agents["site_y"][0])
    town.put(0, tile=(x + 3, y + 1))
    # Along the longer way, and along x where both are as long: (2, 1), (1, 1), (0, 1), which is
    # beside the site; (1, 1) is two steps away and earns nothing.
    for tile, events in (
        ((x + 2, y + 1), {}),
        ((x + 1, y + 1), {}),
        ((x, y + 1), {"shift_on_time": 1.0, "shift_tick": 1.0}),
        ((x, y + 1), {"shift_tick": 1.0}),
    ):
        assert town.step(WORK)["events"](0) == events
        assert (int(town.agents["x"][0]), int(town.agents["y"][0])) == tile
        assert town.agents["last_success"][0] == 1


def test_who_comes_within_grace_is_on_time(stage):
    town = before_the_shift(stage)
    town.step(ticks=6)  # to tick 185, 5 after the start
    assert town.step(WORK)["events"](0)["shift_on_time"] == 1.0


def test_each_late_tick_costs_and_punctuality_falls_with_them(stage):
    town = before_the_shift(stage)
    town.step(WAIT, ticks=1)
    waited = town.step(WAIT, ticks=16)  # 0 to 15 after the start; 6 to 15 are late: 10 ticks
    assert waited["terms"](0)["wage"] == pytest.approx(-10 * 0.005, abs=1e-5)
    assert town.agents["wallet"][0] == pytest.approx(2.0 - 0.05)
    played = town.step(WORK, ticks=END - START - 16)
    assert played["events"](0)["shift_late"] == 1.0
    # .05 x (1 - 16 / 30): it came 16 ticks late
    assert played["terms"](0)["punctuality"] == pytest.approx(0.05 * 14 / 30, abs=1e-6)
    assert town.agents["shift_state"][0] == NONE


def test_the_punctual_get_the_whole_bonus_at_the_end(stage):
    town = before_the_shift(stage)
    played = town.step(WORK, ticks=END - START)  # to tick 358: one tick of the shift is left
    assert played["terms"](0)["punctuality"] == 0.0
    assert town.step(WORK)["terms"](0)["punctuality"] == pytest.approx(0.05, abs=1e-6)


def test_after_30_ticks_the_shift_is_missed_and_cannot_be_made_up(stage):
    town = before_the_shift(stage)
    town.step(ticks=1)
    played = town.step(WAIT, ticks=32)  # ticks 0 to 31 after the start; 31 is more than 30
    assert played["events"](0) == {"shift_absent": 1.0}
    # 25 late ticks (6 to 30) at .005, and .2
    assert played["terms"](0)["wage"] == pytest.approx(-0.325, abs=1e-5)
    assert town.agents["shift_state"][0] == ABSENT
    assert town.step(WORK, ticks=5)["events"](0) == {}


@pytest.mark.parametrize(("waited", "state"), [(30, LATE), (31, ABSENT)])
def test_the_last_tick_to_come_late_is_the_30th(stage, waited, state):
    town = before_the_shift(stage)
    town.step(ticks=1 + waited)
    played = town.step(WORK)  # stands at the site 30 or 31 ticks after the start
    assert town.agents["shift_state"][0] == state
    # 30 late is paid, at .05 x (1 - 30 / 30) in the end; 31 is a day's wage lost
    assert played["events"](0) == (
        {"shift_late": 1.0, "shift_tick": 1.0} if state == LATE else {"shift_absent": 1.0}
    )
    rest = town.step(WORK, ticks=END - START - waited - 1)
    assert rest["terms"](0)["punctuality"] == 0.0


def test_a_punctual_colleague_helps_who_comes_late(stage):
    town = before_the_shift(stage, social_stage="C3")
    town.pairs["rivalry"][0, 2] = 0.5
    town.step(WAIT, WAIT, WORK, ticks=11)
    played = town.step(WORK, WAIT, WORK)
    assert played["events"](2)["late_help"] == 1.0
    assert played["terms"](2)["help"] == pytest.approx(0.03, abs=1e-6)
    assert town.pairs["trust"][0, 2] == town.pairs["trust"][2, 0] == pytest.approx(0.2)
    assert town.pairs["familiarity"][2, 0] == pytest.approx(0.1)
    # .5 - 11 x .005 before, then - .1 and one tick's decay
    assert town.pairs["rivalry"][0, 2] == pytest.approx(0.5 - 12 * 0.005 - 0.1)


def test_a_missed_shift_is_taken_over_by_a_colleague_at_work(stage):
    town = before_the_shift(stage, social_stage="C3")
    town.step(WAIT, WAIT, WORK, ticks=32)
    played = town.step(WAIT, WAIT, WORK)
    assert played["events"](0) == {"shift_absent": 1.0, "shift_takeover": 1.0}
    assert played["terms"](0)["help"] == pytest.approx(-0.02, abs=1e-6)
    assert town.pairs["trust"][0, 2] == pytest.approx(-0.1)
    assert town.pairs["rivalry"][2, 0] == pytest.approx(0.3 - 0.005)


def test_of_several_colleagues_the_one_who_likes_it_best_helps(stage):
    town = before_the_shift(stage)
    town.agents["shift_start"][4], town.agents["shift_end"][4] = START, END
    at_site(town, 4)
    town.pairs["trust"][4, 0] = 0.1  # what 0 holds of 2 makes no difference
    town.pairs["trust"][0, 2] = 0.9
    town.step(WAIT, WAIT, WORK, WAIT, WORK, ticks=11)
    played = town.step(WORK, WAIT, WORK, WAIT, WORK)
    assert played["events"](4)["late_help"] == 1.0
    assert "late_help" not in played["events"](2)


def test_a_colleague_who_came_late_takes_over_as_well(stage):
    town = before_the_shift(stage)
    town.step(ticks=12)
    town.step(WAIT, WAIT, WORK, ticks=20)
    assert town.agents["shift_state"][2] == LATE
    played = town.step(WAIT, WAIT, WORK)
    assert played["events"](0) == {"shift_absent": 1.0, "shift_takeover": 1.0}


def test_fines_take_no_more_than_there_is(stage):
    town = before_the_shift(stage)
    town.agents["wallet"][0] = 0.01
    played = town.step(WAIT, ticks=33)
    assert town.agents["wallet"][0] == 0.0
    # 25 late ticks at .005 and an absence of .2 count in full
    assert played["terms"](0)["wage"] == pytest.approx(-0.325, abs=1e-5)


@pytest.mark.parametrize(("history", "evicted"), [(0b11, True), (0b1000000, False)])
def test_the_third_absence_within_seven_days_evicts(stage, history, evicted):
    # One day passes before the third absence: 0b11 lies 1 and 2 days back, 0b1000000 seven.
    town = before_the_shift(stage)
    town.agents["absences"][0] = history
    played = town.step(WAIT, ticks=33)
    assert bool(played["terminated"][0]) is evicted
    assert played["events"](0).get("eviction", 0.0) == float(evicted)
    if evicted:
        assert played["terms"](0)["eviction"] == -2.0
        assert town.agents["absences"][0] == 0
        assert town.agents["x"][0] == town.agents["home_x"][0]


def test_shifts_come_back_every_day(stage):
    town = before_the_shift(stage, episode_ticks=5000)
    town.clock["tick"] = 1440 + START
    assert town.step(WORK)["events"](0) == {"shift_on_time": 1.0, "shift_tick": 1.0}


@pytest.mark.parametrize(("ticks", "evicted"), [(3091, False), (3092, True)])
def test_an_eviction_takes_an_episode_of_more_than_two_days(stage, ticks, evicted):
    # One shift a day: the third is missed in tick 2 x 1440 + 180 + 31 = 3091, the 3092nd.
    town = stage(episode_ticks=5000, **{"needs.hunger_decay": 0.0, "needs.energy_decay": 0.0})
    played = town.step(ticks=ticks)
    assert played["events"](0).get("shift_absent") == 2.0 + evicted
    assert played["events"](0).get("eviction", 0.0) == evicted
