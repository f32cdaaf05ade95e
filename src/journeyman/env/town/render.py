"""Pictures of the town: a drawing of its map beside a panel, and a text."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from journeyman.env.town.icons import (
    INK,
    OBJECT_ICONS,
    Colour,
    draw_chat,
    draw_quarrel,
    draw_workplace,
)
from journeyman.env.town.names import OBJECT_KINDS
from journeyman.env.town.panel import NEEDS, PANEL_WIDTH, agent_colours, paint_panel
from journeyman.env.town.scene import Scene, in_use
from journeyman.env.town.sheet import MARGIN, MEETING, PAPER, SCALE, Sheet, paint_disc
from journeyman.env.town.state import NOTHING

_SIDE = 624
"""Least height of a frame, and about the side of the town in it, in pixels."""
_CROWDED_SIDE = 768
"""Side of a large town, whose tiles would else be too small to tell icons apart."""
_SMALL_TILE = 12
_ROOMY = 16
"""Side of a tile in pixels from which on there is room for words beside it."""

_GROUND: Colour = (233, 238, 224)
_GRID: Colour = (221, 227, 211)


def paint(scene: Scene) -> NDArray[np.uint8]:
    """Draws a scene.

    Returns:
        (height, width, 3) uint8, of even height and width, the same for all scenes of a town.
    """
    tile = min(48, _SIDE // scene.grid)
    if tile < _SMALL_TILE:
        tile = max(8, _CROWDED_SIDE // scene.grid)
    side = tile * scene.grid
    height = max(_SIDE, side) + 2 * MARGIN
    height += height % 2
    width = side + 3 * MARGIN + PANEL_WIDTH
    sheet = Sheet(width + width % 2, height)
    colours = agent_colours(scene, height)
    _paint_ground(sheet, scene, tile, colours)
    _paint_queues(sheet, scene, tile, colours)
    _paint_agents(sheet, scene, tile, colours)
    paint_panel(sheet, scene, side + 2 * MARGIN, height)
    return sheet.pixels()


def _corner(tile_at: tuple[int, int], tile: int) -> tuple[float, float]:
    return MARGIN + tile_at[0] * tile, MARGIN + tile_at[1] * tile


def _paint_ground(sheet: Sheet, scene: Scene, tile: int, colours: list[Colour]) -> None:
    side = tile * scene.grid
    sheet.box(MARGIN, MARGIN, side, side, _GROUND)
    if scene.meeting is not None:
        for column in range(scene.grid):
            for row in range(scene.grid):
                steps = abs(column - scene.meeting[0]) + abs(row - scene.meeting[1])
                if steps <= scene.meeting_radius:
                    sheet.box(*_corner((column, row), tile), tile, tile, MEETING)
    for i in range(scene.grid + 1):
        edge = MARGIN + i * tile
        sheet.line([edge, MARGIN, edge, MARGIN + side], _GRID, 1)
        sheet.line([MARGIN, edge, MARGIN + side, edge], _GRID, 1)
    for name, site in scene.workplaces:
        x, y = _corner(site, tile)
        draw_workplace(sheet.draw, (x * SCALE, y * SCALE, tile * SCALE))
        sheet.text(x + tile / 2, y + tile + 7, name, 11, anchor="mm")
    for thing in scene.objects:
        x, y = _corner(thing.tile, tile)
        OBJECT_ICONS[thing.kind](sheet.draw, (x * SCALE, y * SCALE, tile * SCALE))
        if in_use(thing):
            out, width = max(1.0, tile / 13), max(1.5, tile / 10)
            corners = [v * SCALE for v in (x - out, y - out, x + tile + out, y + tile + out)]
            sheet.draw.rounded_rectangle(
                corners, 2 * out * SCALE, outline=colours[thing.user], width=round(width * SCALE)
            )
        if OBJECT_KINDS[thing.kind] == "fridge" and tile >= _ROOMY:
            sheet.text(x - 4, y + tile / 2, f"{thing.meals} meals", 11, anchor="rm")


def _paint_queues(sheet: Sheet, scene: Scene, tile: int, colours: list[Colour]) -> None:
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
            sheet.text(*middle, str(thing.queue_length), round(size * 0.7), PAPER, "mm")


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


def _paint_agents(sheet: Sheet, scene: Scene, tile: int, colours: list[Colour]) -> None:
    crowd = Counter(agent.tile for agent in scene.agents)
    things, places = _things(scene), list(_places(scene, tile))
    gap, width = tile * 0.15, max(1.2, tile * 0.115)
    for a, (agent, (x, y)) in enumerate(zip(scene.agents, places, strict=True)):
        alone = crowd[agent.tile] == 1 and agent.tile not in things
        radius = tile * (0.38 if alone else 0.27)
        if agent.progress is not None:
            reach = radius + gap
            ring = [v * SCALE for v in (x - reach, y - reach, x + reach, y + reach)]
            end = -90 + 360 * agent.progress
            sheet.draw.arc(ring, -90, end, fill=INK, width=round(width * SCALE))
        paint_disc(sheet, x, y, radius, a, colours[a])
    for at, count in crowd.items():
        if count > len(_CORNERS):  # more than show
            x, y = _corner(at, tile)
            sheet.text(x + 1.3 * tile + 2, y + tile / 2, f"{count} agents", 11)
    for agent, (x, y) in zip(scene.agents, places, strict=True):
        size = tile * 0.8 if tile >= _ROOMY else tile
        box = ((x + tile / 9) * SCALE, (y - size - tile * 0.3) * SCALE, size * SCALE)
        if agent.quarrels:
            draw_quarrel(sheet.draw, box)
        elif agent.chats:
            draw_chat(sheet.draw, box)


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
            f"{name} {need:.2f}" for (name, _), need in zip(NEEDS, agent.needs, strict=True)
        )
        marks = "  (quarrels)" if agent.quarrels else "  (chats)" if agent.chats else ""
        lines.append(f"{a:>3}  {needs}  money {agent.money:5.2f}  {agent.doing}{marks}")
    return "\n".join(lines)
