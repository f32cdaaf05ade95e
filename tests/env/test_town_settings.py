"""Scenarios, overrides, and worlds that cannot be."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from journeyman.env.build import lane_spec
from journeyman.env.town.scenarios import SCENARIOS, resolve_layout
from journeyman.errors import UserError

SHIFT = {"name": "grocer", "start": 100, "end": 200, "wage": 0.02}


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_scenario_fills_what_is_null(settings, name):
    scenario, layout = SCENARIOS[name], resolve_layout(settings(scenario=name))
    assert (layout.agents, layout.grid) == (scenario.agents, scenario.grid)
    kinds = [kind for kind, _ in layout.objects]
    assert tuple(kinds.count(kind) for kind in range(1, 5)) == scenario.objects
    assert lane_spec(settings(scenario=name)).env_id == f"town/{name}"


def test_explicit_values_win(settings):
    layout = resolve_layout(settings(**{"agents": 3, "objects.bed": 5, "jobs.shifts": [SHIFT]}))
    assert layout.agents == 3
    assert [kind for kind, _ in layout.objects].count(4) == 5
    assert layout.shifts[0].start == 100


@pytest.mark.parametrize("agents", [1, 8, 64])
def test_nothing_shares_a_tile_with_anything(settings, agents):
    layout = resolve_layout(settings(agents=agents))
    tiles = [tile for _, tile in layout.objects] + list(set(layout.sites)) + list(layout.homes)
    assert len(set(tiles)) == len(tiles)
    assert all(0 <= x < layout.grid and 0 <= y < layout.grid for x, y in tiles)


def test_a_stove_alone_can_feed_a_town(settings):
    resolve_layout(settings(**{"food.start": 0, "food.restock_per_day": 0.0}))


def test_all_impossibilities_are_said_at_once(settings):
    with pytest.raises(UserError) as caught:
        resolve_layout(settings(**{"agents": 17, "grid": 4, "objects.bed": 0}))
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "env.agents",
        "env.objects.bed",
    ]


@pytest.mark.parametrize(
    ("overrides", "key", "reason"),
    [
        ({"agents": 17, "grid": 4}, "env.agents", "only 16 tiles"),
        ({"agents": 10, "grid": 4}, "env.objects", "do not fit"),
        ({"objects.fridge": 0}, "env.objects.fridge", "without a fridge"),
        ({"objects.bed": 0}, "env.objects.bed", "without a bed"),
        (
            {"food.start": 0, "food.restock_per_day": 0.0, "objects.stove": 0},
            "env.food",
            "never a meal",
        ),
        (
            {"food.start": 0, "food.restock_per_day": 0.0, "affordances.cook_meal.meals": 0},
            "env.food",
            "never a meal",
        ),
        ({"affordances.eat_meal.hunger": -0.5}, "env.affordances.eat_meal.hunger", "feeds nobody"),
    ],
)
def test_impossible_layouts_name_the_key_and_the_reason(settings, overrides, key, reason):
    with pytest.raises(UserError) as caught:
        lane_spec(settings(**overrides))
    assert caught.value.problems[0].startswith(key)
    assert reason in caught.value.problems[0]


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"jobs.shifts": [SHIFT, {**SHIFT, "start": 150, "end": 250}]}, "overlap"),
        ({"jobs.shifts": [{**SHIFT, "start": 200}]}, "not before end"),
        ({"jobs.grace": 30}, "below absent_after"),
        ({"jobs.evict_absences": 8}, "nobody would ever be evicted"),
        ({"needs.respawn": 0.02}, "faint at once"),
        ({"needs.start_low": 1.0, "needs.start_high": 0.9}, "exceeds start_high"),
        ({"perturbations.outage.min_ticks": 100}, "exceeds max_ticks"),
        ({"scenario": "desert"}, "neighbourhood"),
        ({"perturbations.price_spike.min_factor": 3.0}, "exceeds max_factor"),
        ({"chat.quality_min": 0.9, "chat.quality_max": 0.1}, "exceeds quality_max"),
        ({"queues.conflict_min": 6.0}, "exceeds conflict_max"),
        ({"food.start": 11}, "exceeds capacity"),
        ({"objects.sofa": 1}, "objects.sofa"),
        ({"agents": 0}, "agents"),
        ({"jobs.shifts": [{**SHIFT, "end": 1441}]}, "less than or equal to 1440"),
        ({"personalities": []}, "personalities"),
        ({"affordances.eat_meal.ticks": 0}, "eat_meal.ticks"),
        ({"needs.hunger_decay": float("nan")}, "finite"),
    ],
)
def test_contradictions_are_refused_with_their_reason(settings, overrides, reason):
    with pytest.raises(ValidationError, match=reason):
        settings(**overrides)


def test_a_specification_costs_no_compiler():
    script = (
        "import sys, journeyman.env.build, journeyman.env.town.specification;"
        "print(any(name.split('.')[0] in ('numba', 'gymnasium') for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
