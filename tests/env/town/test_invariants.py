"""What holds whatever the town is like and whatever its agents do.

Each property plays 40 drawn towns of 3 worlds for 200 ticks: 24 000 ticks of a world.

Legend: W worlds, A agents, L = W * A lanes.
"""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journeyman.env.town.names import EVENT_NAMES
from journeyman.env.town.vector_env import TownVectorEnv
from support.town import SCARCE, town_settings

WORLDS, TICKS = 3, 200
NEEDS = ("hunger", "hygiene", "energy")
USES = ("", "eat_meal", "cook_meal", "use_shower", "rest_sleep")
DONE = ("", "meal", "cooked", "shower", "sleep")
EAT, WORK, RELEASE = 1, 5, 8


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
        # A spike begins before anything is paid for; the factor of one that is over stays there.
        clock = env.town.worlds
        spike = before[0]["tick"] < clock["price_until"]
        factor = np.where(spike, clock["price_factor"], 1.0)[:, None]
        paid = np.maximum(0.0, before[1]["wallet"] - price * factor)
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


SHIFT_STATES = {"shift_on_time": 2, "shift_late": 3, "shift_absent": 4}
ON_TIME, LATE = 2, 3


def counts_of(env, stepped):
    """Returns what was counted in a tick, (W, A) by name."""
    shape = (env.num_worlds, env.layout.agents)
    events = stepped[4]["events"]
    return {name: events[:, i].reshape(shape) for i, name in enumerate(env.event_names)}


def check_shifts(env, before, stepped, booked):
    """Every turn of a shift is counted as what it is, and every count is such a turn.

    Args:
        booked: (W, A), how often the shift under way was counted; kept up to date here.

    Returns:
        whether each world goes on, and is neither in a shift's last tick, which clears its state.
    """
    counted, jobs = counts_of(env, stepped), env.settings.jobs
    going_on = ~stepped[4]["world_over"]
    agents, was = env.town.agents, before[1]
    time = (env.town.worlds["tick"] - 1)[:, None] % 1440
    has_job = agents["job"] >= 0
    last = has_job & (time == agents["shift_end"] - 1)
    booked[has_job & (time == agents["shift_start"])] = 0.0
    for name, state in SHIFT_STATES.items():
        turned = (agents["shift_state"] == state) & (was["shift_state"] != state)
        plain = going_on[:, None] & ~last
        np.testing.assert_array_equal(counted[name][plain], turned[plain], err_msg=name)
        assert (counted[name][~has_job] == 0.0).all()
        booked += counted[name]
    # Each shift is one of the three in the end, and never two.
    assert (booked[going_on] <= 1.0).all()
    assert (booked[going_on[:, None] & last] == 1.0).all()
    booked[~going_on] = 0.0
    late = agents["lateness"]
    assert (late <= jobs.absent_after).all()
    assert (late[agents["shift_state"] == LATE] > jobs.grace).all()
    assert (late[agents["shift_state"] == ON_TIME] == 0).all()
    return going_on & ~last.any(axis=1)


def colleagues_at_work(env, was, w, a, states):
    """Returns who of an agent's shift is at its site, chose to work, and came as in ``states``."""
    agents = env.town.agents[w]
    steps = abs(agents["x"] - agents["site_x"]) + abs(agents["y"] - agents["site_y"])
    there = (agents["last_action"] == WORK) & (steps <= 1)
    there &= (agents["use"] == 0) & (agents["queue"] == -1) & (agents["job"] == agents["job"][a])
    there &= np.isin(was[w]["shift_state"], states)
    there[a] = False
    return np.flatnonzero(there)


