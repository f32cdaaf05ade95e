"""Chats and shared meals."""

import pytest

WAIT, EAT, SLEEP, CHAT, AVOID = 0, 1, 4, 6, 7
SURE = {"chat.quality_min": 1.0}
NEVER = {"chat.base": 0.0, "chat.quality_min": 0.0, "chat.quality_max": 0.0}


def pair_of_strangers(stage, **kwargs):
    town = stage(**{"agents": 2, **kwargs})
    town.put(0, tile=(4, 4))
    town.put(1, tile=(4, 5))
    return town


def test_a_good_chat_builds_trust_and_familiarity_and_pays_both_from_c1_on(stage):
    town = pair_of_strangers(stage, **SURE, social_stage="C1")
    town.pairs["trust"][0, 1], town.pairs["familiarity"][0, 1] = 0.5, 0.25
    played = town.step(CHAT)
    assert played["events"](0) == {"chat_success": 1.0, "chat_quality": 1.0}
    # (.01 + .3 x .5 + .2 x .25) x .1 x 1 for who trusts, .01 x .1 for the other
    assert played["terms"](0)["chat"] == pytest.approx(0.021, abs=1e-6)
    assert played["terms"](1)["chat"] == pytest.approx(0.001, abs=1e-6)
    assert town.pairs["trust"][0, 1] == pytest.approx(0.55)
    assert town.pairs["familiarity"][1, 0] == pytest.approx(0.1)


def test_a_failed_chat_costs_and_makes_rivals(stage):
    town = pair_of_strangers(stage, **NEVER, social_stage="C1")
    played = town.step(CHAT)
    assert played["events"](0) == {"chat_failure": 1.0}
    assert played["terms"](0)["chat"] == pytest.approx(-0.005, abs=1e-6)
    assert played["terms"](1)["chat"] == pytest.approx(-0.0025, abs=1e-6)
    assert town.pairs["familiarity"][1, 0] == pytest.approx(-0.05)
    assert town.pairs["rivalry"][0, 1] == pytest.approx(0.05 - 0.005)


def test_nothing_social_pays_while_off(stage):
    town = pair_of_strangers(stage, **SURE)
    assert town.step(CHAT)["terms"](0)["chat"] == 0.0
    town.env.set_social_stage("C1")
    town.clock["tick"] += 30
    assert town.step(CHAT)["terms"](0)["chat"] > 0.0


def test_whoever_is_in_need_gets_nothing_from_a_chat(stage):
    town = pair_of_strangers(stage, **SURE, social_stage="C1")
    town.agents["hygiene"][0] = 0.14
    played = town.step(CHAT)
    assert played["terms"](0)["chat"] == 0.0
    assert played["terms"](1)["chat"] > 0.0


def test_both_rest_for_30_ticks_after_a_chat(stage):
    town = pair_of_strangers(stage, **SURE)
    town.step(CHAT)
    assert town.step(CHAT, CHAT, ticks=29)["events"](0) == {}
    assert town.step(WAIT, CHAT)["events"](1)["chat_success"] == 1.0


def test_quality_is_the_probability_of_success(stage):
    # Chats of quality .8 = .5 + .3 x 1 (extroversion); 300 of them succeed 240 times, s.d. 7.
    town = pair_of_strangers(
        stage,
        **{
            "chat.cooldown": 0,
            "relationships.chat_trust": 0.0,
            "relationships.chat_familiarity": 0.0,
            "relationships.chat_failure_familiarity": 0.0,
            "relationships.chat_failure_rivalry": 0.0,
        },
    )
    town.agents["extroversion"][0] = 1.0
    events = town.step(CHAT, ticks=300)["events"](0)
    assert events["chat_success"] + events["chat_failure"] == 300
    assert 240 - 28 < events["chat_success"] < 240 + 28
    assert events["chat_quality"] == pytest.approx(0.8 * events["chat_success"], rel=1e-5)


def test_quality_follows_the_speakers_feelings_and_the_meet(stage):
    # .5 + .2 x .5 + .1 x .5 - .2 x .25 + .2 (meet) = .8
    town = pair_of_strangers(stage)
    pair = town.pairs[0, 1]
    pair["trust"], pair["familiarity"], pair["rivalry"] = 0.5, 0.5, 0.25
    town.clock["meet_until"], town.clock["meet_x"], town.clock["meet_y"] = 1000, 4, 7
    for _ in range(40):
        events = town.step(CHAT)["events"](0)
        if "chat_success" in events:
            break
        pair["trust"], pair["familiarity"], pair["rivalry"] = 0.5, 0.5, 0.25
        town.agents["chat_ready"] = 0
    assert events["chat_quality"] == pytest.approx(0.8)


def test_chat_approaches_whoever_is_free_and_not_who_sleeps(stage):
    town = stage(**{"agents": 3, **SURE})
    bed = town.object(4)
    x, y = int(town.objects["x"][bed]), int(town.objects["y"][bed])
    town.put(0, tile=(x, y))
    town.put(1, at=bed)
    town.put(2, tile=(x + 3, y))
    town.step(WAIT, SLEEP)
    town.step(CHAT)
    assert town.agents["x"][0] == x + 1
    played = town.step(CHAT, ticks=2)
    assert played["events"](0)["chat_success"] == 1.0
    assert town.pairs["familiarity"][0, 2] > 0.0
    assert town.pairs["familiarity"][0, 1] == 0.0


def test_avoid_steps_away_from_the_nearest_rival(stage):
    town = stage(agents=3)
    town.put(0, tile=(5, 5))
    town.put(1, tile=(5, 4))
    town.put(2, tile=(7, 5))
    town.pairs["rivalry"][0, 2] = 0.9  # agent 1, who is nearer, is none
    town.step(AVOID)
    assert (int(town.agents["x"][0]), int(town.agents["y"][0])) in {(4, 5), (5, 6)}
    town.pairs["rivalry"][0, 2] = 0.0
    before = int(town.agents["x"][0]), int(town.agents["y"][0])
    town.step(AVOID)
    assert (int(town.agents["x"][0]), int(town.agents["y"][0])) == before
    assert town.agents["last_success"][0] == 0


