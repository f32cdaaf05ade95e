"""What the map and the panel of a picture are drawn with: a sheet, colours, an agent's disc."""

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from journeyman.env.town.icons import INK, Colour

SCALE = 2
"""Drawn this much larger, then averaged: smooth edges."""

MARGIN = 12
_LEGIBLE = 6
"""Radius of a disc in pixels from which on it has its agent's number on it."""

PAPER: Colour = (250, 249, 245)
MEETING: Colour = (252, 228, 160)
AGENT_COLOURS: tuple[Colour, ...] = (
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


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * SCALE)


class Sheet:
    """A sheet to draw on, measured in the pixels of the finished frame."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width * SCALE, height * SCALE), PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def text(
        self, x: float, y: float, words: str, size: int, fill: Colour = INK, anchor: str = "lm"
    ) -> None:
        at = (x * SCALE, y * SCALE)
        self.draw.text(at, words, fill=fill, font=_font(size), anchor=anchor)

    def box(
        self, left: float, top: float, width: float, height: float, fill: Colour, radius: float = 0
    ) -> None:
        if width > 0:
            corners = [v * SCALE for v in (left, top, left + width, top + height)]
            self.draw.rounded_rectangle(corners, radius * SCALE, fill=fill)

    def line(self, points: list[float], fill: Colour, width: float) -> None:
        self.draw.line([p * SCALE for p in points], fill=fill, width=round(width * SCALE))

    def pixels(self) -> NDArray[np.uint8]:
        return np.asarray(self.image.reduce(SCALE))


def paint_disc(sheet: Sheet, x: float, y: float, radius: float, a: int, colour: Colour) -> None:
    """Draws an agent as a disc around (x, y), with its number where it can be read."""
    corners = [v * SCALE for v in (x - radius, y - radius, x + radius, y + radius)]
    sheet.draw.ellipse(corners, fill=colour, outline=(255, 255, 255), width=SCALE)
    if radius >= _LEGIBLE:
        size = max(6, round(radius * (1.2 if a < 10 else 0.95)))
        sheet.text(x, y, str(a), size, (255, 255, 255), "mm")
