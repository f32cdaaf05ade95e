"""Pictures of the town: a drawing with a legend, and a text."""

import functools
from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from journeyman.env.town.icons import (
    INK,
    OBJECT_ICONS,
    Colour,
    draw_chat,
    draw_quarrel,
    draw_workplace,
)
from journeyman.env.town.names import OBJECT_KINDS
from journeyman.env.town.scene import ACTIVITIES, Scene, SeenAgent, in_use
from journeyman.env.town.state import NOTHING

_SCALE = 2
"""Drawn this much larger, then averaged: smooth edges."""

_SIDE = 624
"""Least height of a frame, and about the side of the town in it, in pixels."""
_CROWDED_SIDE = 768
"""Side of a large town, whose tiles would else be too small to tell icons apart."""
_SMALL_TILE = 12
_ROOMY = 16
"""Side of a tile in pixels from which on there is room for words beside it."""
_LEGIBLE = 6
"""Radius of a disc in pixels from which on it has its agent's number on it."""
_MARGIN = 12
_PANEL = 372
_ROW = 42
"""Height of an agent's row in the panel."""
_ROWS_TOP = 84
_LEGEND = 132
"""Height of the legend at the panel's foot."""

_PAPER: Colour = (250, 249, 245)
_GROUND: Colour = (233, 238, 224)
_GRID: Colour = (221, 227, 211)
_MEETING: Colour = (252, 228, 160)
_FAINT_INK: Colour = (112, 118, 128)
_TROUGH: Colour = (222, 222, 218)
_NEEDS: tuple[tuple[str, Colour], ...] = (
    ("hunger", (214, 116, 36)),
    ("hygiene", (42, 132, 196)),
    ("energy", (118, 96, 184)),
)
_LOW: Colour = (205, 45, 45)
_LOW_BELOW = 0.15
_AGENTS: tuple[Colour, ...] = (
    (31, 119, 180),
    (214, 39, 40),
    (44, 160, 44),
    (148, 103, 189),
    (200, 110, 0),
    (23, 160, 175),
    (227, 119, 194),
    (127, 90, 80),
)
"""Agents take these in turn; the number tells apart those of one colour."""
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


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _SCALE)


