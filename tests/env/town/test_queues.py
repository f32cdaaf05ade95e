"""Queues, hand-overs, idle occupants, conflicts, and leaving for a rival's sake."""

import pytest

WAIT, EAT, COOK, SHOWER, CHAT, RELEASE = 0, 1, 2, 3, 6, 8
BATH = 3
ONE_BATH = {"objects.shower": 1}


def bathroom(stage, people, **kwargs):
    """A town with one shower at which the first agents stand; agent 0 is using it."""
    town = stage(**{**ONE_BATH, **kwargs})
    for a in range(people):
        town.put(a, at=town.object(BATH))
    town.step(SHOWER)
    assert town.agents["use"][0] == SHOWER
    return town


def test_asking_for_an_occupied_object_queues_in_the_order_of_asking(stage):
    town = bathroom(stage, 4)
    town.step(WAIT, WAIT, SHOWER)
    town.step(WAIT, SHOWER)
    assert town.agents["queue"][2] == town.agents["queue"][1] == town.object(BATH)
    assert list(town.agents["queue_place"][1:3]) == [1, 0]
    assert town.objects["queue_length"][town.object(BATH)] == 2


def test_a_full_queue_refuses(stage):
    town = bathroom(stage, 4, **{"queues.limit": 2})
    town.step(WAIT, SHOWER, SHOWER, SHOWER)
    assert (town.agents["queue"][1:4] >= 0).sum() == 2
    assert town.agents["last_success"][1:4].sum() == 2


def test_the_first_in_line_takes_over_at_once(stage):
    town = bathroom(stage, 3)
    town.step(WAIT, SHOWER)
    town.step(WAIT, WAIT, SHOWER)
    town.step(RELEASE)
    assert town.agents["use"][1] == SHOWER
    assert town.objects["user"][town.object(BATH)] == 1
    assert town.agents["queue_place"][2] == 0


def test_a_friend_of_the_last_user_goes_first(stage):
    town = bathroom(stage, 3)
    town.step(WAIT, SHOWER)
    town.step(WAIT, WAIT, SHOWER)
    # Favour towards 2, who has place 1: .06 - .05 x 1 > 0; towards 1: 0, which does not count.
    town.pairs[0, 2]["trust"] = 0.06
    town.step(RELEASE)
    assert town.agents["use"][2] == SHOWER


def test_too_little_goodwill_changes_nothing(stage):
    town = bathroom(stage, 3)
    town.step(WAIT, SHOWER)
    town.step(WAIT, WAIT, SHOWER)
    town.pairs[0, 2]["trust"] = 0.05  # .05 - .05 x 1 = 0
    town.step(RELEASE)
    assert town.agents["use"][1] == SHOWER


def test_long_waiting_outweighs_the_place(stage):
    town = bathroom(stage, 3)
    town.step(WAIT, SHOWER)
    town.step(WAIT, WAIT, SHOWER)
    # place - .1 x waited: agent 1 has 0 - .1 x 3 = -.3; agent 2 1 - .1 x 20 = -1
    town.agents["queue_since"][2] = town.clock["tick"] - 20
    town.agents["queue_since"][1] = town.clock["tick"] - 3
    town.step(RELEASE)
    assert town.agents["use"][2] == SHOWER


def test_who_occupies_and_does_nothing_is_moved_on_after_three_ticks(stage):
    town = bathroom(stage, 2)
    town.step(WAIT, ticks=29)
    assert town.agents["use"][0] == 0
    assert town.objects["user"][town.object(BATH)] == 0
    town.step(WAIT, SHOWER, ticks=3)
    assert town.objects["user"][town.object(BATH)] == 0
    town.step(WAIT, WAIT)
    assert town.objects["user"][town.object(BATH)] == 1
    assert town.agents["use"][1] == SHOWER


def test_doing_something_else_frees_the_object_at_once(stage):
    town = bathroom(stage, 1)
    town.step(WAIT, ticks=29)
    town.step(EAT)
    assert town.objects["user"][town.object(BATH)] == -1


