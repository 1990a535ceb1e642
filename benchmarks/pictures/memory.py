"""The memory of every contender over time: opening, then the first picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from benchmarks.pictures.chart import COLORS, FAINT, GAP, LETTERS, RULE, TITLE, WIDTH, Sheet, round_up
from benchmarks.texts import machine_line

_PLOT = 560
_LEFT, _RIGHT = 110, WIDTH - 2 * GAP


def draw(record: Mapping[str, Any]) -> Image.Image | None:
    """Draw a curve per contender, its begin at 0 seconds. None: no memory is on record."""
    rows = [row for row in record["contenders"] if row.get("memory")]
    if not rows:
        return None
    legend = 1.5 * LETTERS * len(rows)
    sheet = Sheet(
        round(GAP * 7 + 2 * TITLE + legend + _PLOT),
        f"{record['job']['preset']}: memory from the start to the end of the first picture",
        machine_line(record),
    )
    top = sheet.top + GAP + legend
    bottom = top + _PLOT
    curves = [row["memory"] for row in rows]
    longest = max(curve["seconds"][-1] for curve in curves)
    most = round_up(max(size for curve in curves for size in curve["bytes"]) / 1e9)

    def place(seconds: float, size: float) -> tuple[float, float]:
        return (
            _LEFT + seconds / (longest or 1) * (_RIGHT - _LEFT),
            bottom - size / 1e9 / most * (bottom - top),
        )

    for step in range(5):
        value = most * step / 4
        _, y = place(0, value * 1e9)
        sheet.draw.line((_LEFT, y, _RIGHT, y), RULE, width=2)
        sheet.text(f"{value:g}", _LEFT - 12, y, color=FAINT, size=18, align=1)
    tick = round_up(longest / 6)
    for number in range(int(longest / tick) + 1):
        x, _ = place(number * tick, 0)
        sheet.text(f"{number * tick:g}", x, bottom + GAP, color=FAINT, size=18, align=0.5)
    sheet.text(
        "GB of resident memory over seconds; a dot: opened, the picture begins", _LEFT, bottom + 2.3 * GAP
    )
    for number, (row, curve) in enumerate(zip(rows, curves, strict=True)):
        color = COLORS[number % len(COLORS)]
        points = [place(*point) for point in zip(curve["seconds"], curve["bytes"], strict=True)]
        sheet.draw.line(points, color, width=4, joint="curve")
        opened = curve["marks"].get("opened")
        if opened is not None:
            x, y = min(points, key=lambda point: abs(point[0] - place(opened, 0)[0]))
            sheet.draw.ellipse((x - 8, y - 8, x + 8, y + 8), color)
        y = sheet.top + GAP / 2 + 1.5 * LETTERS * number
        sheet.draw.rectangle((_LEFT, y - 7, _LEFT + 14, y + 7), color)
        peak = max(curve["bytes"]) / 1e9
        sheet.text(f"{row['technique']} (peak {peak:.2f} GB)", _LEFT + 24, y, size=19)
    return sheet.image
