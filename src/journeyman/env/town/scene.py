"""What can be seen of one world at one moment, in words and plain numbers; ``render`` draws it."""

from dataclasses import dataclass
from typing import Any

from journeyman.env.town.names import (
    ACTION_NAMES,
    AVOID,
    CHAT,
    EAT,
    OBJECT_KINDS,
    SHIFT_ABSENT,
    SHIFT_LATE,
    SHIFT_ON_TIME,
    SLEEP,
    WORK,
)
from journeyman.env.town.scenarios import Layout, Tile
from journeyman.env.town.state import NOBODY, NOTHING, TownState
from journeyman.settings.env import TownSettings
from journeyman.settings.town_rules import DAY_TICKS

_USING = {1: "eats", 2: "cooks", 3: "showers", 4: "sleeps"}
ACTIVITIES = (*_USING.values(), "works", "queues", "is on the way", "chats or is idle")
"""What agents do, in a few words each for all of them; see ``SeenAgent.activity``."""
SHOWN_TICKS = 5
"""Ticks for which a chat or a quarrel stays visible: one tick would be missed."""


@dataclass(frozen=True, kw_only=True)
class SeenObject:
    """An object: its kind (0 fridge to 3 bed), tile, user or -1, queue, and meals."""

    kind: int
    tile: Tile
    user: int
    queue_length: int
    meals: int


@dataclass(frozen=True, kw_only=True)
class SeenAgent:
    """An agent.

    Attributes:
        tile: where it stands.
        needs: hunger, hygiene, energy in [0, 1]; 1 is satisfied.
        money: in the wallet.
        doing: in words.
        activity: the one of ``ACTIVITIES`` that is.
        progress: share of the use in progress that is done, or None.
        queue: object queued at, or -1.
        chats: whether it chatted within the last ticks.
        quarrels: whether it was in a conflict within the last ticks.
    """

    tile: Tile
    needs: tuple[float, float, float]
    money: float
    doing: str
    activity: str
    progress: float | None
    queue: int
    chats: bool
    quarrels: bool


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One world at one moment.

    Attributes:
        scenario: its name.
        grid: side in tiles.
        tick: since the episode's start.
        episode_ticks: of an episode.
        day: 1 is the first.
        objects: all of them.
        agents: all of them.
        workplaces: name and tile of each job's site.
        notices: what befalls the town now.
        meeting: middle of the arranged meeting, or None.
        meeting_radius: in tiles.
    """

    scenario: str
    grid: int
    tick: int
    episode_ticks: int
    day: int
    objects: tuple[SeenObject, ...]
    agents: tuple[SeenAgent, ...]
    workplaces: tuple[tuple[str, Tile], ...]
    notices: tuple[str, ...]
    meeting: Tile | None
    meeting_radius: int


def scene_of(settings: TownSettings, layout: Layout, town: TownState, world: int) -> Scene:
    """Describes world number ``world`` as it is now."""
    clock, things = town.worlds[world], town.objects[world]
    tick = int(clock["tick"])
    meets = tick < clock["meet_until"]
    shifts = zip(layout.shifts, layout.sites, strict=True)
    return Scene(
        scenario=settings.scenario,
        grid=layout.grid,
        tick=tick,
        episode_ticks=layout.episode_ticks,
        day=tick // DAY_TICKS + 1,
        objects=tuple(
            SeenObject(
                kind=int(thing["kind"]) - 1,
                tile=(int(thing["x"]), int(thing["y"])),
                user=int(thing["user"]),
                queue_length=int(thing["queue_length"]),
                meals=int(thing["stock"]),
            )
            for thing in things
        ),
        agents=tuple(_agent(settings, town, world, a) for a in range(layout.agents)),
        workplaces=tuple({shift.name: site for shift, site in shifts}.items()),
        notices=tuple(_notices(clock, tick)),
        meeting=(int(clock["meet_x"]), int(clock["meet_y"])) if meets else None,
        meeting_radius=settings.perturbations.arranged_meet.radius,
    )


def _notices(clock: Any, tick: int) -> list[str]:
    found = []
    if tick < clock["price_until"]:
        found.append(f"prices x {float(clock['price_factor']):.1f}")
    if tick < clock["blackout_until"]:
        found.append("blackout: no stove, no shower")
    if tick < clock["outage_until"]:
        found.append("no water: no shower")
    if tick < clock["meet_until"]:
        found.append("a meeting place is announced")
    return found


def _agent(settings: TownSettings, town: TownState, world: int, a: int) -> SeenAgent:
    agent, pairs = town.agents[world, a], town.pairs[world]
    tick = int(town.worlds[world]["tick"])
    chatted = int(agent["chat_ready"]) - settings.chat.cooldown
    quarrelled = int(max(pairs[a]["conflict_ready"].max(), pairs[:, a]["conflict_ready"].max()))
    quarrelled -= settings.queues.conflict_interval
    progress = None
    if agent["use"] > 0:
        ticks = [affordance.ticks for _, affordance in settings.affordances]
        progress = 1.0 - float(agent["use_left"]) / ticks[int(agent["use"]) - 1]
    doing = _doing(agent, town.objects[world])
    return SeenAgent(
        tile=(int(agent["x"]), int(agent["y"])),
        needs=(float(agent["hunger"]), float(agent["hygiene"]), float(agent["energy"])),
        money=float(agent["wallet"]),
        doing=doing,
        activity=_activity(doing),
        progress=progress,
        queue=int(agent["queue"]),
        chats=0 <= tick - chatted <= SHOWN_TICKS and agent["chat_ready"] > 0,
        quarrels=0 <= tick - quarrelled <= SHOWN_TICKS and quarrelled > 0,
    )


def _doing(agent: Any, objects: Any) -> str:
    """Says in words what an agent does."""
    if agent["use"] > 0:
        return _USING[int(agent["use"])]
    if agent["queue"] != NOTHING:
        kind = OBJECT_KINDS[int(objects[int(agent["queue"])]["kind"]) - 1]
        return f"queues for a {kind} (no. {int(agent['queue_place']) + 1})"
    intent = int(agent["last_action"])
    if EAT <= intent <= SLEEP:
        return f"goes to a {OBJECT_KINDS[intent - 1]}"
    if intent == WORK:
        if abs(agent["site_x"] - agent["x"]) + abs(agent["site_y"] - agent["y"]) > 1:
            return "goes to work"
        if agent["shift_state"] in (SHIFT_ON_TIME, SHIFT_LATE):
            return "works"
        return "missed its shift" if agent["shift_state"] == SHIFT_ABSENT else "awaits its shift"
    if intent == CHAT:
        return "seeks company"
    if intent == AVOID:
        return "avoids a rival"
    return f"{ACTION_NAMES[intent]}s"


def _activity(doing: str) -> str:
    """Returns the one of ``ACTIVITIES`` that what an agent does is one of."""
    first = doing.split()[0]
    if first in ACTIVITIES:
        return first
    return ACTIVITIES[-2] if first in ("goes", "seeks", "avoids") else ACTIVITIES[-1]


def in_use(thing: SeenObject) -> bool:
    """Says whether somebody occupies an object."""
    return thing.user != NOBODY