@pytest.mark.parametrize(
    ("rival", "to", "success"),
    [((2, 0), (0, 1), 1), ((0, 2), (1, 0), 1), ((1, 1), (0, 0), 0)],
)
def test_avoid_never_leaves_the_town(stage, rival, to, success):
    town = stage(agents=2)
    town.put(0, tile=(0, 0))
    town.put(1, tile=rival)
    town.pairs["rivalry"][0, 1] = 0.9
    town.step(AVOID)
    # Away from a rival on the edge one steps along the other edge; from one across, nowhere.
    assert (int(town.agents["x"][0]), int(town.agents["y"][0])) == to
    assert town.agents["last_success"][0] == success


def test_a_shared_meal_counts_once_a_meal_and_pays_from_c3_on(stage):
    for rank, reward in (("C2", 0.0), ("C3", 0.02)):
        town = stage(social_stage=rank)
        first, second = town.object(1, 0), town.object(1, 1)
        town.put(0, at=first)
        town.put(1, at=second)
        town.step(EAT, EAT)
        town.step(ticks=3)
        shared = town.step(WAIT, WAIT, ticks=11)
        gap = abs(town.objects["x"][first] - town.objects["x"][second]) + abs(
            town.objects["y"][first] - town.objects["y"][second]
        )
        assert gap == 2  # the kitchen's fridges are near enough to eat together
        assert shared["events"](0) == {"meal": 1.0}  # it was shared in the first tick
        assert town.pairs["trust"][0, 1] == town.pairs["trust"][1, 0] == pytest.approx(0.1)
        assert town.pairs["familiarity"][0, 1] == pytest.approx(0.25)
        town = stage(social_stage=rank)
        town.put(0, at=first)
        town.put(1, at=second)
        played = town.step(EAT, EAT, ticks=1)
        for a in (0, 1):
            assert played["events"](a) == {"shared_meal": 1.0}
            assert played["terms"](a)["meal"] == pytest.approx(reward, abs=1e-6)


def test_a_meet_helps_those_who_are_both_there(stage):
    # Listener at (4, 5), speaker at (4, 4); the meet's radius is 3: at (4, 1) the speaker is 3
    # tiles away and the listener 4, at (4, 2) both are within it: .5 + .2.
    for meet_y, quality in ((1, 0.5), (2, 0.7)):
        town = pair_of_strangers(stage, **{"chat.quality_max": 1.0})
        town.clock["meet_until"], town.clock["meet_x"], town.clock["meet_y"] = 1000, 4, meet_y
        for _ in range(40):
            town.agents["chat_ready"] = 0
            for field in ("trust", "familiarity", "rivalry"):
                town.pairs[field] = 0.0
            events = town.step(CHAT)["events"](0)
            if "chat_success" in events:
                break
        assert events["chat_quality"] == pytest.approx(quality)


def test_seeded_rivals_hate_each_other_alone_and_forget(stage):
    town = stage(scenario="rivalry_decay")
    expected = [[0, 0.9, 0, 0], [0.9, 0, 0, 0], [0, 0, 0, 0.9], [0, 0, 0.9, 0]]
    assert town.pairs["rivalry"].tolist() == expected
    town.step(ticks=40)
    # .9 - 40 x .005 = .7: a rival still; one tick later no more
    assert town.pairs["rivalry"][0, 1] == pytest.approx(0.7)
    town.step(ticks=141)
    assert not town.pairs["rivalry"].any()
    town.clock["tick"] = 719
    town.step()
    assert town.pairs["rivalry"].tolist() == expected  # a new episode
    assert stage(**{"relationships.start_rivalry": 0.3}).pairs["rivalry"][6, 7] == 0.3


def test_meals_three_tiles_apart_are_not_shared(stage):
    town = stage(social_stage="C3")
    first, second = town.object(1, 0), town.object(1, 1)
    x, y = int(town.objects["x"][first]), int(town.objects["y"][first])
    dx = x - int(town.objects["x"][second])
    dy = y - int(town.objects["y"][second])
    town.put(0, tile=(x + dx // 2, y + dy // 2))  # beside the fridge, 3 tiles from the other
    town.put(1, at=second)
    played = town.step(EAT, EAT)
    assert list(town.agents["use"][:2]) == [EAT, EAT]
    assert played["events"](0) == {}
    assert played["terms"](0)["meal"] == 0.0


def test_who_speaks_needs_no_rest_from_a_partner_gone(stage):
    town = pair_of_strangers(stage, **SURE)
    town.put(1, tile=(4, 6))
    # In the tick of CHAT the speaker steps beside the listener and speaks at once.
    assert town.step(CHAT)["events"](0)["chat_success"] == 1.0
    assert int(town.agents["y"][0]) == 5


def test_tempers_go_in_turn_within_each_shift(stage):
    town = stage()
    # shifts alternate grocer, barista; tempers: balanced, balanced, socialite, socialite, ...
    assert town.agents["extroversion"].tolist() == [0.0, 0.0, 0.6, 0.6, -0.2, -0.2, -0.3, -0.3]
    assert town.agents["forgiveness"].tolist() == [0.0, 0.0, 0.1, 0.1, -0.1, -0.1, 0.5, 0.5]
    assert town.agents["ambition"].tolist() == [0.0, 0.0, -0.1, -0.1, 0.5, 0.5, -0.2, -0.2]
    assert town.agents["job"].tolist() == [0, 1] * 4
