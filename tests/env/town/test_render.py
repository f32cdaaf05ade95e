"""Pictures: everything that matters can be seen in them, and nothing else changes."""

import gymnasium
import numpy as np
import pytest
from PIL import Image

from journeyman.env.town.render import paint, write
from journeyman.env.town.scene import SHOWN_TICKS, scene_of
from journeyman.env.town.vector_env import TownVectorEnv
from journeyman.env.town_picture import COMMAND, IMAGES, PICTURES, liveliness

WAIT, EAT, COOK, SHOWER, SLEEP, WORK, CHAT, AVOID, RELEASE = range(9)


def scene(town):
    env = town.env
    return scene_of(env.settings, env.layout, env.town, 0)


def differing(before, after):
    """Returns the box (left, top, right, bottom) in which two pictures differ, or None."""
    rows, columns = np.nonzero((before != after).any(axis=2))
    if not len(rows):
        return None
    return columns.min(), rows.min(), columns.max(), rows.max()


@pytest.mark.parametrize("scenario", ["neighbourhood", "kitchen_breakfast", "crowd"])
def test_a_picture_is_whole_and_of_even_size(settings, scenario):
    env = TownVectorEnv(settings(scenario=scenario), num_worlds=2, render_mode="rgb_array")
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.render()
    env.reset(seed=0)
    pictures = env.render()
    assert len(pictures) == 2
    for picture in pictures:
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        height, width, colours = picture.shape
        assert (height % 2, width % 2, colours) == (0, 0, 3)
        assert 600 <= height <= 800
        assert 880 <= width <= 1200
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100
    assert env.render()[0].shape == pictures[0].shape
    assert not np.array_equal(pictures[0], pictures[1])


def test_drawing_changes_nothing(settings):
    drawn, plain = (TownVectorEnv(settings(), num_worlds=1, render_mode=m) for m in ("ansi", None))
    for env in (drawn, plain):
        env.reset(seed=0)
    assert plain.render() is None
    for _ in range(5):
        drawn.render()
        drawn.render_world(0)
        ours, theirs = (env.step(np.full(8, EAT)) for env in (drawn, plain))
        np.testing.assert_array_equal(ours[0]["features"], theirs[0]["features"])
    for name, array in plain.state().items():
        np.testing.assert_array_equal(array, drawn.state()[name])


def test_each_thing_that_happens_shows_where_it_happens(stage):
    """Changes one thing at a time; the picture changes, and only where it should."""
    town = stage(agents=2, grid=12)
    town.put(0, tile=(0, 11))
    town.put(1, tile=(11, 11))
    before = paint(scene(town))
    grid_right = before.shape[1] - 372 - 24  # panel and margins
    assert differing(before, paint(scene(town))) is None
    town.put(0, tile=(0, 10))
    left, _, right, _ = differing(before, paint(scene(town)))
    assert right < 12 + 3 * 48  # a move shows on the grid, near the agent, alone
    town.put(0, tile=(0, 11))
    town.agents["energy"][1] = 0.1
    left, *_ = differing(before, paint(scene(town)))
    assert left > grid_right  # a need in the panel alone
    town.agents["energy"][1] = 0.8
    town.agents["chat_ready"][0] = town.clock["tick"] + town.env.settings.chat.cooldown
    left, top, right, bottom = differing(before, paint(scene(town)))
    assert right < 12 + 3 * 48
    assert bottom - top >= 10  # the bubble is legible
    town.agents["chat_ready"][0] = 0
    town.clock["outage_until"] = 99
    left, *_ = differing(before, paint(scene(town)))
    assert left > grid_right
    town.clock["outage_until"] = 0
    assert differing(before, paint(scene(town))) is None


def test_what_agents_do_is_said_in_words(stage):
    town = stage(**{"agents": 6, "grid": 16, "objects.shower": 1, "objects.stove": 0})
    shower = town.object(SHOWER)
    for agent in (0, 1, 2):
        town.put(agent, at=shower)
    town.put(3, tile=(0, 0))
    site = town.agents[4]
    town.put(4, tile=(int(site["site_x"]), int(site["site_y"])))
    town.put(5, tile=(15, 0))
    town.step(SHOWER, WAIT, WAIT, SLEEP, WORK, WORK)
    town.step(WAIT, SHOWER, WAIT, SLEEP, WORK, WORK)
    town.step(WAIT, WAIT, SHOWER, AVOID, WORK, CHAT)
    seen = scene(town)
    assert [agent.doing for agent in seen.agents] == [
        "showers",
        "queues for a shower (no. 1)",
        "queues for a shower (no. 2)",
        "avoids a rival",
        "awaits its shift",
        "seeks company",
    ]
    assert [agent.activity for agent in seen.agents] == [
        *("showers", "queues", "queues", "is on the way"),
        *("chats or is idle", "is on the way"),
    ]
    assert seen.agents[0].progress == pytest.approx(3 / 30)  # of 30 ticks
    assert seen.agents[1].progress is None
    assert seen.agents[1].queue == shower
    thing = seen.objects[shower]
    assert (thing.user, thing.queue_length) == (0, 2)
    assert [name for name, _ in seen.workplaces] == ["grocer", "barista"]


