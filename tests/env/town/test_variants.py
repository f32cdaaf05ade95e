"""The observation's variants: what each map shows, and that the features are the same."""

import re
from pathlib import Path

import numpy as np
import pytest

from journeyman.env.build import lane_spec
from journeyman.env.town.variants import VARIANTS
from journeyman.env.town.vector_env import TownVectorEnv

EAT, SHOWER, SLEEP = 1, 3, 4
SIZES = {"hybrid": (4, 11, 11), "full": (6, 11, 11), "compact": (5, 7, 7)}


def played(settings, variant, ticks=200):
    """Yields (environment, observation) of a town the demonstrator plays."""
    env = TownVectorEnv(
        settings(**{"observation.variant": variant, "grid": 14, "needs.start_low": 0.2}),
        num_worlds=2,
    )
    obs, _ = env.reset(seed=4)
    town, rng = env.demonstrator(), np.random.default_rng(0)
    for _ in range(ticks):
        yield env, obs
        obs, *_ = env.step(town.act(obs, rng).actions)


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_specification_spaces_and_arrays_agree(settings, variant):
    spec = lane_spec(settings(**{"observation.variant": variant}))
    assert spec.map_shape == SIZES[variant]
    assert len(spec.map_channels) == spec.map_shape[0] == len(set(spec.map_channels))
    assert len(spec.feature_names) == len(set(spec.feature_names)) == 109
    for env, obs in played(settings, variant, ticks=30):
        assert obs in env.observation_space
        for name, array in obs.items():
            assert array.dtype == env.observation_space[name].dtype, name
        assert obs["map"].shape == (env.num_envs, *spec.map_shape)
        assert env.lane_spec == spec


def test_no_two_variants_have_as_many_channels():
    # the kernels tell them apart by it
    assert len({len(variant.channels) for variant in VARIANTS.values()}) == len(VARIANTS)


def test_the_variants_differ_in_nothing_but_their_own_channels(settings):
    several = (played(settings, variant) for variant in ("hybrid", "full", "compact"))
    for (_, hybrid), (_, full), (_, compact) in zip(*several, strict=True):
        for other in (full, compact):
            np.testing.assert_array_equal(hybrid["features"], other["features"])
            np.testing.assert_array_equal(hybrid["action_mask"], other["action_mask"])
        np.testing.assert_array_equal(hybrid["map"], full["map"][:, :4])
        # 7 of 11 tiles: two are left out on either side
        np.testing.assert_array_equal(hybrid["map"][:, :, 2:9, 2:9], compact["map"][:, :4])


