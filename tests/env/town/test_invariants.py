"""What holds whatever the town is like and whatever its agents do.

Each property plays 40 drawn towns of 3 worlds for 200 ticks: 24 000 ticks of a world.

Legend: W worlds, A agents, L = W * A lanes.
"""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journeyman.env.town.vector_env import TownVectorEnv
from support.town import town_settings

WORLDS, TICKS = 3, 200
NEEDS = ("hunger", "hygiene", "energy")
USES = ("", "eat_meal", "cook_meal", "use_shower", "rest_sleep")
DONE = ("", "meal", "cooked", "shower", "sleep")
RELEASE = 8


@st.composite
def towns(draw):
    """Draws a small, poor and troubled town, in which queues, fines and faints are common."""
    start = draw(st.integers(0, 60))
    shifts = [
        {"name": name, "start": start + 5 * i, "end": start + 5 * i + length, "wage": 0.02}
        for i, (name, length) in enumerate(
            draw(
                st.lists(
                    st.tuples(st.sampled_from(["grocer", "barista"]), st.integers(1, 80)),
                    max_size=2,
                    unique_by=lambda one: one[0],
                )
            )
        )
    ]
    config = town_settings(
        agents=draw(st.integers(1, 7)),
        grid=draw(st.integers(6, 10)),
        episode_ticks=draw(st.integers(60, 300)),
        **{f"objects.{kind}": draw(st.integers(1, 2)) for kind in ("fridge", "bed")},
        **{f"objects.{kind}": draw(st.integers(0, 2)) for kind in ("stove", "shower")},
        **{
            f"perturbations.{name}.per_day": draw(st.sampled_from([0.0, 30.0]))
            for name in ("price_spike", "blackout", "outage", "arranged_meet")
        },
        **{
            "jobs.shifts": shifts,
            "jobs.evict_absences": draw(st.integers(1, 3)),
            "money.start": draw(st.sampled_from([0.0, 0.5, 2.0])),
            "needs.start_low": 0.1,
            "queues.limit": draw(st.integers(1, 8)),
            "queues.patience": draw(st.integers(0, 20)),
            "queues.cooldown": draw(st.sampled_from([0, 20, 60])),
            "relationships.start_rivalry": draw(st.sampled_from([0.0, 0.8, 1.0])),
            "reward.clip_per_episode": draw(st.sampled_from([None, 1.0])),
        },
    )
    env = TownVectorEnv(config, num_worlds=WORLDS)
    env.set_social_stage(draw(st.sampled_from(["OFF", "C1", "C2", "C3"])))
    return env


PLAYS = {
    "env": towns(),
    "seed": st.integers(0, 2**31 - 1),
    # The share of ticks in which an agent acts as the demonstrator would; else it does one of
    # a few things, so that all want the same.
    "sense": st.sampled_from([0.0, 0.9, 0.99]),
    "wanted": st.lists(st.integers(0, 8), min_size=1, max_size=3),
}
examined = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.data_too_large]
)


def played(env, seed, sense, wanted):
    """Yields (arrays before the tick, actions, what ``step`` returned) for every tick."""
    obs, _ = env.reset(seed=seed)
    player, rng = env.demonstrator(), np.random.default_rng(seed)
    for _ in range(TICKS):
        scripted = player.act(obs, rng).actions
        sensible = rng.random(env.num_envs) < sense
        actions = np.where(sensible, scripted, rng.choice(wanted, env.num_envs))
        before = tuple(array.copy() for array in env.town)
        stepped = env.step(actions)
        yield before, actions, stepped
        obs = stepped[0]


@examined
@given(**PLAYS)
def test_everything_stays_in_its_range(env, seed, sense, wanted):
    own = range(env.layout.agents)
    for _, _, (obs, rewards, *_) in played(env, seed, sense, wanted):
        agents, pairs, objects = env.town.agents, env.town.pairs, env.town.objects
        for need in NEEDS:
            assert ((agents[need] >= 0.0) & (agents[need] <= 1.0)).all()
        assert (agents["wallet"] >= 0.0).all()
        for axis in "xy":
            assert ((agents[axis] >= 0) & (agents[axis] < env.layout.grid)).all()
        for feeling, low in (("trust", -1.0), ("familiarity", -1.0), ("rivalry", 0.0)):
            assert ((pairs[feeling] >= low) & (pairs[feeling] <= 1.0)).all()
            assert (pairs[feeling][:, own, own] == 0.0).all()
        assert ((objects["stock"] >= 0) & (objects["stock"] <= 10)).all()
        assert (np.abs(obs["features"]) <= 1.0).all()
        assert np.isfinite(rewards).all()


