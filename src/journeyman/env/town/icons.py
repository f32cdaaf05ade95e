"""Small pictures of what is in a town, drawn into a box of a Pillow image.

Boxes are (left, top, side) in pixels.
"""

from collections.abc import Callable

from PIL.ImageDraw import ImageDraw

Box = tuple[float, float, float]
Colour = tuple[int, int, int]

INK: Colour = (40, 44, 52)
_STEEL: Colour = (205, 222, 235)
_IRON: Colour = (74, 80, 92)
_EMBER: Colour = (240, 120, 60)
_TUB: Colour = (150, 205, 240)
_WATER: Colour = (28, 110, 190)
_WOOD: Colour = (160, 110, 70)
_BLANKET: Colour = (115, 95, 175)
_PILLOW: Colour = (250, 250, 250)
_LEATHER: Colour = (176, 132, 70)
_RED: Colour = (205, 45, 45)


def _at(box: Box, *shares: float) -> list[float]:
    """Returns x, y, x, y, ... in pixels for shares of the box's side."""
    left, top, side = box
    return [(left, top)[i % 2] + share * side for i, share in enumerate(shares)]


def _line(box: Box) -> int:
    return max(1, round(box[2] / 16))


def draw_fridge(draw: ImageDraw, box: Box) -> None:
    """A tall cupboard with two doors."""
    radius = box[2] / 10
    corners = _at(box, 0.2, 0.06, 0.8, 0.94)
    draw.rounded_rectangle(corners, radius, fill=_STEEL, outline=INK, width=_line(box))
    draw.line(_at(box, 0.2, 0.4, 0.8, 0.4), fill=INK, width=_line(box))
    for top, bottom in ((0.16, 0.3), (0.5, 0.7)):
        draw.line(_at(box, 0.32, top, 0.32, bottom), fill=INK, width=2 * _line(box))


def draw_stove(draw: ImageDraw, box: Box) -> None:
    """A hob with four plates."""
    radius = box[2] / 10
    corners = _at(box, 0.08, 0.08, 0.92, 0.92)
    draw.rounded_rectangle(corners, radius, fill=_IRON, outline=INK, width=_line(box))
    for x in (0.3, 0.7):
        for y in (0.3, 0.7):
            plate = _at(box, x - 0.14, y - 0.14, x + 0.14, y + 0.14)
            draw.ellipse(plate, outline=_EMBER, width=2 * _line(box))


def draw_shower(draw: ImageDraw, box: Box) -> None:
    """A shower head with falling drops."""
    radius = box[2] / 10
    corners = _at(box, 0.08, 0.08, 0.92, 0.92)
    draw.rounded_rectangle(corners, radius, fill=_TUB, outline=INK, width=_line(box))
    draw.pieslice(_at(box, 0.26, 0.16, 0.74, 0.64), 180, 360, fill=INK)
    for x, y in ((0.34, 0.5), (0.5, 0.5), (0.66, 0.5), (0.34, 0.7), (0.5, 0.7), (0.66, 0.7)):
        draw.line(_at(box, x, y, x, y + 0.1), fill=_WATER, width=2 * _line(box))


def draw_bed(draw: ImageDraw, box: Box) -> None:
    """A bed from above."""
    radius = box[2] / 10
    frame = _at(box, 0.14, 0.06, 0.86, 0.94)
    draw.rounded_rectangle(frame, radius, fill=_WOOD, outline=INK, width=_line(box))
    draw.rectangle(_at(box, 0.22, 0.38, 0.78, 0.88), fill=_BLANKET)
    draw.rounded_rectangle(_at(box, 0.28, 0.14, 0.72, 0.32), radius, fill=_PILLOW)


def draw_workplace(draw: ImageDraw, box: Box) -> None:
    """A briefcase."""
    radius = box[2] / 10
    handle = _at(box, 0.36, 0.16, 0.64, 0.46)
    draw.rounded_rectangle(handle, radius, outline=INK, width=2 * _line(box))
    case = _at(box, 0.1, 0.32, 0.9, 0.86)
    draw.rounded_rectangle(case, radius, fill=_LEATHER, outline=INK, width=_line(box))
    draw.line(_at(box, 0.1, 0.56, 0.9, 0.56), fill=INK, width=_line(box))


def draw_chat(draw: ImageDraw, box: Box) -> None:
    """A speech bubble with three dots; its tip is in the box's lower left."""
    draw.polygon(_at(box, 0.1, 1.0, 0.24, 0.5, 0.55, 0.6), fill=_PILLOW, outline=INK)
    bubble = _at(box, 0.02, 0.08, 0.98, 0.74)
    draw.rounded_rectangle(bubble, box[2] / 4, fill=_PILLOW, outline=INK, width=_line(box))
    for x in (0.26, 0.5, 0.74):
        draw.ellipse(_at(box, x - 0.07, 0.34, x + 0.07, 0.48), fill=INK)


def draw_quarrel(draw: ImageDraw, box: Box) -> None:
    """A red burst with an exclamation mark."""
    burst = (0.5, 0.0, 0.62, 0.24, 0.9, 0.1, 0.8, 0.38, 1.0, 0.5, 0.8, 0.62, 0.9, 0.9, 0.62, 0.78)
    mirror = (0.5, 1.0, 0.38, 0.78, 0.1, 0.9, 0.2, 0.62, 0.0, 0.5, 0.2, 0.38, 0.1, 0.1, 0.38, 0.24)
    draw.polygon(_at(box, *burst, *mirror), fill=_RED)
    draw.line(_at(box, 0.5, 0.24, 0.5, 0.58), fill=_PILLOW, width=2 * _line(box))
    draw.ellipse(_at(box, 0.44, 0.66, 0.56, 0.78), fill=_PILLOW)


OBJECT_ICONS: tuple[Callable[[ImageDraw, Box], None], ...] = (
    draw_fridge,
    draw_stove,
    draw_shower,
    draw_bed,
)
"""By kind, in the order of ``OBJECT_KINDS``."""
