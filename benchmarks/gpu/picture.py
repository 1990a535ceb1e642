"""The waterfall: one bar per technique, by stage, with its parity beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageDraw

from odise_trt.drawing.text import fit

from .bundle_tables import STAGES
from .table import techniques

_WIDTH, _ROW, _LEFT, _RIGHT, _TOP = 1200, 34, 400, 290, 92
_INK, _GREY, _OTHER = (30, 30, 30), (120, 120, 120), (190, 190, 190)
#: Stage -> colour. The rest of the time is grey.
_COLOURS = dict(zip(STAGES, ((255, 187, 120), (31, 119, 180), (44, 160, 44), (214, 39, 40)), strict=True))


def waterfall(record: Mapping[str, Any]) -> Image.Image | None:
    """Draw the techniques of the first size of a record. None: none was measured."""
    rows = techniques(record)
    if not rows:
        return None
    size = next(iter(rows)).partition("/")[0]
    bars = {name.partition("/")[2]: one for name, one in rows.items() if name.partition("/")[0] == size}
    longest = max(one["seconds"] for one in bars.values())
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    image = Image.new("RGB", (_WIDTH, _TOP + _ROW * len(bars) + 20), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    title = f"{record['preset']}, {size}, {record['machine']['device']}"
    fit(title, 20, _WIDTH - 40).draw(pen, 20, 24, _INK)
    x = 20.0
    for stage, colour in {**_COLOURS, "other": _OTHER}.items():
        pen.rectangle((x, 50, x + 14, 64), colour)
        label = fit(stage, 15)
        label.draw(pen, x + 20, 57, _INK)
        x += label.width + 50
    first = next(iter(bars.values()))["seconds"]
    for row, (name, one) in enumerate(bars.items()):
        middle = _TOP + _ROW * row + _ROW / 2
        label = fit(name, 15, _LEFT - 40)
        label.draw(pen, _LEFT - 12 - label.width, middle, _INK)
        end = float(_LEFT)
        stages = {stage: one["stages"].get(stage, 0.0) for stage in STAGES}
        stages["other"] = max(0.0, one["seconds"] - sum(stages.values()))
        for stage, seconds in stages.items():
            begin, end = end, end + seconds * scale
            pen.rectangle((begin, middle - 11, end, middle + 11), _COLOURS.get(stage, _OTHER))
        beside = (
            f"{one['seconds'] * 1000:.0f} ms, {first / one['seconds']:.1f}x,"
            f" masks {one['mask_pred_relative_l2']:.0e}, map {one['panoptic_agreement']:.2%}"
        )
        fit(beside, 14).draw(pen, _LEFT + one["seconds"] * scale + 10, middle, _GREY)
    return image
