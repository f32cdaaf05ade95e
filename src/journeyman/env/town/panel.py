"""The panel beside the map: what each agent does and needs, or many together, and a legend."""

from collections import Counter

from journeyman.env.town.icons import (
    INK,
    OBJECT_ICONS,
    Colour,
    draw_chat,
    draw_quarrel,
    draw_workplace,
)
from journeyman.env.town.names import OBJECT_KINDS
from journeyman.env.town.scene import ACTIVITIES, Scene, SeenAgent
from journeyman.env.town.sheet import (
    AGENT_COLOURS,
    MARGIN,
    MEETING,
    PAPER,
    SCALE,
    Sheet,
    paint_disc,
)

PANEL_WIDTH = 372
_ROW = 42
"""Height of an agent's row in the panel."""
_ROWS_TOP = 84
_LEGEND = 132
"""Height of the legend at the panel's foot."""

_FAINT_INK: Colour = (112, 118, 128)
_TROUGH: Colour = (222, 222, 218)
NEEDS: tuple[tuple[str, Colour], ...] = (
    ("hunger", (214, 116, 36)),
    ("hygiene", (42, 132, 196)),
    ("energy", (118, 96, 184)),
)
_LOW: Colour = (205, 45, 45)
_LOW_BELOW = 0.15

_ACTIVITY_COLOURS: dict[str, Colour] = dict(
    zip(
        ACTIVITIES,
        (
            (214, 116, 36),
            (150, 60, 20),
            (42, 132, 196),
            (118, 96, 184),
            (44, 140, 60),
            (205, 45, 45),
            (90, 96, 108),
            (230, 170, 0),
        ),
        strict=True,
    )
)
"""Of agents who are too many for a row each: what they do tells more than who they are."""


def paint_panel(sheet: Sheet, scene: Scene, left: float, height: int) -> None:
    """Draws the panel from ``left`` on a sheet of a height in pixels."""
    _paint_heading(sheet, scene, left)
    if _have_rows(scene, height):
        for a, agent in enumerate(scene.agents):
            _paint_row(sheet, agent, a, left, _ROWS_TOP + a * _ROW)
    else:
        _paint_summary(sheet, scene, left)
    _paint_legend(sheet, left, height - MARGIN - _LEGEND)


def _have_rows(scene: Scene, height: int) -> bool:
    """Says whether there is room in the panel for a row for each agent."""
    return len(scene.agents) <= (height - _ROWS_TOP - _LEGEND - 2 * MARGIN) // _ROW


def agent_colours(scene: Scene, height: int) -> list[Colour]:
    """Returns the colour of each agent: its own, or of what it does where they are many."""
    if _have_rows(scene, height):
        return [AGENT_COLOURS[a % len(AGENT_COLOURS)] for a in range(len(scene.agents))]
    return [_ACTIVITY_COLOURS[agent.activity] for agent in scene.agents]


def _paint_heading(sheet: Sheet, scene: Scene, left: float) -> None:
    sheet.text(left, MARGIN + 12, f"Town: {scene.scenario}", 20)
    when = f"day {scene.day}, tick {scene.tick} of {scene.episode_ticks}"
    sheet.text(left, MARGIN + 36, when, 13, _FAINT_INK)
    sheet.box(left, MARGIN + 48, PANEL_WIDTH, 5, _TROUGH, 2)
    share = min(1.0, scene.tick / scene.episode_ticks)
    sheet.box(left, MARGIN + 48, PANEL_WIDTH * share, 5, _FAINT_INK, 2)
    sheet.text(left, MARGIN + 64, "; ".join(scene.notices), 12, _LOW)