class _Sheet:
    """A sheet to draw on, measured in the pixels of the finished frame."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width * _SCALE, height * _SCALE), _PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def text(
        self, x: float, y: float, words: str, size: int, fill: Colour = INK, anchor: str = "lm"
    ) -> None:
        at = (x * _SCALE, y * _SCALE)
        self.draw.text(at, words, fill=fill, font=_font(size), anchor=anchor)

    def box(
        self, left: float, top: float, width: float, height: float, fill: Colour, radius: float = 0
    ) -> None:
        if width > 0:
            corners = [v * _SCALE for v in (left, top, left + width, top + height)]
            self.draw.rounded_rectangle(corners, radius * _SCALE, fill=fill)

    def line(self, points: list[float], fill: Colour, width: float) -> None:
        self.draw.line([p * _SCALE for p in points], fill=fill, width=round(width * _SCALE))

    def pixels(self) -> NDArray[np.uint8]:
        return np.asarray(self.image.reduce(_SCALE))


def paint(scene: Scene) -> NDArray[np.uint8]:
    """Draws a scene.

    Returns:
        (height, width, 3) uint8, of even height and width, the same for all scenes of a town.
    """
    tile = min(48, _SIDE // scene.grid)
    if tile < _SMALL_TILE:
        tile = max(8, _CROWDED_SIDE // scene.grid)
    side = tile * scene.grid
    height = max(_SIDE, side) + 2 * _MARGIN
    height += height % 2
    width = side + 3 * _MARGIN + _PANEL
    sheet = _Sheet(width + width % 2, height)
    colours = _colours(scene, height)
    _paint_ground(sheet, scene, tile, colours)
    _paint_queues(sheet, scene, tile, colours)
    _paint_agents(sheet, scene, tile, colours)
    left = side + 2 * _MARGIN
    _paint_heading(sheet, scene, left)
    if _have_rows(scene, height):
        for a, agent in enumerate(scene.agents):
            _paint_row(sheet, agent, a, left, _ROWS_TOP + a * _ROW)
    else:
        _paint_summary(sheet, scene, left)
    _paint_legend(sheet, left, height - _MARGIN - _LEGEND)
    return sheet.pixels()


def _have_rows(scene: Scene, height: int) -> bool:
    """Says whether there is room in the panel for a row for each agent."""
    return len(scene.agents) <= (height - _ROWS_TOP - _LEGEND - 2 * _MARGIN) // _ROW


def _colours(scene: Scene, height: int) -> list[Colour]:
    """Returns the colour of each agent: its own, or of what it does where they are many."""
    if _have_rows(scene, height):
        return [_AGENTS[a % len(_AGENTS)] for a in range(len(scene.agents))]
    return [_ACTIVITY_COLOURS[agent.activity] for agent in scene.agents]


def _corner(tile_at: tuple[int, int], tile: int) -> tuple[float, float]:
    return _MARGIN + tile_at[0] * tile, _MARGIN + tile_at[1] * tile


def _paint_ground(sheet: _Sheet, scene: Scene, tile: int, colours: list[Colour]) -> None:
    side = tile * scene.grid
    sheet.box(_MARGIN, _MARGIN, side, side, _GROUND)
    if scene.meeting is not None:
        for column in range(scene.grid):
            for row in range(scene.grid):
                steps = abs(column - scene.meeting[0]) + abs(row - scene.meeting[1])
                if steps <= scene.meeting_radius:
                    sheet.box(*_corner((column, row), tile), tile, tile, _MEETING)
    for i in range(scene.grid + 1):
        edge = _MARGIN + i * tile
        sheet.line([edge, _MARGIN, edge, _MARGIN + side], _GRID, 1)
        sheet.line([_MARGIN, edge, _MARGIN + side, edge], _GRID, 1)
    for name, site in scene.workplaces:
        x, y = _corner(site, tile)
        draw_workplace(sheet.draw, (x * _SCALE, y * _SCALE, tile * _SCALE))
        sheet.text(x + tile / 2, y + tile + 7, name, 11, anchor="mm")
    for thing in scene.objects:
        x, y = _corner(thing.tile, tile)
        OBJECT_ICONS[thing.kind](sheet.draw, (x * _SCALE, y * _SCALE, tile * _SCALE))
        if in_use(thing):
            out, width = max(1.0, tile / 13), max(1.5, tile / 10)
            corners = [v * _SCALE for v in (x - out, y - out, x + tile + out, y + tile + out)]
            sheet.draw.rounded_rectangle(
                corners, 2 * out * _SCALE, outline=colours[thing.user], width=round(width * _SCALE)
            )
        if OBJECT_KINDS[thing.kind] == "fridge" and tile >= _ROOMY:
            sheet.text(x - 4, y + tile / 2, f"{thing.meals} meals", 11, anchor="rm")


def _paint_queues(sheet: _Sheet, scene: Scene, tile: int, colours: list[Colour]) -> None:
    """Draws a dotted line from each waiter to the object, and the queue's length beside it."""
    for a, (x, y) in enumerate(_places(scene, tile)):
        queue = scene.agents[a].queue
        if queue == NOTHING:
            continue
        ox, oy = (v + tile / 2 for v in _corner(scene.objects[queue].tile, tile))
        for share in np.linspace(0.0, 1.0, 9):
            px, py = x + share * (ox - x), y + share * (oy - y)
            sheet.box(px - 1.5, py - 1.5, 3, 3, colours[a], 1.5)
    for thing in scene.objects:
        if thing.queue_length > 0:
            x, y = _corner(thing.tile, tile)
            size = 15 if tile >= _ROOMY else 11
            sheet.box(x + tile - 3, y + 4 - size, size, size, INK, size / 2)
            middle = x + tile - 3 + size / 2, y + 4 - size / 2
            sheet.text(*middle, str(thing.queue_length), round(size * 0.7), _PAPER, "mm")


def _things(scene: Scene) -> set[tuple[int, int]]:
    """Returns the tiles on which something stands that an agent should not hide."""
    return {thing.tile for thing in scene.objects} | {site for _, site in scene.workplaces}


_CORNERS = ((1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0))
"""Where agents stand on a tile with something on it, as shares of its side."""


def _places(scene: Scene, tile: int) -> Iterator[tuple[float, float]]:
    """Yields the middle of each agent's disc.

    Those who share a tile stand side by side; whoever is where something stands, at its corners.
    """
    crowd = Counter(agent.tile for agent in scene.agents)
    placed: Counter[tuple[int, int]] = Counter()
    things = _things(scene)
    for agent in scene.agents:
        x, y = _corner(agent.tile, tile)
        place = placed[agent.tile] % 4
        placed[agent.tile] += 1
        if agent.tile in things:
            right, down = _CORNERS[place]
            yield x + right * tile, y + down * tile
            continue
        columns = 1 if crowd[agent.tile] == 1 else 2
        row, column = divmod(place, columns)
        shift = tile * 0.5 if columns == 1 else tile * 0.25
        step = tile * 0.5
        y_shift = tile * 0.5 if crowd[agent.tile] <= columns else tile * 0.25
        yield x + shift + column * step, y + y_shift + row * step