def drawn(env, lane, size):
    """The four common channels, drawn from the state by other means than the kernel's."""
    world, a = divmod(lane, env.layout.agents)
    agents, objects = env.town.agents[world], env.town.objects[world]
    picture = np.zeros((4, size, size), np.uint8)
    picture[0, size // 2, size // 2] = 1
    others = [(b["x"], b["y"], 1) for i, b in enumerate(agents) if i != a]
    things = [(o["x"], o["y"], 2) for o in objects]
    used = [(o["x"], o["y"], 3) for o in objects if o["user"] >= 0]
    for x, y, channel in (*others, *things, *used):
        row, column = y - agents[a]["y"] + size // 2, x - agents[a]["x"] + size // 2
        if 0 <= row < size and 0 <= column < size:
            picture[channel, row, column] = 1
    return picture


def test_the_map_shows_what_the_state_says(settings):
    in_use = 0
    for env, obs in played(settings, "hybrid", ticks=60):
        for lane in range(env.num_envs):
            np.testing.assert_array_equal(obs["map"][lane], drawn(env, lane, 11))
        in_use += int(obs["map"][:, 3].sum())
    assert in_use > 0


def test_walkable_is_the_town_and_not_what_lies_beyond_its_edge(stage):
    town = stage(**{"observation.variant": "compact", "grid": 20})
    # Seven tiles around (1, 19): columns -2..4, of which 2 are outside; rows 16..22, 3 outside.
    town.put(0, tile=(1, 19))
    walkable = town.step()["obs"]["map"][0, 4]
    expected = np.ones((7, 7), np.uint8)
    expected[:, :2] = 0
    expected[4:] = 0
    np.testing.assert_array_equal(walkable, expected)


@pytest.mark.parametrize(
    ("lowest", "kind"), [("hunger", EAT), ("hygiene", SHOWER), ("energy", SLEEP)]
)
def test_the_path_leads_to_what_serves_the_most_urgent_need(stage, lowest, kind):
    town = stage(**{"observation.variant": "full"})
    town.agents[lowest][0] = 0.4
    x, y = (int(town.objects[town.object(kind)][axis]) for axis in ("x", "y"))
    town.put(0, tile=(x + 3, y + 1))
    path = town.step()["obs"]["map"][0, 4:]
    # The object lies 3 to the left of the middle (column 5 of 11) and 1 above: at column 2, row 4.
    assert list(path[:, 5, 5]) == [0, 1]  # from the middle a step back along x
    assert list(path[:, 4, 2]) == [1, 1]  # at the object none,
    assert list(path[:, 4, 3]) == [1, 1]  # nor beside it
    assert list(path[:, 9, 2]) == [1, 0]  # from below a step up
    assert list(path[:, 4, 0]) == [2, 1]  # from the left a step forth along x
    assert list(path[:, 6, 0]) == [2, 1]  # on the diagonal x comes first


def test_following_the_path_is_what_the_intent_does(settings):
    followed = 0
    env = TownVectorEnv(settings(**{"observation.variant": "full"}), num_worlds=1)
    obs, _ = env.reset(seed=0)
    intents = np.array([EAT, SHOWER, SLEEP])
    for _ in range(25):
        agents = env.town.agents[0]
        needs = np.stack([agents[need] for need in ("hunger", "hygiene", "energy")])
        before = np.stack([agents["x"], agents["y"]])
        step = obs["map"][:, 4:, 5, 5].T.astype(int) - 1
        free = (agents["use"] == 0) & (agents["queue"] < 0)
        # Agents move one after the other, and who is already there makes an object seem
        # farther; only the first to move is sure to see what was shown.
        first = int(env.town.worlds[0]["tick"]) % env.layout.agents
        obs, *_ = env.step(intents[needs.argmin(axis=0)])
        moved = np.stack([agents["x"], agents["y"]]) - before
        if free[first]:
            np.testing.assert_array_equal(moved[:, first], step[:, first])
            followed += int(np.abs(step[:, first]).sum())
    assert followed >= 10


def test_without_a_shower_the_next_need_leads(stage):
    town = stage(**{"observation.variant": "full", "objects.shower": 0})
    town.agents["hygiene"][0], town.agents["energy"][0] = 0.1, 0.4
    bed = town.objects[town.object(SLEEP)]
    town.put(0, tile=(int(bed["x"]), int(bed["y"]) + 4))
    assert list(town.step()["obs"]["map"][0, 4:, 5, 5]) == [1, 0]


DOCUMENT = Path(__file__).parents[3] / "docs" / "observation.md"


def documented():
    """Returns (position, name, range) of each row of the document's table of features."""
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| ([^|]+) \| [^|]+ \|$", DOCUMENT.read_text(), re.M)
    return [(int(position), name, allowed) for position, name, allowed in rows]


def test_every_feature_is_documented_in_its_place(settings):
    names = lane_spec(settings(**{"observation.personality": True})).feature_names
    assert [row[:2] for row in documented()] == list(enumerate(names))
    without = lane_spec(settings(**{"observation.personality": False})).feature_names
    assert names[: len(without)] == without


def test_every_channel_and_shape_is_documented():
    text = DOCUMENT.read_text()
    for name, variant in VARIANTS.items():
        (row,) = re.findall(rf"^\| `{name}`.* \| (\([\d, ]+\)) \| (.*) \|$", text, re.M)
        assert row[0] == str(variant.shape)
        assert variant.channels[-1] in row[1]
        for channel in variant.channels:
            assert re.search(rf"^\|[^|]*`{channel}`[^|]*\| [^|]+ \|$", text, re.M), channel


def test_what_is_seen_lies_in_the_documented_ranges(settings):
    """A day of a crowded, troubled town, half of it played at random."""
    troubled = {
        f"perturbations.{name}.per_day": 8.0
        for name in ("price_spike", "blackout", "outage", "arranged_meet")
    }
    env = TownVectorEnv(
        settings(**{"objects.fridge": 1, "objects.bed": 1, "grid": 12, **troubled}), num_worlds=4
    )
    obs, _ = env.reset(seed=0)
    town, rng = env.demonstrator(), np.random.default_rng(0)
    lowest, highest = obs["features"].min(axis=0), obs["features"].max(axis=0)
    flags = [name for _, name, allowed in documented() if allowed == "0 or 1"]
    columns = [env.lane_spec.feature_names.index(name) for name in flags]
    for _ in range(600):
        scripted, mask = town.act(obs, rng).actions, obs["action_mask"]
        chance = np.argmax(rng.random(mask.shape) * mask, axis=1)
        obs, *_ = env.step(np.where(rng.random(env.num_envs) < 0.05, chance, scripted))
        lowest = np.minimum(lowest, obs["features"].min(axis=0))
        highest = np.maximum(highest, obs["features"].max(axis=0))
        assert np.isin(obs["features"][:, columns], (0.0, 1.0)).all()
    for position, name, allowed in documented():
        least = -1.0 if allowed == "-1..1" else 0.0
        assert least <= lowest[position] <= highest[position] <= 1.0, name
    # Few stay at one value: nothing is a column of zeros by mistake.
    idle = [name for position, name, _ in documented() if lowest[position] == highest[position]]
    assert set(idle) <= {f"neighbour{slot}_present" for slot in range(4)} | {"has_job"}, idle