def test_patience_ends_after_20_ticks_and_again_every_10(stage):
    town = bathroom(stage, 2, **{"affordances.use_shower.ticks": 100})
    assert town.step(WAIT, SHOWER, ticks=1)["events"](1) == {}
    assert town.step(ticks=20)["events"](1) == {}  # waited 20, which is not more than 20
    first = town.step()["events"](1)  # waited 21
    assert first == {"queue_conflict": 1.0, "queue_conflict_intensity": 1.5}
    # .15 x 1.5 = .225, less a tick's decay of .005; both are of balanced temper
    assert town.pairs["rivalry"][1, 0] == pytest.approx(0.22)
    assert town.pairs["rivalry"][0, 1] == pytest.approx(0.22)
    assert town.step(ticks=9)["events"](1) == {}
    assert town.step()["events"](1)["queue_conflict"] == 1.0


def test_intensity_grows_with_the_queue_and_the_causer_pays_from_c2_on(stage):
    for rank, cost in (("C1", 0.0), ("C2", 0.0175)):
        town = bathroom(stage, 3, **{"affordances.use_shower.ticks": 100}, social_stage=rank)
        town.step(WAIT, SHOWER, SHOWER)
        played = town.step(ticks=21)
        # two in the queue: 1.5 + .25 (2 - 1) = 1.75, of which .01 is the cost
        assert played["events"](1)["queue_conflict_intensity"] == pytest.approx(1.75)
        assert played["terms"](1)["conflict"] == pytest.approx(-cost, abs=1e-6)
        assert played["terms"](0)["conflict"] == 0.0


def test_forgiveness_softens_rivalry(stage):
    town = bathroom(stage, 2, **{"affordances.use_shower.ticks": 100})
    town.agents["forgiveness"][1] = 0.5
    town.step(WAIT, SHOWER)
    town.step(ticks=21)
    assert town.pairs["rivalry"][1, 0] == pytest.approx(0.225 / 2 - 0.005)
    assert town.pairs["rivalry"][0, 1] == pytest.approx(0.22)


def test_leaving_a_queue_for_a_rivals_sake_counts_and_pays_from_c2_on(stage):
    for rivalry, count, reward in ((0.75, 1.0, 0.005), (0.65, 0.0, 0.0)):
        town = bathroom(stage, 2, social_stage="C2")
        town.step(WAIT, SHOWER)
        town.pairs["rivalry"][1, 0] = rivalry
        played = town.step(WAIT, RELEASE)
        assert played["events"](1).get("rivalry_avoided", 0.0) == count
        assert played["terms"](1)["conflict"] == pytest.approx(reward, abs=1e-6)
        assert town.agents["queue"][1] == -1
        assert town.agents["avoid_count"][1] == count
        town.step(WAIT, SHOWER, ticks=50)  # it may not come back at once, to leave again
        assert town.agents["queue"][1] == -1


def test_rivalry_fades_and_other_feelings_stay(stage):
    town = stage()
    town.pairs["rivalry"][0, 1], town.pairs["trust"][0, 1] = 0.012, 0.5
    town.step(ticks=2)
    assert town.pairs["rivalry"][0, 1] == pytest.approx(0.002)
    town.step()
    assert town.pairs["rivalry"][0, 1] == 0.0
    assert town.pairs["trust"][0, 1] == 0.5


def test_who_is_handed_what_it_cannot_use_occupies_it_idle(stage):
    town = bathroom(stage, 3)
    town.step(WAIT, SHOWER)
    town.step(WAIT, WAIT, SHOWER)
    town.agents["wallet"][1] = 0.0
    bath = town.object(BATH)
    town.step(RELEASE)
    assert (town.objects["user"][bath], town.agents["use"][1]) == (1, 0)
    assert town.agents["queue"][1] == -1
    town.step(ticks=3)
    assert town.objects["user"][bath] == 1  # idle for 1, 2, 3 ticks
    town.step()
    assert (town.objects["user"][bath], town.agents["use"][2]) == (2, SHOWER)


@pytest.mark.parametrize(
    ("kind", "lacks"),
    [("fridge", "food"), ("stove", "power"), ("shower", "power"), ("shower", "water")],
)
def test_who_is_handed_what_lacks_food_power_or_water_occupies_it_idle(stage, kind, lacks):
    town = stage(**{f"objects.{kind}": 1})
    intent = {"fridge": EAT, "stove": COOK, "shower": SHOWER}[kind]
    thing = town.object(intent)
    for a in (0, 1):
        town.put(a, at=thing)
    town.step(intent)
    town.step(WAIT, intent)
    assert (town.agents["use"][0], town.agents["queue"][1]) == (intent, thing)
    if lacks == "food":
        town.objects["stock"][thing] = 0
    else:
        town.clock["blackout_until" if lacks == "power" else "outage_until"] = 100
    town.step(RELEASE)
    assert (town.objects["user"][thing], town.agents["use"][1]) == (1, 0)
    assert town.agents["queue"][1] == -1


