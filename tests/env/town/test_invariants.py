"""What holds whatever the agents do."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.env.town.vector_env import TownVectorEnv
from support.town import town_settings


def check(env):
    agents, objects, pairs = env.town.agents, env.town.objects, env.town.pairs
    for need in ("hunger", "hygiene", "energy"):
        assert ((agents[need] >= 0.0) & (agents[need] <= 1.0)).all()
    assert (agents["wallet"] >= 0.0).all()
    assert ((agents["x"] >= 0) & (agents["x"] < env.layout.grid)).all()
    assert ((agents["y"] >= 0) & (agents["y"] < env.layout.grid)).all()
    assert (np.abs(pairs["trust"]) <= 1.0).all()
    assert (np.abs(pairs["familiarity"]) <= 1.0).all()
    assert ((pairs["rivalry"] >= 0.0) & (pairs["rivalry"] <= 1.0)).all()
    assert (pairs["rivalry"][:, range(env.layout.agents), range(env.layout.agents)] == 0).all()
    assert ((objects["stock"] >= 0) & (objects["stock"] <= 10)).all()
    for w in range(env.num_worlds):
        for o, thing in enumerate(objects[w]):
            users = np.flatnonzero(agents["holds"][w] == o)
            assert list(users) == ([thing["user"]] if thing["user"] >= 0 else [])
            queue = agents["queue_place"][w][agents["queue"][w] == o]
            assert sorted(queue) == list(range(thing["queue_length"]))
        using = agents["use"][w] > 0
        assert (agents["holds"][w][using] >= 0).all()
        assert (agents["queue"][w][using] == -1).all()
        assert (agents["use_left"][w][using] > 0).all()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    people=st.integers(1, 7),
    things=st.integers(1, 2),
    # Few intents, so that all want the same and queues arise.
    wanted=st.lists(st.integers(0, 8), min_size=1, max_size=3),
)
def test_invariants(seed, people, things, wanted):
    config = town_settings(
        agents=people,
        grid=7,
        episode_ticks=150,
        **{f"objects.{kind}": things for kind in ("fridge", "stove", "shower", "bed")},
        **{"perturbations.blackout.per_day": 20.0, "jobs.shifts": []},
    )
    env = TownVectorEnv(config, num_worlds=2, social_stage="C3")
    obs, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for tick in range(200):
        obs, rewards, _, _, info = env.step(rng.choice(wanted, env.num_envs))
        assert np.isfinite(obs["features"]).all()
        assert (np.abs(obs["features"]) <= 1.0).all()
        assert obs["action_mask"][:, 0].all()
        np.testing.assert_array_equal(info["reward_terms"].sum(axis=1), rewards)
        if tick % 10 == 0:
            check(env)


def test_money_comes_from_wages_and_goes_to_prices_and_fines():
    env = TownVectorEnv(town_settings(), num_worlds=4)
    obs, _ = env.reset(seed=0)
    player, rng = env.demonstrator(), np.random.default_rng(0)
    affordances = env.tables.affordances
    for _ in range(719):
        before = env.town.agents["wallet"].copy()
        factor = env.town.worlds["price_factor"].copy()
        obs, _, _, _, info = env.step(player.act(obs, rng).actions)
        wage = info["reward_terms"][:, env.reward_term_names.index("wage")].reshape(4, 8)
        gained = env.town.agents["wallet"] - before
        # A tick's wage or fine, less at most a tick's price (spikes may change in this tick).
        dearest = (affordances["price"] / affordances["ticks"]).max() * max(1.8, factor.max())
        # A fine takes no more than there is.
        assert ((gained <= wage + 2e-6) | (env.town.agents["wallet"] == 0.0)).all()
        assert (gained >= np.minimum(wage, 0.0) - dearest - 2e-6).all()
    idle = TownVectorEnv(town_settings(), num_worlds=1)
    idle.reset(seed=0)
    for _ in range(150):
        idle.step(np.zeros(8, np.int64))
    assert (idle.town.agents["wallet"] == 2.0).all()