@examined
@given(**PLAYS)
def test_an_object_has_one_user_and_its_queue_no_duplicates(env, seed, sense, wanted):
    queued = 0
    for _ in played(env, seed, sense, wanted):
        agents, objects = env.town.agents, env.town.objects
        # An agent has one ``queue`` and one ``holds``: it is in no two queues, and never both.
        assert ((agents["queue"] == -1) | (agents["holds"] == -1)).all()
        for w, o in np.ndindex(objects.shape):
            thing = objects[w, o]
            users = np.flatnonzero(agents["holds"][w] == o)
            assert list(users) == ([thing["user"]] if thing["user"] >= 0 else [])
            places = agents["queue_place"][w][agents["queue"][w] == o]
            assert sorted(places) == list(range(thing["queue_length"]))
            assert thing["queue_length"] <= env.settings.queues.limit
            queued += len(places)
        using = agents["use"] > 0
        assert (agents["holds"][using] >= 0).all()
        assert (agents["use_left"][using] > 0).all()
        w, a = np.nonzero(using)
        assert (objects["kind"][w, agents["holds"][w, a]] == agents["use"][w, a]).all()
        there = objects[w, agents["holds"][w, a]]
        steps = abs(there["x"] - agents["x"][w, a]) + abs(there["y"] - agents["y"][w, a])
        assert (steps <= 1).all()


@examined
@given(**PLAYS)
def test_money_comes_from_wages_and_goes_to_prices_and_fines(env, seed, sense, wanted):
    shape = (WORLDS, env.layout.agents)
    wage = env.reward_term_names.index("wage")
    using = [
        env.lane_spec.feature_names.index(f"using_{kind}")
        for kind in ("fridge", "stove", "shower", "bed")
    ]
    done = [env.event_names.index(name) for name in DONE[1:]]
    a_tick = np.array(
        [getattr(env.settings.affordances, name).price for name in USES[1:]]
    ) / np.array([getattr(env.settings.affordances, name).ticks for name in USES[1:]])
    for before, _, (obs, _, _, _, info) in played(env, seed, sense, wanted):
        # Who uses an object after the tick, or finished in it, paid a tick's share of the price.
        seen = np.where(
            info["_final_obs"][:, None], info["final_obs"]["features"], obs["features"]
        )[:, using]
        used = (seen > 0.0) | (info["events"][:, done] > 0.0)
        assert (used.sum(axis=1) <= 1).all()
        price = (used * a_tick).sum(axis=1).reshape(shape)
        paid = np.maximum(
            0.0, before[1]["wallet"] - price * env.town.worlds["price_factor"][:, None]
        )
        # The wage term is wages less fines, rounded to 2**-20; a fine takes what there is.
        expected = np.maximum(0.0, paid + info["reward_terms"][:, wage].reshape(shape))
        going_on = ~info["world_over"]  # else wallets are filled anew
        np.testing.assert_allclose(
            env.town.agents["wallet"][going_on], expected[going_on], rtol=0.0, atol=4e-6
        )


@examined
@given(**PLAYS)
def test_terms_sum_to_the_reward_within_its_bounds(env, seed, sense, wanted):
    unclipped = [env.reward_term_names.index(name) for name in ("faint", "eviction")]
    bound = env.settings.reward.clip_per_episode
    total = np.zeros(env.num_envs)
    for _, _, (_, rewards, terminated, _, info) in played(env, seed, sense, wanted):
        terms = info["reward_terms"]
        np.testing.assert_array_equal(terms.sum(axis=1), rewards)
        clipped = rewards - terms[:, unclipped].sum(axis=1)
        assert (np.abs(clipped) <= 0.2 + 1e-6).all()
        np.testing.assert_array_equal(terms[:, unclipped].any(axis=1), terminated)
        total += clipped
        if bound is not None:
            assert (np.abs(total) <= bound + 1e-6).all()
        total[np.repeat(info["world_over"], env.layout.agents)] = 0.0


