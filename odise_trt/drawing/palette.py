"""Colours of categories, chosen in OKLCH, where equal steps are perceived as equal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

Rgb = tuple[int, int, int]

# Successive multiples of the golden angle are far apart, so neighbours in a vocabulary get distant hues.
_GOLDEN_ANGLE = 180 * (3 - math.sqrt(5))
_FIRST_HUE = 252.0
_LIGHTNESS = (0.72, 0.62, 0.80)
_THING_CHROMA, _STUFF_CHROMA = 0.17, 0.10
# Objects of one category: the category's own colour first, then lighter, darker, and with the hue shifted.
_SHADES = (
    (0.0, 0.0),
    (0.09, 16.0),
    (-0.11, -16.0),
    (0.05, -30.0),
    (-0.06, 28.0),
    (0.13, -12.0),
    (-0.15, 10.0),
)


@cache
def category_color(category_id: int, isthing: bool, shade: int = 0) -> Rgb:
    """Return the colour of a category. It is the same in every picture of a vocabulary.

    Things are vivid and stuff is muted, so that objects stand out from their surroundings.

    Args:
        category_id: index into the vocabulary.
        isthing: whether the category is a thing.
        shade: 0 for the category, and for its first object; 1, 2, ... for further objects.
    """
    lighter, turned = _SHADES[shade % len(_SHADES)]
    lightness = min(max(_LIGHTNESS[category_id % len(_LIGHTNESS)] + lighter, 0.5), 0.85)
    hue = _FIRST_HUE + category_id * _GOLDEN_ANGLE + turned
    return _rgb(lightness, _THING_CHROMA if isthing else _STUFF_CHROMA, hue)


def distinct_colors(isthing: Sequence[bool]) -> list[Rgb]:
    """Return colours for the categories of one picture, as different from each other as possible.

    Neighbours in the list get distant hues, and neighbours in hue get different lightness. Unlike the colours
    of `category_color`, they depend on the number and kind of the categories.

    Args:
        isthing: for each category, whether it is a thing.
    """
    count = len(isthing)
    # The step has no common divisor with the count, so every hue is used once.
    step = next(
        n for n in range(round(0.382 * count) or 1, count + 2) if math.gcd(n, count) == 1 or count < 2
    )
    colors = []
    for number, thing in enumerate(isthing):
        place = number * step % count
        # Hues form a circle: the last hue is a neighbour of the first.
        level = 1 if place == count - 1 and place % len(_LIGHTNESS) == 0 else place % len(_LIGHTNESS)
        lightness = _LIGHTNESS[level]
        hue = _FIRST_HUE + 360 * place / count
        colors.append(_rgb(lightness, _THING_CHROMA if thing else _STUFF_CHROMA, hue))
    return colors


def tone(color: Rgb, lightness: float) -> Rgb:
    """Return the hue at another lightness in [0, 1]: dark as background of a name, light for an outline."""
    a, b = _oklab(color)
    chroma = min(math.hypot(a, b), 0.11)
    return _rgb(lightness, chroma, math.degrees(math.atan2(b, a)))


def _rgb(lightness: float, chroma: float, hue: float) -> Rgb:
    # The chroma of colours outside sRGB is reduced until they are inside. Hue and lightness stay.
    while True:
        linear = _linear_srgb(
            lightness, chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
        )
        if chroma <= 0 or all(-1e-4 <= value <= 1 + 1e-4 for value in linear):
            red, green, blue = (round(255 * _gamma(min(max(value, 0.0), 1.0))) for value in linear)
            return red, green, blue
        chroma -= 0.005


def _linear_srgb(lightness: float, a: float, b: float) -> tuple[float, float, float]:
    """Convert OKLab to linear sRGB (Ottosson, "A perceptual color space for image processing", 2020)."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _oklab(color: Rgb) -> tuple[float, float]:
    """Return the OKLab coordinates a and b of an sRGB colour."""
    red, green, blue = (_ungamma(value / 255) for value in color)
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    medium = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def _gamma(value: float) -> float:
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


def _ungamma(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
