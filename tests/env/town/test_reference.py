"""docs/town.md is current, leaves no constant out, and names tests that exist."""

import json
import re
from pathlib import Path

import pytest

from journeyman.env.town.names import EVENT_NAMES
from journeyman.env.town_reference import (
    BASELINES,
    COMMAND,
    DOCUMENT,
    PLACEHOLDER,
    current,
    filled,
    rules_part,
    setting,
)
from journeyman.env.town_rulebook import RULES

SECTIONS = ("needs", "food", "money", "queues", "relationships", "chat", "jobs", "reward", "social")


def test_the_document_is_current():
    assert DOCUMENT.read_text() == current(), f"docs/town.md is out of date; run: {COMMAND}"


def test_every_constant_is_part_of_a_rule(settings):
    named = {key for rule in RULES for key in PLACEHOLDER.findall(rule.text)}
    there = {
        f"{section}.{name}"
        for section in SECTIONS
        for name in type(getattr(settings(), section)).model_fields
    }
    # Shifts are in the table of scenarios.
    assert there - {"jobs.shifts"} <= named


def test_every_rule_names_keys_and_a_test_that_exist(settings):
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    tests = set(re.findall(r"^def (test_\w+)\(", sources, re.MULTILINE))
    for rule in RULES:
        assert rule.tests
        assert set(rule.tests) <= tests, rule.tests
        assert len(set(rule.tests)) == len(rule.tests), rule.tests
        for key in PLACEHOLDER.findall(rule.text):
            setting(settings(), key)


def test_figures_are_the_settings(settings):
    changed = rules_part(settings(**{"queues.patience": 33, "affordances.eat_meal.ticks": 17}))
    assert "more than 33 ticks quarrels" in changed
    assert "| eat_meal (fridge) | 17 |" in changed
    temper = {"name": "shy", "extroversion": -0.9, "forgiveness": 0.25, "ambition": 0.0}
    assert "| shy | -0.9 | 0.25 | 0 |" in rules_part(settings(personalities=[temper]))


def test_hand_written_text_stays_and_unknown_parts_are_refused():
    document = "before\n<!-- generated: one -->\nold\n<!-- end -->\nafter\n"
    assert filled(document, {"one": "new"}) == document.replace("old", "new")
    with pytest.raises(KeyError, match="one"):
        filled(document, {})


def test_objects_and_agents_are_in_use_as_the_document_says():
    """Nearly as much as the town was designed for; each share follows from the events."""
    home = json.loads(BASELINES.read_text())["scenarios"]["neighbourhood"]["demonstrator"]
    # What cooks eat at the stove they do not fetch: 8 agents' portions, 15 ticks each of 2 fridges.
    at_the_stove = home["events"]["cooked"] * 15 / 1440 * 8 / 2
    assert 0.09 < at_the_stove < 0.11
    for kind, designed in (("fridge", 0.37 - at_the_stove), ("shower", 0.25), ("bed", 0.64)):
        assert 0.75 * designed < home["occupancy"][kind] < 1.05 * designed, kind
    spent, events = home["time_shares"], home["events"]
    assert 0.33 < sum(spent[name] for name in ("eat", "cook", "shower", "sleep")) < 0.4
    for name, event, ticks in (
        ("eat", "meal", 15),
        ("cook", "cooked", 40),
        ("shower", "shower", 30),
        ("sleep", "sleep", 60),
    ):
        # Uses completed take their ticks; what is stopped early or under way at the end is more.
        completed = events[event] * ticks / 1440
        assert completed <= spent[name] + 1e-4, name
        assert spent[name] < 1.15 * completed, name
    assert spent["shift"] == pytest.approx(events["shift_tick"] / 1440, abs=1e-4)
    # Agents and objects are the same ones: 8 agents to 2 beds.
    assert home["occupancy"]["bed"] == pytest.approx(spent["sleep"] * 8 / 2, abs=1e-3)


def test_the_baselines_keep_their_order():
    measured = json.loads(BASELINES.read_text())
    assert measured["episodes"] == 100
    for scenario, players in measured["scenarios"].items():
        for row in players.values():
            assert set(row["events"]) == set(EVENT_NAMES), scenario
        worst = players["demonstrator"]["return_interval"][0]
        for other in ("random", "idle"):
            assert worst > players[other]["return_interval"][1] + 30.0, scenario
        # and random and idle players are equals, of which no order is claimed
        means = [players[other]["return_mean"] for other in ("random", "idle")]
        assert abs(means[0] - means[1]) < 1.0, scenario