def _paint_disc(sheet: _Sheet, x: float, y: float, radius: float, a: int, colour: Colour) -> None:
    corners = [v * _SCALE for v in (x - radius, y - radius, x + radius, y + radius)]
    sheet.draw.ellipse(corners, fill=colour, outline=(255, 255, 255), width=_SCALE)
    if radius >= _LEGIBLE:
        size = max(6, round(radius * (1.2 if a < 10 else 0.95)))
        sheet.text(x, y, str(a), size, (255, 255, 255), "mm")


def _paint_agents(sheet: _Sheet, scene: Scene, tile: int, colours: list[Colour]) -> None:
    crowd = Counter(agent.tile for agent in scene.agents)
    things, places = _things(scene), list(_places(scene, tile))
    gap, width = tile * 0.15, max(1.2, tile * 0.115)
    for a, (agent, (x, y)) in enumerate(zip(scene.agents, places, strict=True)):
        alone = crowd[agent.tile] == 1 and agent.tile not in things
        radius = tile * (0.38 if alone else 0.27)
        if agent.progress is not None:
            reach = radius + gap
            ring = [v * _SCALE for v in (x - reach, y - reach, x + reach, y + reach)]
            end = -90 + 360 * agent.progress
            sheet.draw.arc(ring, -90, end, fill=INK, width=round(width * _SCALE))
        _paint_disc(sheet, x, y, radius, a, colours[a])
    for at, count in crowd.items():
        if count > len(_CORNERS):  # more than show
            x, y = _corner(at, tile)
            sheet.text(x + 1.3 * tile + 2, y + tile / 2, f"{count} agents", 11)
    for agent, (x, y) in zip(scene.agents, places, strict=True):
        size = tile * 0.8 if tile >= _ROOMY else tile
        box = ((x + tile / 9) * _SCALE, (y - size - tile * 0.3) * _SCALE, size * _SCALE)
        if agent.quarrels:
            draw_quarrel(sheet.draw, box)
        elif agent.chats:
            draw_chat(sheet.draw, box)


def _paint_heading(sheet: _Sheet, scene: Scene, left: float) -> None:
    sheet.text(left, _MARGIN + 12, f"Town: {scene.scenario}", 20)
    when = f"day {scene.day}, tick {scene.tick} of {scene.episode_ticks}"
    sheet.text(left, _MARGIN + 36, when, 13, _FAINT_INK)
    sheet.box(left, _MARGIN + 48, _PANEL, 5, _TROUGH, 2)
    share = min(1.0, scene.tick / scene.episode_ticks)
    sheet.box(left, _MARGIN + 48, _PANEL * share, 5, _FAINT_INK, 2)
    sheet.text(left, _MARGIN + 64, "; ".join(scene.notices), 12, _LOW)


def _paint_summary(sheet: _Sheet, scene: Scene, left: float) -> None:
    """Draws what many agents do and how they are, all together."""
    agents, top = len(scene.agents), _ROWS_TOP + 8
    sheet.text(left, top, f"{agents} agents, coloured by what they do", 14)
    counts = Counter(agent.activity for agent in scene.agents)
    for i, (activity, colour) in enumerate(_ACTIVITY_COLOURS.items()):
        y = top + 26 + 24 * i
        sheet.box(left, y - 7, 14, 14, colour, 7)
        sheet.text(left + 22, y, activity, 13)
        sheet.text(left + 170, y, str(counts[activity]), 13, anchor="rm")
        sheet.box(left + 180, y - 5, _PANEL - 180, 10, _TROUGH, 5)
        width = (_PANEL - 180) * counts[activity] / agents
        sheet.box(left + 180, y - 5, width, 10, colour, min(5, width / 2))
    top += 26 + 24 * len(_ACTIVITY_COLOURS) + 14
    sheet.text(left, top, "mean of each need; agents in whom it is nearly out", 14)
    for i, (name, colour) in enumerate(_NEEDS):
        y, needs = top + 26 + 24 * i, [agent.needs[i] for agent in scene.agents]
        low = sum(need < _LOW_BELOW for need in needs)
        sheet.text(left, y, name, 13)
        sheet.box(left + 70, y - 5, _PANEL - 110, 10, _TROUGH, 5)
        sheet.box(left + 70, y - 5, (_PANEL - 110) * sum(needs) / agents, 10, colour, 5)
        sheet.text(left + _PANEL, y, str(low), 13, _LOW if low else _FAINT_INK, "rm")
    money = sorted(agent.money for agent in scene.agents)
    words = f"money {money[0]:.2f} to {money[-1]:.2f}, median {money[agents // 2]:.2f}"
    sheet.text(left, top + 26 + 24 * len(_NEEDS) + 4, words, 13, _FAINT_INK)


