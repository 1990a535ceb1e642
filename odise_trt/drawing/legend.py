"""The legend of an overlay: the category of each colour, its share of the picture, and its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .palette import Rgb
from .text import Text, fit, rounded, wrap

GROUND: Rgb = (22, 24, 29)
_INK: Rgb = (235, 237, 240)
_FAINT: Rgb = (150, 156, 166)


@dataclass(frozen=True)
class Entry:
    """One line of a legend.

    Attributes:
        name: name of the category.
        color: colour of the category.
        count: number of its objects. 0 for stuff.
        share: share of the picture that it covers, 0 to 1.
        score: the best score of its segments. None if the task has no scores.
    """

    name: str
    color: Rgb
    count: int
    share: float
    score: float | None


@dataclass(frozen=True)
class _Row:
    swatch: Rgb | None
    name: Text
    count: Text | None = None
    share: Text | None = None
    score: Text | None = None


def draw_legend(
    entries: Sequence[Entry],
    heading: str,
    notes: Sequence[str],
    size: int,
    width: int,
    height: int | None,
) -> Image.Image:
    """Draw a legend in columns.

    Args:
        entries: the most important first. Entries without room are counted in a last line, "+ n more".
        heading: first line.
        notes: last lines, in a faint colour.
        size: size of the letters in pixels.
        width: width of the picture in pixels.
        height: height of the picture. None: as much as needed, at most a third of `width`.
    """
    line, margin = round(size * 1.7), size
    notes = [part for note in notes for part in wrap(note, size, width - 2 * margin)]
    columns = max(1, (width - margin) // (size * 19))
    column = (width - margin) // columns
    fixed = line * (1 + len(notes)) + 2 * margin
    room = max(line, (width // 3 if height is None else height) - fixed)
    slots = max(1, room // line) * columns
    shown = entries if len(entries) <= slots else entries[: slots - 1]
    more = len(entries) - len(shown)
    rows = [_row(entry, size, column - margin) for entry in shown]
    if more:
        rows.append(_Row(None, fit(f"+ {more} more", size, column - margin)))
    # Entries fill the first column downwards, then the next. All columns are of nearly equal length.
    per_column = max(1, -(-len(rows) // columns)) if height is None else max(1, room // line)

    tall = fixed + per_column * line if height is None else height
    panel = Image.new("RGB", (width, tall), GROUND)
    draw = ImageDraw.Draw(panel)
    fit(heading, size, width - 2 * margin).draw(draw, margin, margin + line / 2 - size * 0.2, _FAINT)
    for number, row in enumerate(rows):
        x = margin + number // per_column * column
        y = margin + line * (number % per_column + 1) + line / 2
        _draw_row(panel, draw, row, x, y, column - margin, size)
    for number, note in enumerate(notes):
        y = tall - margin - line * (len(notes) - number) + line / 2 + size * 0.3
        fit(note, size, width - 2 * margin).draw(draw, margin, y, _FAINT)
    return panel


def _row(entry: Entry, size: int, width: int) -> _Row:
    share = fit(percentage(entry.share), size)
    score = None if entry.score is None else fit(f"{entry.score:.2f}", size)
    # The count is drawn separately. After a name in a right-to-left script it would move in front of it.
    count = fit(f" x {entry.count}", size) if entry.count > 1 else None
    beside = round(size * 1.6) + round(size * 3.6) + (round(size * 2.8) if score else 0)
    rest = width - beside - (count.width if count else 0)
    return _Row(entry.color, fit(entry.name, size, max(rest, size * 3)), count, share, score)


def _draw_row(
    panel: Image.Image, draw: ImageDraw.ImageDraw, row: _Row, x: int, y: float, width: int, size: int
) -> None:
    if row.swatch is None:
        row.name.draw(draw, x + round(size * 1.6), y, _FAINT)
        return
    side = round(size * 1.0)
    panel.paste(row.swatch, (x, round(y - side / 2)), rounded((side, side), side * 0.25))
    row.name.draw(draw, x + round(size * 1.6), y, _INK)
    if row.count is not None:
        row.count.draw(draw, x + round(size * 1.6) + row.name.width, y, _FAINT)
    right = float(x + width)
    if row.score is not None:
        row.score.draw(draw, right - row.score.width, y, _INK)
        right -= round(size * 2.8)
    if row.share is not None:
        row.share.draw(draw, right - row.share.width, y, _FAINT)


def percentage(share: float) -> str:
    """Write a share as a percentage: `0.1234` -> `12 %`. Small shares get one more digit."""
    if share >= 0.0995 or share == 0:
        return f"{100 * share:.0f} %"
    return f"{100 * share:.1f} %" if share >= 0.001 else "< 0.1 %"