def test_an_object_let_go_early_and_a_queue_left_are_closed_for_60_ticks(stage):
    town = bathroom(stage, 2)
    town.step(WAIT, SHOWER)
    town.step(RELEASE, RELEASE)  # in tick 2: closed to both until tick 62
    assert town.agents["holds"][0] == town.agents["queue"][1] == -1
    town.step(SHOWER, SHOWER, ticks=59)
    assert not town.agents["use"][:2].any()
    assert town.agents["queue"][1] == -1
    town.step(SHOWER, SHOWER)
    assert sorted(town.agents["use"][:2]) == [0, SHOWER]
    assert sorted(town.agents["queue"][:2]) == [-1, town.object(BATH)]


def test_a_rival_who_waits_behind_is_left_as_well(stage):
    town = bathroom(stage, 3)
    town.step(WAIT, SHOWER)
    town.step(WAIT, WAIT, SHOWER)
    town.pairs["rivalry"][1, 2] = 0.75  # and none towards who showers
    assert town.step(WAIT, RELEASE)["events"](1) == {"rivalry_avoided": 1.0}


def test_intensity_is_clamped(stage):
    # 1.5 + .25 x (1 - 1) = 1.5, brought within [2, 3] and within [.1, 1]
    for bounds, intensity in (((2.0, 3.0), 2.0), ((0.1, 1.0), 1.0)):
        keys = {"queues.conflict_min": bounds[0], "queues.conflict_max": bounds[1]}
        town = bathroom(stage, 2, **keys, **{"affordances.use_shower.ticks": 100})
        town.step(WAIT, SHOWER)
        assert town.step(ticks=21)["events"](1)["queue_conflict_intensity"] == intensity


def test_a_user_at_work_is_never_moved_on(stage):
    town = bathroom(stage, 2)
    town.step(WAIT, SHOWER)
    town.step(ticks=27)  # the 29th tick of 30
    assert town.agents["use"][0] == SHOWER
    assert town.agents["use"][1] == 0


def test_a_chat_in_a_queue_keeps_the_place(stage):
    town = bathroom(stage, 3, **{"chat.quality_min": 1.0})
    town.step(WAIT, SHOWER)
    town.step(WAIT, WAIT, SHOWER)
    played = town.step(WAIT, CHAT)
    assert played["events"](1)["chat_success"] == 1.0
    assert town.agents["queue_place"][1] == 0
    assert town.agents["queue"][1] == town.object(BATH)


def test_who_is_first_rotates_with_the_clock(stage):
    for tick, first in ((0, 0), (1, 1), (5, 1), (6, 2)):
        town = stage(agents=4, **ONE_BATH)
        town.clock["tick"] = tick
        for a in range(4):
            town.put(a, at=town.object(BATH))
        town.step(*[SHOWER] * 4)
        # Agents act in the order (tick + i) mod 4: tick 5 begins with agent 1.
        assert town.objects["user"][town.object(BATH)] == first
        places = [int(town.agents["queue_place"][(first + i) % 4]) for i in (1, 2, 3)]
        assert places == [0, 1, 2]


def test_the_mask_is_settled_before_anybody_moves(stage):
    town = bathroom(stage, 2, agents=4)
    town.step(WAIT, SHOWER)
    x, y = int(town.agents["x"][1]), int(town.agents["y"][1])
    town.put(2, tile=(x, y + 2))
    town.agents["chat_ready"][3] = 1000
    town.clock["tick"] = 6  # 6 mod 4: agents act in the order 2, 3, 0, 1
    town.step(WAIT, CHAT, CHAT)
    # Two tiles away nobody was beside agent 1, whose chat was masked, though 2 has come since.
    assert int(town.agents["y"][2]) == y + 1
    assert town.agents["last_action"][1] == WAIT
