"""What the pictures share: paper, ink, text, and their place on the disk."""

from __future__ import annotations

import math

from PIL import Image, ImageDraw

from odise_trt.drawing.palette import Rgb
from odise_trt.drawing.text import fit
from odise_trt.files.own_picture import OwnPicture

PAPER: Rgb = (255, 255, 255)
INK: Rgb = (28, 30, 36)
FAINT: Rgb = (96, 102, 112)
RULE: Rgb = (224, 226, 230)
#: The reference, the bundles, and further lines of one plot.
COLORS: tuple[Rgb, ...] = ((140, 148, 160), (24, 112, 196), (206, 104, 18), (36, 140, 92), (150, 70, 160))
#: Letters of the text and of the title, and the space around things, in pixels.
LETTERS, TITLE, GAP = 22, 30, 24
WIDTH = 1600
OWN = OwnPicture("times of segmentation, by odise-trt bench", "a picture of the benchmark", "--output")


class Sheet:
    """A white sheet with a title and a line below it."""

    def __init__(self, height: int, title: str, subtitle: str) -> None:
        self.image = Image.new("RGB", (WIDTH, height), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.text(title, GAP, GAP + TITLE / 2, size=TITLE)
        self.text(subtitle, GAP, GAP + 2 * TITLE, color=FAINT)
        #: Where the free part of the sheet begins.
        self.top = GAP + 3 * TITLE

    def text(
        self,
        text: str,
        x: float,
        middle: float,
        *,
        color: Rgb = INK,
        size: int = LETTERS,
        align: float = 0.0,
        width: float | None = None,
    ) -> None:
        """Write a line. `align`: the share of its width that lies left of x. `width`: where it is cut off."""
        line = fit(text, size, width)
        line.draw(self.draw, x - align * line.width, middle, color)


def round_up(value: float) -> float:
    """Return the least of 1, 2, 4, 8, ... times a power of ten that is not below a value."""
    step = 10 ** math.floor(math.log10(value or 1))
    return next(factor * step for factor in (1, 2, 4, 6, 8, 10) if factor * step >= value)
