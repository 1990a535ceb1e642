"""Growth of the time with words and with windows, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from benchmarks.contest.contender import REFERENCE
from benchmarks.pictures.chart import COLORS, FAINT, GAP, LETTERS, RULE, TITLE, WIDTH, Sheet, round_up
from benchmarks.texts import machine_line

_HEIGHT = 780
_SIDE = 560
_LEFT = 110

#: Name of a line -> its points (x, milliseconds).
Lines = dict[str, list[tuple[float, float]]]


def draw(record: Mapping[str, Any]) -> Image.Image | None:
    """Draw two plots of a record: the best wall time over words and over windows. None: it has no growth."""
    if not record["growth"]:
        return None
    sheet = Sheet(
        _HEIGHT, f"{record['job']['preset']}: growth with words and with windows", machine_line(record)
    )
    grown = record["growth"]
    _plot(sheet, 0, "words (logarithmic)", over_words(grown["words"]["rows"]), logarithmic=True)
    _plot(sheet, WIDTH // 2, "windows", over_windows(grown["windows"]), logarithmic=False)
    return sheet.image


def over_words(rows: Sequence[Mapping[str, Any]]) -> Lines:
    """Return the lines over the number of words: to the files, to the results, and a task's own part."""
    lines: Lines = {"panoptic, saved": [], "all three tasks": [], "semantic alone": [], "classify": []}
    for row in rows:
        best = {stage: spread["min"] * 1000 for stage, spread in row["stages"].items()}
        values = (
            row["panoptic_saved"]["min"] * 1000,
            row["segmentation"]["min"] * 1000,
            best["semantic"],
            best.get("classify", 0.0),
        )
        for line, value in zip(lines.values(), values, strict=True):
            line.append((float(row["words"]), value))
    return lines


def over_windows(rows: Sequence[Mapping[str, Any]]) -> Lines:
    """Return a line per contender over the number of windows: the best time of segmentation."""
    lines: Lines = {}
    for row in rows:
        for name, measured in row["contenders"].items():
            line = lines.setdefault(REFERENCE.get(name, name), [])
            line.append((float(row["windows"]), measured["segmentation"]["min"] * 1000))
    return lines


def _plot(sheet: Sheet, offset: int, name: str, lines: Lines, *, logarithmic: bool) -> None:
    left, bottom = offset + _LEFT, _HEIGHT - 3 * GAP
    top, right = bottom - _SIDE + 2 * TITLE, offset + WIDTH // 2 - 2 * GAP
    points = [point for line in lines.values() for point in line]
    most = round_up(max(value for _, value in points))
    scale = (lambda x: math.log10(max(x, 1))) if logarithmic else float
    first, last = (scale(pick(x for x, _ in points)) for pick in (min, max))

    def place(x: float, value: float) -> tuple[float, float]:
        share = (scale(x) - first) / ((last - first) or 1)
        return left + share * (right - left), bottom - value / most * (bottom - top)

    for step in range(5):
        value = most * step / 4
        _, y = place(points[0][0], value)
        sheet.draw.line((left, y, right, y), RULE, width=2)
        sheet.text(f"{value:,.0f}", left - 12, y, color=FAINT, size=18, align=1)
    for x in sorted({x for x, _ in points}):
        sheet.text(f"{x:,.0f}", place(x, 0)[0], bottom + GAP, color=FAINT, size=18, align=0.5)
    sheet.text(f"{name}; best milliseconds", left, bottom + 2.3 * GAP, color=FAINT)
    for number, (label, line) in enumerate(lines.items()):
        color = COLORS[(number + 1) % len(COLORS)]
        pixels = [place(*point) for point in line]
        sheet.draw.line(pixels, color, width=5, joint="curve")
        for x, y in pixels:
            sheet.draw.ellipse((x - 7, y - 7, x + 7, y + 7), color)
        y = top - 2 * TITLE + (number % 2) * 1.5 * LETTERS
        x = left + (number // 2) * (right - left) / 2
        sheet.draw.rectangle((x, y - 7, x + 14, y + 7), color)
        sheet.text(label, x + 24, y, size=19)