def _paint_summary(sheet: Sheet, scene: Scene, left: float) -> None:
    """Draws what many agents do and how they are, all together."""
    agents, top = len(scene.agents), _ROWS_TOP + 8
    sheet.text(left, top, f"{agents} agents, coloured by what they do", 14)
    counts = Counter(agent.activity for agent in scene.agents)
    for i, (activity, colour) in enumerate(_ACTIVITY_COLOURS.items()):
        y = top + 26 + 24 * i
        sheet.box(left, y - 7, 14, 14, colour, 7)
        sheet.text(left + 22, y, activity, 13)
        sheet.text(left + 170, y, str(counts[activity]), 13, anchor="rm")
        sheet.box(left + 180, y - 5, PANEL_WIDTH - 180, 10, _TROUGH, 5)
        width = (PANEL_WIDTH - 180) * counts[activity] / agents
        sheet.box(left + 180, y - 5, width, 10, colour, min(5, width / 2))
    top += 26 + 24 * len(_ACTIVITY_COLOURS) + 14
    sheet.text(left, top, "mean of each need; agents in whom it is nearly out", 14)
    for i, (name, colour) in enumerate(NEEDS):
        y, needs = top + 26 + 24 * i, [agent.needs[i] for agent in scene.agents]
        low = sum(need < _LOW_BELOW for need in needs)
        sheet.text(left, y, name, 13)
        sheet.box(left + 70, y - 5, PANEL_WIDTH - 110, 10, _TROUGH, 5)
        sheet.box(left + 70, y - 5, (PANEL_WIDTH - 110) * sum(needs) / agents, 10, colour, 5)
        sheet.text(left + PANEL_WIDTH, y, str(low), 13, _LOW if low else _FAINT_INK, "rm")
    money = sorted(agent.money for agent in scene.agents)
    words = f"money {money[0]:.2f} to {money[-1]:.2f}, median {money[agents // 2]:.2f}"
    sheet.text(left, top + 26 + 24 * len(NEEDS) + 4, words, 13, _FAINT_INK)


def _paint_row(sheet: Sheet, agent: SeenAgent, a: int, left: float, top: float) -> None:
    """Draws what an agent does, its money, and a bar for each need."""
    paint_disc(sheet, left + 13, top + 15, 12, a, AGENT_COLOURS[a % len(AGENT_COLOURS)])
    sheet.text(left + 34, top + 8, agent.doing, 14)
    sheet.text(left + PANEL_WIDTH, top + 8, f"money {agent.money:.2f}", 12, _FAINT_INK, "rm")
    width = (PANEL_WIDTH - 34) / 3 - 8
    for i, ((_, colour), need) in enumerate(zip(NEEDS, agent.needs, strict=True)):
        x = left + 34 + i * (width + 12)
        sheet.box(x, top + 20, width, 9, _TROUGH, 4)
        fill = _LOW if need < _LOW_BELOW else colour
        sheet.box(x, top + 20, width * need, 9, fill, min(4, width * need / 2))


def _paint_legend(sheet: Sheet, left: float, top: float) -> None:
    sheet.line([left, top, left + PANEL_WIDTH, top], _TROUGH, 1)
    x = left
    for name, colour in NEEDS:
        sheet.box(x, top + 10, 26, 9, colour, 4)
        sheet.text(x + 31, top + 14, name, 12)
        x += 92
    sheet.box(x, top + 10, 26, 9, _LOW, 4)
    sheet.text(x + 31, top + 14, "nearly out", 12)
    icons = [*zip(OBJECT_KINDS, OBJECT_ICONS, strict=True), ("workplace", draw_workplace)]
    for i, (name, icon) in enumerate(icons):
        x = left + i * 72
        icon(sheet.draw, (x * SCALE, (top + 28) * SCALE, 22 * SCALE))
        sheet.text(x + 25, top + 40, name, 12)
    middle = top + 70
    paint_disc(sheet, left + 11, middle, 10, 0, AGENT_COLOURS[0])
    sheet.draw.arc(
        [v * SCALE for v in (left - 3, middle - 14, left + 25, middle + 14)],
        -90,
        130,
        fill=INK,
        width=3 * SCALE,
    )
    sheet.text(left + 30, middle, "agent and its progress", 12)
    for share in range(5):
        sheet.box(left + 186 + 6 * share, middle - 1.5, 3, 3, AGENT_COLOURS[0], 1.5)
    sheet.text(left + 220, middle, "queues for; how many", 12)
    sheet.box(left + 350, middle - 8, 15, 15, INK, 7)
    sheet.text(left + 357.5, middle - 0.5, "2", 11, PAPER, "mm")
    middle = top + 104
    draw_chat(sheet.draw, (left * SCALE, (middle - 12) * SCALE, 24 * SCALE))
    sheet.text(left + 30, middle, "chat", 12)
    draw_quarrel(sheet.draw, ((left + 74) * SCALE, (middle - 12) * SCALE, 24 * SCALE))
    sheet.text(left + 104, middle, "quarrel in a queue", 12)
    frame = [v * SCALE for v in (left + 222, middle - 9, left + 240, middle + 9)]
    sheet.draw.rounded_rectangle(
        frame, 4 * SCALE, outline=AGENT_COLOURS[0], width=round(2.5 * SCALE)
    )
    sheet.text(left + 246, middle, "in use", 12)
    sheet.box(left + 300, middle - 8, 16, 16, MEETING)
    sheet.text(left + 321, middle, "meeting", 12)
