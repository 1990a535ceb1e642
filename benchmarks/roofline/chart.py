"""The roofline as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from odise_trt.drawing.text import fit
from odise_trt.files.own_picture import OwnPicture

from .ceilings import Ceilings
from .judgement import StageRow

OWN = OwnPicture("a roofline, by odise-trt bench", "a picture of a roofline", "--picture")
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 960, 600, 90, 56, 36, 64
_INK, _GREY, _ROOF = (30, 30, 30), (215, 215, 215), (90, 90, 90)
_COLOURS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189), (255, 127, 14), (23, 190, 207))


def draw(rows: Sequence[StageRow], limits: Ceilings, title: str) -> Image.Image:
    """Draw operations per second over operations per byte, both on logarithmic axes.

    A stage is a dot at its achieved rate, with the share of its floor's speed. The slope is the copy
    bandwidth, the two flat lines are the rates of matrix products and convolutions.
    """
    image = Image.new("RGB", (_WIDTH, _HEIGHT), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    intensities = [one.intensity for one in rows] + [limits.matmul / limits.copy, limits.conv / limits.copy]
    rates = [_rate(one) for one in rows] + [limits.matmul, limits.conv]
    across = _Axis(min(intensities), max(intensities), _LEFT, _WIDTH - _RIGHT)
    along = _Axis(min(rates), max(rates), _HEIGHT - _BOTTOM, _TOP)
    for power in across.powers:
        x = across.place(10.0**power)
        pen.line((x, _TOP, x, _HEIGHT - _BOTTOM), _GREY)
        fit(f"1e{power}", 15).draw(pen, x - 12, _HEIGHT - _BOTTOM + 16, _INK)
    for power in along.powers:
        y = along.place(10.0**power)
        pen.line((_LEFT, y, _WIDTH - _RIGHT, y), _GREY)
        fit(f"1e{power}", 15).draw(pen, 48, y, _INK)
    roofs = sorted(
        (("matrix product", limits.matmul), ("3x3 convolution", limits.conv)), key=lambda one: one[1]
    )
    for (name, rate), is_lower in zip(roofs, (True, False), strict=True):
        y, knee = along.place(rate), across.place(rate / limits.copy)
        pen.line((knee, y, _WIDTH - _RIGHT, y), _ROOF, 2)
        label = fit(f"{name} {rate / 1e9:.0f} GFLOP/s", 15)
        # The dots are on the right and below: the lower roof has its label where it begins.
        start = knee + 24 if is_lower else _WIDTH - _RIGHT - label.width
        label.draw(pen, start, y + (12 if is_lower else -11), _ROOF)
    low, high = 10.0 ** across.powers[0], max(limits.matmul, limits.conv) / limits.copy
    low = max(low, 10.0 ** along.powers[0] / limits.copy)
    pen.line(
        (
            across.place(low),
            along.place(low * limits.copy),
            across.place(high),
            along.place(high * limits.copy),
        ),
        _ROOF,
        2,
    )
    taken: list[float] = []
    for colour, one in zip(_COLOURS * len(rows), sorted(rows, key=_rate, reverse=True), strict=False):
        x, y = across.place(one.intensity), along.place(_rate(one))
        pen.ellipse((x - 6, y - 6, x + 6, y + 6), colour)
        label = fit(f"{one.stage} {one.share:.0%}", 15)
        line = max([y, *(other + 18 for other in taken)]) if taken and y < taken[-1] + 18 else y
        taken.append(line)
        beside = x + 11 if x + 11 + label.width < _WIDTH - _RIGHT else x - 11 - label.width
        label.draw(pen, beside, line, colour)
    fit(title, 19, _WIDTH - 2 * _RIGHT).draw(pen, _RIGHT, 26, _INK)
    fit("operations per byte", 15).draw(pen, _WIDTH / 2 - 60, _HEIGHT - 18, _INK)
    fit("FLOP/s", 15).draw(pen, 12, _TOP - 14, _INK)
    return image


def _rate(one: StageRow) -> float:
    return one.work.flops / one.judged


class _Axis:
    """A logarithmic axis over whole powers of ten, from pixel `begin` to pixel `end`."""

    def __init__(self, least: float, most: float, begin: float, end: float) -> None:
        self.powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
        self._begin, self._end = begin, end

    def place(self, value: float) -> float:
        """Return the pixel of a value."""
        first, last = self.powers[0], self.powers[-1]
        return self._begin + (math.log10(value) - first) / (last - first) * (self._end - self._begin)
