"""The waterfall: a bar per technique, the official way first, and beside it how equal the results are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from benchmarks.pictures.chart import COLORS, FAINT, GAP, INK, LETTERS, RULE, WIDTH, Sheet
from benchmarks.texts import machine_line, milliseconds, parity_texts

_ROW = 3 * LETTERS
# Where bars begin and end, and where the columns of the parity stand.
_LEFT, _RIGHT = 470, 1000
_PIXELS, _MASKS = 1420, WIDTH - GAP


def draw(record: Mapping[str, Any]) -> Image.Image:
    """Draw the bars of a record: median wall time, best wall time inside it, and the parity to the first."""
    rows = record["contenders"]
    height, width = record["job"]["image_size"]
    sheet = Sheet(
        GAP * 8 + _ROW * (len(rows) + 1),
        f"{record['job']['preset']}: one picture of {width} x {height}, all three tasks",
        machine_line(record),
    )
    ran = [row for row in rows if "not_run" not in row]
    most = max(row["segmentation"]["p50"] for row in ran)
    top = sheet.top + _ROW // 2
    sheet.text("milliseconds: median (light), best (dark)", _LEFT, top, color=FAINT)
    sheet.text("equal pixels", _PIXELS, top, color=FAINT, align=1)
    sheet.text("masks, L2", _MASKS, top, color=FAINT, align=1)
    for number, row in enumerate(rows):
        middle = top + (number + 1) * _ROW
        sheet.draw.line((GAP, middle + _ROW / 2, WIDTH - GAP, middle + _ROW / 2), RULE)
        sheet.text(row["technique"], GAP, middle - 12, width=_LEFT - 2 * GAP)
        sheet.text(f"{row['backend']}, {row['precision']}", GAP, middle + 16, color=FAINT, size=17)
        if "not_run" in row:
            sheet.text(f"not run: {row['not_run']}", _LEFT, middle, color=FAINT, width=_MASKS - _LEFT)
            continue
        _bar(sheet, row, most, middle)
        pixels, masks = parity_texts(row)
        sheet.text(pixels, _PIXELS, middle, align=1)
        sheet.text(masks, _MASKS, middle, align=1)
    return sheet.image


def _bar(sheet: Sheet, row: Mapping[str, Any], most: float, middle: float) -> None:
    color = COLORS[0] if row["backend"] == "torch" else COLORS[1]
    light = tuple(round(255 - (255 - part) * 0.4) for part in color)
    spread, cpu = row["segmentation"], row["segmentation_cpu"]
    median, best = (
        _LEFT + (_RIGHT - _LEFT) * value / most
        for value in (spread["p50"], min(spread["min"], spread["p50"]))
    )
    sheet.draw.rectangle((_LEFT, middle - 18, max(median, _LEFT + 1), middle + 18), light)
    sheet.draw.rectangle((_LEFT, middle - 18, max(best, _LEFT + 1), middle + 18), color)
    label = f"{milliseconds(spread['p50'])} (best {milliseconds(spread['min'])})"
    sheet.text(label, median + 10, middle - 11, color=INK, size=19)
    sheet.text(f"CPU {milliseconds(cpu['p50'])}", median + 10, middle + 13, color=FAINT, size=17)
