"""Text in any script that the machine has a font for.

Pillow's own font has ASCII only. Other text is drawn in the first font that has all its characters: the file
in $ODISE_FONT, then well-known fonts of the system. If no font has them, accents are dropped and other
missing characters are drawn as boxes.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

#: Environment variable: a TrueType or OpenType font file for names that are not ASCII.
ENVIRONMENT = "ODISE_FONT"

# Debian and Fedora, then macOS, then Windows. Fonts with many scripts come first.
_SYSTEM = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "LiberationSans-Regular.ttf",
    "wqy-microhei.ttc",
    "Arial Unicode.ttf",
    "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc",
    "segoeui.ttf",
    "msyh.ttc",
    "msgothic.ttc",
    "malgun.ttf",
    "Nirmala.ttf",
)
_MISSING = "\U0010ffff"  # a code point that no font has, to see how the font draws missing characters

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Text:
    """A line of text with its font and its measured size.

    Attributes:
        width: width of the ink and its side bearings, in pixels.
        height: height of a line in this font, independent of the letters.
    """

    text: str
    font: Font
    width: int
    height: int

    def draw(self, draw: ImageDraw.ImageDraw, x: float, middle: float, fill: tuple[int, ...]) -> None:
        """Draw the text from `x` on, with the middle of the lower-case letters' height at `middle`."""
        top, bottom = _extent(self.font)
        draw.text((x, middle - (top + bottom) / 2), self.text, fill=fill, font=self.font)


def fit(text: str, size: int, width: float | None = None) -> Text:
    """Return `text` at a font size in pixels. Text wider than `width` is cut off with "..."."""
    drawable, font = _choose(text, size)
    length = font.getlength(drawable)
    if width is not None and length > width:
        low, high = 0, len(drawable)
        while low < high:
            middle = (low + high + 1) // 2
            cut = drawable[:middle].rstrip() + "..."
            low, high = (middle, high) if font.getlength(cut) <= width else (low, middle - 1)
        drawable = drawable[:low].rstrip() + "..."
        length = font.getlength(drawable)
    return Text(drawable, font, round(length + 0.5), round(size * 1.25))


def wrap(text: str, size: int, width: float) -> list[str]:
    """Break `text` at blanks into lines of at most `width` pixels."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and fit(longer, size).width <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _choose(text: str, size: int) -> tuple[str, Font]:
    own = _own(size)
    # Line breaks and control characters are replaced, since the text is one line.
    text = "".join(character if character.isprintable() else " " for character in text)
    if text.isascii():
        return text, own
    for name in (os.environ.get(ENVIRONMENT, ""), *_SYSTEM):
        font = _load(name, size)
        if font is not None and _covers(font, text):
            return text, font
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return plain, own


@cache
def _own(size: int) -> Font:
    # To open it takes a millisecond, and what is kept per font would grow with every text.
    return ImageFont.load_default(size)


@cache
def _load(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, size) if name else None
    except OSError:
        return None


def _covers(font: ImageFont.FreeTypeFont, text: str) -> bool:
    missing = bytes(font.getmask(_MISSING))
    return all(bytes(font.getmask(character)) != missing for character in set(text) if character != " ")


@cache
def _extent(font: Font) -> tuple[float, float]:
    """Return the distances of the letter x's top and bottom below the drawing position."""
    _, top, _, bottom = font.getbbox("x")
    # Because of capitals and ascenders, the middle of the line is a little above the middle of an x.
    return top - 0.25 * (bottom - top), bottom


def rounded(size: tuple[int, int], radius: float) -> Image.Image:
    """Draw a mask (mode "L") of a rounded rectangle with smooth corners."""
    scale = 4
    mask = Image.new("L", (size[0] * scale, size[1] * scale))
    box = (0, 0, mask.width - 1, mask.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius * scale, fill=255)
    return mask.resize(size, Image.Resampling.BOX)