def _paint_row(sheet: _Sheet, agent: SeenAgent, a: int, left: float, top: float) -> None:
    """Draws what an agent does, its money, and a bar for each need."""
    _paint_disc(sheet, left + 13, top + 15, 12, a, _AGENTS[a % len(_AGENTS)])
    sheet.text(left + 34, top + 8, agent.doing, 14)
    sheet.text(left + _PANEL, top + 8, f"money {agent.money:.2f}", 12, _FAINT_INK, "rm")
    width = (_PANEL - 34) / 3 - 8
    for i, ((_, colour), need) in enumerate(zip(_NEEDS, agent.needs, strict=True)):
        x = left + 34 + i * (width + 12)
        sheet.box(x, top + 20, width, 9, _TROUGH, 4)
        fill = _LOW if need < _LOW_BELOW else colour
        sheet.box(x, top + 20, width * need, 9, fill, min(4, width * need / 2))


def _paint_legend(sheet: _Sheet, left: float, top: float) -> None:
    sheet.line([left, top, left + _PANEL, top], _TROUGH, 1)
    x = left
    for name, colour in _NEEDS:
        sheet.box(x, top + 10, 26, 9, colour, 4)
        sheet.text(x + 31, top + 14, name, 12)
        x += 92
    sheet.box(x, top + 10, 26, 9, _LOW, 4)
    sheet.text(x + 31, top + 14, "nearly out", 12)
    icons = [*zip(OBJECT_KINDS, OBJECT_ICONS, strict=True), ("workplace", draw_workplace)]
    for i, (name, icon) in enumerate(icons):
        x = left + i * 72
        icon(sheet.draw, (x * _SCALE, (top + 28) * _SCALE, 22 * _SCALE))
        sheet.text(x + 25, top + 40, name, 12)
    middle = top + 70
    _paint_disc(sheet, left + 11, middle, 10, 0, _AGENTS[0])
    sheet.draw.arc(
        [v * _SCALE for v in (left - 3, middle - 14, left + 25, middle + 14)],
        -90,
        130,
        fill=INK,
        width=3 * _SCALE,
    )
    sheet.text(left + 30, middle, "agent and its progress", 12)
    for share in range(5):
        sheet.box(left + 186 + 6 * share, middle - 1.5, 3, 3, _AGENTS[0], 1.5)
    sheet.text(left + 220, middle, "queues for; how many", 12)
    sheet.box(left + 350, middle - 8, 15, 15, INK, 7)
    sheet.text(left + 357.5, middle - 0.5, "2", 11, _PAPER, "mm")
    middle = top + 104
    draw_chat(sheet.draw, (left * _SCALE, (middle - 12) * _SCALE, 24 * _SCALE))
    sheet.text(left + 30, middle, "chat", 12)
    draw_quarrel(sheet.draw, ((left + 74) * _SCALE, (middle - 12) * _SCALE, 24 * _SCALE))
    sheet.text(left + 104, middle, "quarrel in a queue", 12)
    frame = [v * _SCALE for v in (left + 222, middle - 9, left + 240, middle + 9)]
    sheet.draw.rounded_rectangle(frame, 4 * _SCALE, outline=_AGENTS[0], width=round(2.5 * _SCALE))
    sheet.text(left + 246, middle, "in use", 12)
    sheet.box(left + 300, middle - 8, 16, 16, _MEETING)
    sheet.text(left + 321, middle, "meeting", 12)


def write(scene: Scene) -> str:
    """Writes a scene as text: the grid, then a line for each agent.

    Objects are F, T, S, B (fridge, stove, shower, bed), in lower case while in use; workplaces
    ``$``; agents the last digit of their number, ``*`` where several share a tile.
    """
    rows = [["."] * scene.grid for _ in range(scene.grid)]
    for _, (x, y) in scene.workplaces:
        rows[y][x] = "$"
    for thing in scene.objects:
        letter = "FTSB"[thing.kind]
        rows[thing.tile[1]][thing.tile[0]] = letter.lower() if in_use(thing) else letter
    crowd = Counter(agent.tile for agent in scene.agents)
    for a, agent in enumerate(scene.agents):
        x, y = agent.tile
        rows[y][x] = str(a % 10) if crowd[agent.tile] == 1 else "*"
    head = f"{scene.scenario}, day {scene.day}, tick {scene.tick} of {scene.episode_ticks}"
    lines = ["; ".join([head, *scene.notices]), *(" ".join(row) for row in rows)]
    for a, agent in enumerate(scene.agents):
        needs = "  ".join(
            f"{name} {need:.2f}" for (name, _), need in zip(_NEEDS, agent.needs, strict=True)
        )
        marks = "  (quarrels)" if agent.quarrels else "  (chats)" if agent.chats else ""
        lines.append(f"{a:>3}  {needs}  money {agent.money:5.2f}  {agent.doing}{marks}")
    return "\n".join(lines)
