"""The generated parts of ``docs/town.md``: rules with their figures, scenarios, what was measured.

    python -m journeyman.env.town_reference

Figures come from ``conf/env/town.yaml`` through the settings' schema, what was measured from
``benchmarks/results``. Text outside the marked parts is written by hand and left alone.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from journeyman.env.town.names import OBJECT_KINDS
from journeyman.env.town.scenarios import SCENARIOS
from journeyman.env.town_rulebook import RULES
from journeyman.settings.base import Section
from journeyman.settings.env import PersonalitySettings, TownSettings

COMMAND = "python -m journeyman.env.town_reference"
ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "town.md"
BASELINES = ROOT / "benchmarks" / "results" / "town_baselines.json"
SPEED = ROOT / "benchmarks" / "results" / "town.json"

PLACEHOLDER = re.compile(r"\{([a-z_.]+)\}")
_PART = re.compile(r"<!-- generated: (\w+) -->\n.*?<!-- end -->", re.DOTALL)
_AFFORDANCE_OBJECTS = dict(
    zip(("eat_meal", "cook_meal", "use_shower", "rest_sleep"), OBJECT_KINDS, strict=True)
)
_EVENTS = {
    "meal": "meals",
    "cooked": "cooked",
    "shower": "showers",
    "sleep": "sleeps",
    "shift_on_time": "on time",
    "queue_conflict": "conflicts",
    "chat_success": "chats",
    "faint": "faints",
}


def figure(value: object) -> str:
    """Returns a setting's value as the document shows it."""
    if value is None:
        return "(off)"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def setting(settings: TownSettings, key: str) -> object:
    """Returns the value of a dotted key below ``env``.

    Raises:
        AttributeError: if there is no such key.
    """
    value: object = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def rules_part(settings: TownSettings) -> str:
    """Returns the tables of rules, a part each, then of tempers, affordances, perturbations."""
    lines: list[str] = []
    part = ""
    for rule in RULES:
        if rule.part != part:
            part = rule.part
            lines += ["", f"### {part}", "", "| rule | `env.` keys | held by |", "|---|---|---|"]
        keys = list(dict.fromkeys(PLACEHOLDER.findall(rule.text)))
        text = PLACEHOLDER.sub(lambda match: _shown(settings, match[1]), rule.text)
        shown = " ".join(f"`{key}`" for key in keys)
        held = " ".join(f"`{test}`" for test in rule.tests)
        lines.append(f"| {text} | {shown} | {held} |")
    lines += _personalities(settings)
    lines += _section_table("Affordances", "affordances", settings, _AFFORDANCE_OBJECTS)
    lines += _section_table("Perturbations in figures", "perturbations", settings, {})
    return "\n".join(lines[1:])