def check_company(env, before, stepped, plain):
    """Shared meals, late help, takeovers and chats are counted just where the state shows them.

    Args:
        plain: (W,) worlds that ``check_shifts`` found to go on plainly.
    """
    counted, feelings = counts_of(env, stepped), env.settings.relationships
    terminated = stepped[2].reshape(WORLDS, -1).any(axis=1)  # who ended stands at home again
    for w in np.flatnonzero(plain & ~terminated):
        agents, was = env.town.agents[w], before[1][w]
        counts = {name: count[w] for name, count in counted.items()}
        # A meal turns from lonely to shared once, when another eats near by.
        eats = agents["use"] == EAT
        turned = (agents["meal_shared"] == 1) & ((was["meal_shared"] == 0) | (was["use"] != EAT))
        np.testing.assert_array_equal(counts["shared_meal"], eats & turned)
        gaps = abs(agents["x"][:, None] - agents["x"]) + abs(agents["y"][:, None] - agents["y"])
        near = eats[:, None] & eats & (gaps <= feelings.meal_distance)
        np.fill_diagonal(near, val=False)
        np.testing.assert_array_equal(
            agents["meal_shared"][eats] == 1,
            near.any(axis=1)[eats] | ((was["meal_shared"] == 1) & (was["use"] == EAT))[eats],
        )
        # Whoever comes late or not at all is covered for, wherever a colleague is there to do it.
        helped = [
            colleagues_at_work(env, before[1], w, a, [ON_TIME])
            for a in np.flatnonzero(counts["shift_late"])
        ]
        assert counts["late_help"].sum() == sum(len(helpers) > 0 for helpers in helped)
        givers = np.flatnonzero(counts["late_help"])
        assert set(givers) <= {b for helpers in helped for b in helpers.tolist()}
        covered = [
            a
            for a in np.flatnonzero(counts["shift_absent"])
            if len(colleagues_at_work(env, before[1], w, a, [ON_TIME, LATE]))
        ]
        np.testing.assert_array_equal(np.flatnonzero(counts["shift_takeover"]), covered)
        # All trust and familiarity in the world come from what was counted, and from nothing else.
        if (
            np.abs(before[2][w]["familiarity"]).max() > 0.5
            or np.abs(before[2][w]["trust"]).max() > 0.5
        ):
            continue  # near its bound a feeling is cut
        total = {name: float(count.sum()) for name, count in counts.items()}
        gained = {
            field: float((env.town.pairs[w][field] - before[2][w][field]).sum())
            for field in ("trust", "familiarity")
        }
        assert gained["trust"] == pytest.approx(
            2 * feelings.chat_trust * total["chat_quality"]
            + feelings.meal_trust * total["shared_meal"]
            + 2 * feelings.help_trust * total["late_help"]
            + 2 * feelings.takeover_trust * total["shift_takeover"],
            abs=1e-6,
        )
        assert gained["familiarity"] == pytest.approx(
            2 * feelings.chat_familiarity * total["chat_quality"]
            + 2 * feelings.chat_failure_familiarity * total["chat_failure"]
            + feelings.meal_familiarity * total["shared_meal"]
            + 2 * feelings.help_familiarity * total["late_help"],
            abs=1e-6,
        )
        bounds = env.settings.chat
        good = counts["chat_success"]
        assert (counts["chat_quality"] >= good * bounds.quality_min - 1e-6).all()
        assert (counts["chat_quality"] <= good * bounds.quality_max + 1e-6).all()
        assert ((counts["chat_quality"] > 0.0) <= (good > 0.0)).all()


def check_tick(env, before, stepped, booked):
    check_company(env, before, stepped, check_shifts(env, before, stepped, booked))


@examined
@given(**PLAYS)
def test_what_happens_among_colleagues_and_at_table_is_what_is_counted(env, seed, sense, wanted):
    booked = np.zeros((WORLDS, env.layout.agents))
    for before, _, stepped in played(env, seed, sense, wanted):
        check_tick(env, before, stepped, booked)


EVENTFUL = {**SCARCE, "needs.start_low": 0.05}
"""A town in which there is something of everything to check within 200 ticks."""


def checked_play(wrong=None):
    """Checks every tick of some plays of it; returns how often each event was counted.

    Args:
        wrong: an event whose counter is emptied before it is checked.
    """
    totals = np.zeros(len(EVENT_NAMES))
    for absences, seed in itertools.product((1, 2), range(4)):
        # Where the first absence evicts, nobody takes over a shift in a world that goes on.
        config = town_settings(**{**EVENTFUL, "jobs.evict_absences": absences})
        env = TownVectorEnv(config, num_worlds=WORLDS, social_stage="C3")
        booked = np.zeros((WORLDS, env.layout.agents))
        for before, _, stepped in played(env, seed, 0.97, list(range(8))):
            if wrong is not None:
                stepped[4]["events"][:, env.event_names.index(wrong)] = 0.0
            check_tick(env, before, stepped, booked)
            totals += stepped[4]["events"].sum(axis=0)
    return dict(zip(EVENT_NAMES, totals.tolist(), strict=True))


def test_all_that_is_counted_occurs_where_it_is_checked():
    assert not [name for name, total in checked_play().items() if total == 0.0]


@pytest.mark.parametrize(
    "wrong",
    ["shared_meal", "late_help", "shift_takeover", "chat_quality", "chat_failure", *SHIFT_STATES],
)
def test_a_counter_that_misses_something_would_be_found(wrong):
    with pytest.raises(AssertionError):
        checked_play(wrong)


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