@pytest.mark.parametrize(
    ("tick", "doing"),
    [
        (179, "awaits its shift"),  # 180 to 360
        (180, "works"),
        (358, "works"),
        (359, "awaits its shift"),  # the last tick worked: it is over
        (211, "missed its shift"),  # 31 ticks late
    ],
)
def test_only_who_is_on_shift_works(stage, tick, doing):
    town = stage(agents=1, grid=12)
    town.put(0, tile=(int(town.agents["site_x"][0]), int(town.agents["site_y"][0])))
    if tick > 180:
        town.agents["shift_state"][0] = 1 if tick == 211 else 2  # expected, or there in time
    town.clock["tick"] = tick
    town.step(WORK)
    (agent,) = scene(town).agents
    assert agent.doing == doing


def test_who_stands_where_something_is_hides_little_of_it(stage):
    """Most of an object's, and of a workplace's, picture is as it is without the agents there."""
    town = stage(agents=2, grid=12)
    bed, site = town.objects[town.object(4)], town.agents[0]
    for x, y in ((int(bed["x"]), int(bed["y"])), (int(site["site_x"]), int(site["site_y"]))):
        for agent in (0, 1):
            town.put(agent, tile=(0, 11))
        before = paint(scene(town))
        for agent in (0, 1):
            town.put(agent, tile=(x, y))
        after = paint(scene(town))
        tile = slice(12 + 48 * y, 60 + 48 * y), slice(12 + 48 * x, 60 + 48 * x)
        hidden = (before[tile] != after[tile]).any(axis=2)
        # Two quarters of a disc of radius .27: 2 x pi x .27^2 / 4 = .11 of the tile.
        assert 0.05 < hidden.mean() < 0.2
        assert not hidden[16:32, 16:32].any()


def test_of_a_crowd_a_summary_is_shown(settings):
    env = TownVectorEnv(settings(scenario="crowd"), num_worlds=1)
    env.reset(seed=0)
    panel = slice(12 + 768 + 12, None)
    before = env.render_world(0)
    assert before.shape[:2] == (768 + 24, 768 + 36 + 372)
    env.town.agents["hunger"][0, 63] = 0.01  # the last one counts as much as the first
    starving = differing(before[:, panel], env.render_world(0)[:, panel])
    assert starving is not None
    env.town.agents["use"][0, 63] = 4
    env.town.agents["use_left"][0, 63] = 30
    asleep = env.render_world(0)
    left, _, right, _ = differing(before, asleep)
    assert left < 768  # its disc has another colour and a ring
    assert right > 768  # and one more sleeps


def test_the_pictures_in_the_docs_are_of_the_scenarios_they_say(settings):
    for name, scenario in PICTURES.items():
        env = TownVectorEnv(settings(scenario=scenario), num_worlds=1)
        env.reset(seed=0)
        height, width, _ = env.render_world(0).shape
        with Image.open(IMAGES / name) as picture:
            assert picture.size == (width, height), f"run: {COMMAND}"


def test_the_liveliest_moment_has_most_to_see(stage):
    town = stage(agents=3, **{"objects.shower": 1})
    for agent in (0, 1):
        town.put(agent, at=town.object(SHOWER))
    quiet = liveliness(scene(town))
    town.step(SHOWER)
    one = liveliness(scene(town))
    town.step(WAIT, SHOWER)
    assert quiet < one < liveliness(scene(town))


def test_a_chat_and_a_quarrel_stay_visible_for_some_ticks(stage):
    town = stage(agents=2, grid=10)
    town.put(0, tile=(4, 4))
    town.put(1, tile=(5, 4))
    assert not any(agent.chats for agent in scene(town).agents)
    town.step(CHAT, WAIT)
    shown = []
    for _ in range(SHOWN_TICKS + 3):
        shown.append([agent.chats for agent in scene(town).agents])
        town.step(WAIT, WAIT)
    assert shown[0] == [True, True]
    assert shown[-1] == [False, False]
    interval = town.env.settings.queues.conflict_interval
    town.pairs["conflict_ready"][0, 1] = town.clock["tick"] + interval
    assert [agent.quarrels for agent in scene(town).agents] == [True, True]


def test_the_text_has_the_grid_and_a_line_for_each_agent(stage):
    town = stage(agents=3, grid=10)
    town.put(0, tile=(0, 0))
    town.put(1, tile=(9, 9))
    town.put(2, tile=(9, 9))
    town.step(SLEEP, WAIT, WAIT)
    town.clock["price_until"], town.clock["price_factor"] = 99, 1.5
    lines = write(scene(town)).splitlines()
    assert len(lines) == 1 + 10 + 3
    assert lines[0] == "neighbourhood, day 1, tick 1 of 720; prices x 1.5"
    rows = [line.split() for line in lines[1:11]]
    assert all(len(row) == 10 for row in rows)
    assert rows[9][9] == "*"  # two on a tile
    assert sum(row.count("F") + row.count("f") for row in rows) == 2
    assert lines[11].startswith("  0  hunger 0.80")
    assert lines[11].endswith("goes to a bed")