def _personalities(settings: TownSettings) -> Iterator[str]:
    """Writes the tempers, a row each."""
    names = [name for name in PersonalitySettings.model_fields if name != "name"]
    yield from ("", "### Personalities", "")
    yield "| `env.personalities` | " + " | ".join(f"`{name}`" for name in names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    for one in settings.personalities:
        yield f"| {one.name} | " + " | ".join(figure(getattr(one, name)) for name in names) + " |"
    yield ""
    for name in names:
        about = PersonalitySettings.model_fields[name].description or ""
        yield f"- `{name}`: {' '.join(about.split())}"


def _shown(settings: TownSettings, key: str) -> str:
    value = setting(settings, key)
    if value is None and key == "relationships.start_rivalry":
        return "what the scenario says"
    return figure(value)


def _section_table(
    title: str, section: str, settings: TownSettings, objects: Mapping[str, str]
) -> Iterator[str]:
    """Writes a section of alike sections: a row each, a column for every field."""
    rows: dict[str, Section] = dict(getattr(settings, section))
    columns = list(dict.fromkeys(name for row in rows.values() for name in type(row).model_fields))
    yield from ("", f"### {title}", "")
    yield f"| `env.{section}.` | " + " | ".join(f"`{name}`" for name in columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for name, row in rows.items():
        where = f" ({objects[name]})" if name in objects else ""
        fields = dict(row)
        values = [figure(fields[column]) if column in fields else "" for column in columns]
        yield f"| {name}{where} | " + " | ".join(values) + " |"
    yield ""
    meanings = {
        column: next(
            type(row).model_fields[column].description or ""
            for row in rows.values()
            if column in type(row).model_fields
        )
        for column in columns
    }
    yield from (f"- `{column}`: {' '.join(text.split())}" for column, text in meanings.items())


def scenarios_part() -> str:
    """Returns the table of scenarios."""
    lines = [
        f"| scenario | agents | grid | {', '.join(f'{kind}s' for kind in OBJECT_KINDS)} | shifts "
        "(ticks, wage a tick) | ticks | rivalry at the start |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in SCENARIOS.items():
        shifts = ", ".join(f"{s.name} {s.start}-{s.end} at {s.wage:g}" for s in one.shifts)
        objects = ", ".join(map(str, one.objects))
        lines.append(
            f"| `{name}` | {one.agents} | {one.grid} x {one.grid} | {objects} | {shifts} | "
            f"{one.episode_ticks} | {one.start_rivalry:g} |"
        )
    return "\n".join(lines)


def baselines_part(measured: Mapping[str, Any]) -> str:
    """Returns the tables of what scripted, random and idle players come to.

    Args:
        measured: what ``benchmarks/town_baselines.py`` wrote.
    """
    lines = [
        f"{measured['episodes']} episodes each, seed {measured['seed']}, social stage OFF. Return: "
        "mean over agents of the sum over an episode, with its 95 % interval over episodes. "
        "Events: an agent-day (1440 ticks).",
        "",
        "| scenario | player | return | " + " | ".join(_EVENTS.values()) + " |",
        "|---|---|---|" + "---|" * len(_EVENTS),
    ]
    for scenario, players in measured["scenarios"].items():
        for player, row in players.items():
            low, high = row["return_interval"]
            events = " | ".join(f"{row['events'][event]:.2f}" for event in _EVENTS)
            lines.append(
                f"| {scenario} | {player} | {row['return_mean']:.1f} ({low:.1f}, {high:.1f}) | "
                f"{events} |"
            )
    lines += [
        "",
        "Rewards of one agent and tick; clipped is the share of ticks whose sum the bound cut.",
        "",
        "| scenario | player | 1 % | 10 % | median | 90 % | 99 % | s.d. | clipped |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for scenario, players in measured["scenarios"].items():
        for player, row in players.items():
            quantiles = " | ".join(f"{value:.3f}" for value in row["reward_quantiles"])
            lines.append(
                f"| {scenario} | {player} | {quantiles} | {row['reward_sd']:.3f} | "
                f"{100 * row['clipped_share']:.2f} % |"
            )
    return "\n".join(lines)


SPECIFIED = {
    "fridges in use": 0.37,
    "showers in use": 0.25,
    "beds in use": 0.64,
    "an agent eats, cooks, showers or sleeps": 0.38,
    "a competent agent's reward a tick": -0.02,
    "an idle agent's reward a tick": -0.11,
}
"""What the town was designed for, eight agents with two of each object."""


def use_part(measured: Mapping[str, Any]) -> str:
    """Returns the tables of how much objects and agents are in use.

    Args:
        measured: what ``benchmarks/town_baselines.py`` wrote.
    """
    home = measured["scenarios"]["neighbourhood"]
    played, idle = home["demonstrator"], home["idle"]
    found = (
        *(f"{100 * played['occupancy'][kind]:.0f} %" for kind in ("fridge", "shower", "bed")),
        f"{100 * _at_objects(played):.0f} %",
        f"{played['reward_mean']:.3f}, of which needs {played['survival_mean']:.3f}",
        f"{idle['reward_mean']:.3f}, of which needs {idle['survival_mean']:.3f}",
    )
    lines = [
        "`neighbourhood`, the demonstrator's play (idling in the last row):",
        "",
        "| | designed for | measured |",
        "|---|---|---|",
    ]
    for (what, figure), value in zip(SPECIFIED.items(), found, strict=True):
        shown = f"{100 * figure:.0f} %" if figure > 0.0 else f"{figure:.2f}"
        lines.append(f"| {what} | {shown} | {value} |")
    spent = list(played["time_shares"])
    lines += [
        "",
        "Shares of time, in %: each kind of object in use, and what agents do with theirs. Random "
        "and idle players do none of it to speak of.",
        "",
        f"| scenario | player | {' | '.join(f'{kind}s' for kind in OBJECT_KINDS)} | "
        + " | ".join(_SPENT[name] for name in spent)
        + " |",
        "|---|---|" + "---|" * (len(OBJECT_KINDS) + len(spent)),
    ]
    for scenario, players in measured["scenarios"].items():
        for player, row in players.items():
            if player not in ("random", "idle"):
                shares = [*(row["occupancy"].get(kind, 0.0) for kind in OBJECT_KINDS)]
                shares += [row["time_shares"][name] for name in spent]
                figures = " | ".join(f"{100 * share:.0f}" for share in shares)
                lines.append(f"| {scenario} | {player} | {figures} |")
    return "\n".join(lines)


_SPENT = {
    "eat": "eats",
    "cook": "cooks",
    "shower": "showers",
    "sleep": "sleeps",
    "shift": "works",
    "queue": "queues",
}


def _at_objects(row: Mapping[str, Any]) -> float:
    return float(sum(row["time_shares"][name] for name in ("eat", "cook", "shower", "sleep")))


def speed_part(measured: Mapping[str, Any]) -> str:
    """Returns the table of costs.

    Args:
        measured: what ``benchmarks/town.py`` wrote.
    """
    lines = [
        f"{measured['machine']}. Compiling on first use took {_each(measured['compile_s'], '.0f')} "
        f"s; from then on loading the compiled code takes {_each(measured['load_s'], '.2f')} s, "
        f"after {measured['import_s']:.1f} s of imports.",
        "",
        "| worlds x agents | threads | agent-steps/s | without observations | "
        "ns an agent-step: with, without | bytes a lane: state, outputs |",
        "|---|---|---|---|---|---|",
    ]
    for row in measured["sizes"]:
        seeing, blind = row["agent_steps_per_s"], row["blind_agent_steps_per_s"]
        lines.append(
            f"| {row['worlds']} x {row['agents']} | {row['threads']} | {seeing:,} | {blind:,} | "
            f"{1e9 / seeing:,.0f}, {1e9 / blind:,.0f} | "
            f"{row['state_bytes_per_lane']:,.0f}, {row['output_bytes_per_lane']:,.0f} |"
        )
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in measured["shares"].items())
    lines += ["", f"Share of a tick at 64 x 8 on one thread: {shares}."]
    return "\n".join(lines)


def _each(seconds: Mapping[str, float], digits: str) -> str:
    """Returns figures by number of threads as words."""
    words = [f"{value:{digits}} ({threads} thread)" for threads, value in seconds.items()]
    return " and ".join([words[0], *(word.replace("thread", "threads") for word in words[1:])])


def parts(
    settings: TownSettings, baselines: Mapping[str, Any], speed: Mapping[str, Any]
) -> dict[str, str]:
    """Returns the generated parts by name."""
    return {
        "rules": rules_part(settings),
        "scenarios": scenarios_part(),
        "baselines": baselines_part(baselines),
        "use": use_part(baselines),
        "speed": speed_part(speed),
    }


def filled(document: str, generated: Mapping[str, str]) -> str:
    """Returns the document with its marked parts renewed.

    Raises:
        KeyError: if it marks a part that is not generated.
    """
    return _PART.sub(
        lambda match: f"<!-- generated: {match[1]} -->\n{generated[match[1]]}\n<!-- end -->",
        document,
    )


def current() -> str:
    """Returns what ``docs/town.md`` should be now."""
    import yaml

    settings = TownSettings.model_validate(
        yaml.safe_load((ROOT / "conf" / "env" / "town.yaml").read_text())
    )
    measured = [json.loads(path.read_text()) for path in (BASELINES, SPEED)]
    return filled(DOCUMENT.read_text(), parts(settings, *measured))


if __name__ == "__main__":
    DOCUMENT.write_text(current())
