"""Canvas: draws lines, bars, dots and text into a PNG. Drawn larger and then scaled down, because Pillow's lines are jagged."""

from __future__ import annotations

import io
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

SCALE = 2  # pixels of the PNG per unit, so that it is sharp on today's screens
OVERSIZE = 2  # factor by which it is drawn larger before it is scaled down

INK, SOFT, FAINT, PAPER = "#1d2733", "#66727f", "#e6eaee", "#ffffff"
BLUE, GREEN, RED, AMBER, PURPLE, GREY = "#7d9cc0", "#2f9e62", "#d6423f", "#e39b2d", "#8d6cc4", "#b9c2cb"

Anchor = Literal["left", "middle", "right"]
Point = tuple[float, float]


class Canvas:
    """A white sheet of ``width`` by ``height``; all lengths are in those units, from the upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        # Imported here: it costs a tenth of a second and some memory, and most processes never draw.
        from PIL import Image, ImageDraw

        self.width, self.height = width, height
        self._zoom = SCALE * OVERSIZE
        self._image: Image.Image = Image.new("RGB", (round(width * self._zoom), round(height * self._zoom)), PAPER)
        self._draw: ImageDraw.ImageDraw = ImageDraw.Draw(self._image)

    def line(self, begin: Point, end: Point, color: str, *, width: float = 1.0, dash: float = 0.0) -> None:
        """Draw a straight line; with ``dash`` in strokes of that length."""
        if not dash:
            self._stroke(begin, end, color, width)
            return
        length = ((end[0] - begin[0]) ** 2 + (end[1] - begin[1]) ** 2) ** 0.5
        at = 0.0
        while at < length:
            parts = [
                (begin[0] + (end[0] - begin[0]) * share, begin[1] + (end[1] - begin[1]) * share)
                for share in (at / length, min(1.0, (at + dash) / length))
            ]
            self._stroke(parts[0], parts[1], color, width)
            at += dash * 2

    def _stroke(self, begin: Point, end: Point, color: str, width: float) -> None:
        points = [(self._px(begin[0]), self._px(begin[1])), (self._px(end[0]), self._px(end[1]))]
        self._draw.line(points, fill=color, width=max(1, round(width * self._zoom)))

    def bar(self, min_x: float, min_y: float, max_x: float, max_y: float, color: str, *, radius: float = 0.0) -> None:
        """Draw a filled rectangle, at least one unit wide."""
        box = [self._px(min_x), self._px(min_y), self._px(max(max_x, min_x + 1)), self._px(max_y)]
        corner = min(radius * self._zoom, (box[2] - box[0]) / 2, (box[3] - box[1]) / 2)
        self._draw.rounded_rectangle(box, radius=corner, fill=color)

    def polygon(self, points: list[Point], color: str) -> None:
        """Draw a filled polygon."""
        self._draw.polygon([(self._px(x), self._px(y)) for x, y in points], fill=color)

    def dot(self, x: float, y: float, radius: float, color: str) -> None:
        """Draw a filled circle with a thin white rim."""
        for size, fill in ((radius + 1.2, PAPER), (radius, color)):
            box = [self._px(x - size), self._px(y - size), self._px(x + size), self._px(y + size)]
            self._draw.ellipse(box, fill=fill)

    def text(
        self, x: float, y: float, words: str, *, size: float = 13, color: str = INK, bold: bool = False,
        anchor: Anchor = "left",
    ) -> None:  # fmt: skip
        """Draw one line of text, vertically centred on ``y``."""
        place = {"left": "lm", "middle": "mm", "right": "rm"}[anchor]
        font = _font(round(size * self._zoom), bold)
        self._draw.text((self._px(x), self._px(y)), words, font=font, fill=color, anchor=place)

    def fit(self, words: str, width: float, *, size: float = 13, bold: bool = False) -> str:
        """Return ``words``, cut with an ellipsis if they are wider than ``width``."""
        if self.length(words, size=size, bold=bold) <= width:
            return words
        while words and self.length(f"{words}…", size=size, bold=bold) > width:
            words = words[:-1]
        return f"{words.rstrip()}…"

    def length(self, words: str, *, size: float = 13, bold: bool = False) -> float:
        """Return how wide a line of text is."""
        return _font(round(size * self._zoom), bold).getlength(words) / self._zoom

    def png(self) -> bytes:
        """Return the picture as PNG."""
        out = io.BytesIO()
        self._image.reduce(OVERSIZE).save(out, "PNG")
        return out.getvalue()

    def _px(self, length: float) -> float:
        return length * self._zoom


@lru_cache(maxsize=16)
def _font(pixels: int, bold: bool) -> ImageFont.FreeTypeFont:
    """A font that ships with us: Pillow's own knows no umlaut, and a container has none."""
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    data = resources.files("bot.images").joinpath("fonts", name).read_bytes()
    return ImageFont.truetype(io.BytesIO(data), pixels)