@examined
@given(**PLAYS)
def test_event_counters_equal_what_the_state_shows(env, seed, sense, wanted):
    shape = (WORLDS, env.layout.agents)
    queues = env.settings.queues
    for before, actions, (_, _, terminated, _, info) in played(env, seed, sense, wanted):
        counted = {
            name: info["events"][:, i].reshape(shape) for i, name in enumerate(env.event_names)
        }
        ended = (counted["faint"] + counted["eviction"]) > 0
        np.testing.assert_array_equal(ended, terminated.reshape(shape))
        going_on = ~info["world_over"]
        agents, was = env.town.agents[going_on], before[1][going_on]
        clock = env.town.worlds[going_on]
        counted = {name: count[going_on] for name, count in counted.items()}
        np.testing.assert_array_equal(
            counted["rivalry_avoided"], agents["avoid_count"] - was["avoid_count"]
        )
        np.testing.assert_array_equal(
            counted["shift_tick"], agents["attended_ticks"] - was["attended_ticks"]
        )
        quarrels = env.town.pairs["conflict_ready"] != before[2]["conflict_ready"]
        quarrels = quarrels[going_on].sum(axis=2)
        np.testing.assert_array_equal(counted["queue_conflict"], quarrels)
        assert (counted["queue_conflict_intensity"] >= quarrels * queues.conflict_min).all()
        assert (counted["queue_conflict_intensity"] <= quarrels * queues.conflict_max).all()
        # A chat sets the rest of two agents.
        chats = counted["chat_success"] + counted["chat_failure"]
        rested = agents["chat_ready"] != was["chat_ready"]
        np.testing.assert_array_equal(2 * chats.sum(axis=1), rested.sum(axis=1))
        # A use in its last tick is completed, unless it was stopped or what it needs failed.
        chosen = actions.reshape(shape)[going_on]
        now = clock["tick"][:, None] - 1
        power = now >= clock["blackout_until"][:, None]
        water = now >= clock["outage_until"][:, None]
        served = np.where(was["use"] == 2, power, True)
        served = np.where(was["use"] == 3, power & water, served)
        last = (was["use_left"] == 1) & (chosen != RELEASE) & served
        for kind in range(1, 5):
            np.testing.assert_array_equal(counted[DONE[kind]], last & (was["use"] == kind))
        states = {"shift_on_time": 2, "shift_late": 3, "shift_absent": 4}
        for name, state in states.items():
            turned = (agents["shift_state"] == state) & (was["shift_state"] != state)
            # A shift's last tick clears its state: then the counter alone knows.
            assert (counted[name][turned] == 1.0).all()
            assert (counted[name] <= 1.0).all()


@examined
@given(**PLAYS)
def test_a_masked_intent_does_nothing_and_is_never_required(env, seed, sense, wanted):
    other = TownVectorEnv(env.settings, num_worlds=WORLDS, social_stage=env.social_stage)
    mask = other.reset(seed=seed)[0]["action_mask"]
    lanes = np.arange(env.num_envs)
    player, rng = other.demonstrator(), np.random.default_rng(0)
    for _, actions, (obs, rewards, _, _, info) in played(env, seed, sense, wanted):
        assert mask[:, 0].all()  # one may always wait
        scripted = player.act({}, rng).actions
        assert mask[lanes, scripted].all()  # and the demonstrator keeps to the mask
        open_actions = np.where(mask[lanes, actions], actions, 0)
        seen, earned, _, _, told = other.step(open_actions)
        for key, array in obs.items():
            np.testing.assert_array_equal(array, seen[key])
        np.testing.assert_array_equal(rewards, earned)
        np.testing.assert_array_equal(info["events"], told["events"])
        mask = seen["action_mask"]
    for one, another in zip(env.town, other.town, strict=True):
        np.testing.assert_array_equal(one, another)
