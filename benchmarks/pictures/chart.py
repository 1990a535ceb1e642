"""What the pictures share: paper, ink, text, and files that replace only older pictures of the benchmark."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from odise_trt.drawing.palette import Rgb
from odise_trt.drawing.text import fit
from odise_trt.errors import OutputError
from odise_trt.files.output import prepare_folder
from odise_trt.files.writing import write_together
from odise_trt.pictures.encode import mark_of, marked_png

PAPER: Rgb = (255, 255, 255)
INK: Rgb = (28, 30, 36)
FAINT: Rgb = (96, 102, 112)
RULE: Rgb = (224, 226, 230)
#: The reference, the bundles, and further lines of one plot.
COLORS: tuple[Rgb, ...] = ((140, 148, 160), (24, 112, 196), (206, 104, 18), (36, 140, 92), (150, 70, 160))
#: Letters of the text and of the title, and the space around things, in pixels.
LETTERS, TITLE, GAP = 22, 30, 24
WIDTH = 1600
_MARK, _MARKED = "Description", "times of segmentation, by odise-trt bench"


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


def check_place(path: Path) -> None:
    """Raise OutputError unless a picture can be written there. Call it before the measurement."""
    prepare_folder(path.parent)
    if path.exists():
        _keep_others(path)


def write(pictures: dict[Path, Image.Image]) -> None:
    """Write pictures as PNG, each whole or not at all.

    Raises:
        OutputError: one cannot be written, or an existing file is not a picture of this benchmark.
    """
    for path, picture in pictures.items():
        content = marked_png(picture, _MARK, _MARKED)
        write_together(path.parent, {path.name: content}, keep=_keep_others)


def _keep_others(path: Path) -> None:
    if mark_of(path, _MARK) != _MARKED:
        raise OutputError(
            f"{path} exists, and it is not a picture of the benchmark",
            "give another --output, or move it away",
        )
