"""Paint a picture and its map of segments together, so that they always agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Point = tuple[float, float]

# Shapes are drawn at this multiple of their size and averaged down, for smooth edges.
_OVERSAMPLING = 4


class Pen:
    """Draws one thing on a sheet of its own. The origin is the middle of its foot, x goes right, y goes up.

    Args:
        unit: pixels per unit of length.
        width, height: of the sheet in units; parts outside are cut off.
        below: height of the sheet below the foot, in units.
    """

    def __init__(self, unit: float, width: float, height: float, below: float = 0.0) -> None:
        self._scale = unit * _OVERSAMPLING
        self._left, self._top = width / 2, height
        self.size = (max(1, round(width * unit)), max(1, round((height + below) * unit)))
        self._sheet = Image.new("RGBA", (self.size[0] * _OVERSAMPLING, self.size[1] * _OVERSAMPLING))
        self._draw = ImageDraw.Draw(self._sheet)

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        """Draw a filled polygon."""
        self._draw.polygon([self._place(point) for point in points], fill=color)

    def box(
        self, left: float, bottom: float, right: float, top: float, color: Color, round_: float = 0.0
    ) -> None:
        """Draw a filled rectangle with corners rounded by `round_` units."""
        corners = self._corners(left, bottom, right, top)
        self._draw.rounded_rectangle(corners, round_ * self._scale, fill=color)

    def disc(self, x: float, y: float, radius: float, color: Color, squeeze: float = 1.0) -> None:
        """Draw a filled ellipse that is `squeeze` times as high as wide."""
        high = radius * squeeze
        self._draw.ellipse(self._corners(x - radius, y - high, x + radius, y + high), fill=color)

    def line(self, points: Sequence[Point], width: float, color: Color) -> None:
        """Draw a line with round joints."""
        places = [self._place(point) for point in points]
        thick = max(1, round(width * self._scale))
        self._draw.line(places, fill=color, width=thick, joint="curve")
        for x, y in places:
            half = thick / 2
            self._draw.ellipse((x - half, y - half, x + half, y + half), fill=color)

    def sprite(self) -> np.ndarray:
        """Return the drawing: float32 (h, w, 4), RGB 0..255 and coverage 0..1."""
        sprite = np.asarray(self._sheet.reduce(_OVERSAMPLING), dtype=np.float32).copy()
        sprite[..., 3] /= 255
        return sprite

    def _corners(self, left: float, bottom: float, right: float, top: float) -> tuple[float, ...]:
        # Pillow includes the pixels at both ends, hence the subtraction of one.
        (x0, y0), (x1, y1) = self._place((left, top)), self._place((right, bottom))
        return x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)

    def _place(self, point: Point) -> Point:
        return (point[0] + self._left) * self._scale, (self._top - point[1]) * self._scale


@dataclass
class Canvas:
    """The picture that is painted, with its map.

    Attributes:
        image: float32 (H, W, 3), RGB 0..255.
        ids: int32 (H, W), the last id that covers at least half of the pixel; 0: none.
    """

    image: np.ndarray
    ids: np.ndarray

    @classmethod
    def blank(cls, height: int, width: int) -> Canvas:
        """Return a black canvas without segments."""
        return cls(np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.int32))

    def paint(self, sprite: np.ndarray, left: int, top: int, number: int | None) -> None:
        """Paint a sprite (see `Pen.sprite`). Parts outside the canvas are cut off.

        Args:
            left, top: pixel of the sprite's upper left corner.
            number: id of its pixels; None: a shadow or glow, which changes the picture only.
        """
        height, width = self.ids.shape
        x0, y0 = max(0, left), max(0, top)
        x1, y1 = min(width, left + sprite.shape[1]), min(height, top + sprite.shape[0])
        if x0 >= x1 or y0 >= y1:
            return
        part = sprite[y0 - top : y1 - top, x0 - left : x1 - left]
        cover = part[..., 3:]
        area = (slice(y0, y1), slice(x0, x1))
        self.image[area] += (part[..., :3] - self.image[area]) * cover
        if number is not None:
            self.ids[area][cover[..., 0] >= 0.5] = number

    def fill(self, color: np.ndarray, cover: np.ndarray, number: int) -> None:
        """Paint the whole canvas.

        Args:
            color: float32 (H, W, 3) or what broadcasts to it.
            cover: float32 (H, W), 0..1.
        """
        self.image += (color - self.image) * cover[..., None]
        self.ids[cover >= 0.5] = number


def noise(rng: np.random.Generator, height: int, width: int, cell: Point, octaves: int = 4) -> np.ndarray:
    """Return smooth noise, float32 (height, width), about -1 to 1.

    Args:
        cell: width and height of the largest structures in pixels.
    """
    total = np.zeros((height, width), np.float32)
    weight, sum_ = 1.0, 0.0
    for _ in range(octaves):
        columns = max(2, round(width / max(cell[0], 1)) + 1)
        rows = max(2, round(height / max(cell[1], 1)) + 1)
        grid = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
        total += weight * np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))
        sum_, weight, cell = sum_ + weight, weight * 0.55, (cell[0] / 2, cell[1] / 2)
    return total * (1.6 / sum_)


def mix(a: Color | np.ndarray, b: Color | np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Mix two colours, float32: share 0 gives `a`, share 1 gives `b`."""
    first, second = np.asarray(a, np.float32), np.asarray(b, np.float32)
    return np.asarray(first + (second - first) * share, np.float32)


def vary(rng: np.random.Generator, color: Color, amount: float = 14) -> Color:
    """Return a random colour near `color`."""
    light = rng.normal(0, amount)
    red, green, blue = (int(np.clip(value + light + rng.normal(0, amount / 2), 0, 255)) for value in color)
    return red, green, blue


def shade(color: Color, factor: float) -> Color:
    """Return a darker (factor below 1) or lighter colour."""
    red, green, blue = (int(np.clip(value * factor, 0, 255)) for value in color)
    return red, green, blue


def pick(rng: np.random.Generator, colors: Sequence[Color]) -> Color:
    """Return one of several colours, varied a little."""
    return vary(rng, colors[int(rng.integers(len(colors)))])
