"""Draw the things of a scene. Each function draws one, in metres; it stands on y = 0, its middle is x = 0.

Light comes from the right. A thing may be mirrored afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .canvas import Color, Pen, pick, shade, vary

_PAINTS: tuple[Color, ...] = (
    (196, 52, 44),
    (38, 92, 168),
    (240, 190, 60),
    (238, 238, 234),
    (60, 64, 72),
    (58, 140, 96),
    (222, 120, 48),
    (126, 74, 150),
)
_GLASS: Color = (150, 190, 214)


@dataclass(frozen=True)
class Kind:
    """How a kind of thing is drawn.

    Attributes:
        width, height: of the sheet it is drawn on, in metres.
        draw: the function that draws it.
        texture: strength of its grain.
    """

    width: float
    height: float
    draw: Callable[[np.random.Generator, Pen], None]
    texture: float = 7.0


def _house(rng: np.random.Generator, pen: Pen) -> None:
    wall = pick(rng, [(232, 222, 200), (206, 152, 118), (246, 244, 238), (188, 196, 206), (226, 196, 130)])
    roof = pick(rng, [(150, 66, 50), (92, 82, 84), (120, 84, 60), (70, 90, 110)])
    half, eaves = rng.uniform(2.6, 3.8), rng.uniform(2.6, 3.6)
    top = eaves + rng.uniform(1.6, 2.6)
    if rng.random() < 0.7:
        pen.box(half * 0.35, eaves, half * 0.35 + 0.7, top + 0.35, shade(roof, 0.8))
    pen.box(-half, 0, half, eaves, wall)
    pen.box(-half, 0, -half * 0.6, eaves, shade(wall, 0.9))
    if rng.random() < 0.5:
        pen.polygon([(-half - 0.45, eaves), (0, top), (half + 0.45, eaves)], roof)
        pen.polygon([(-half - 0.45, eaves), (0, top), (-0.15, eaves)], shade(roof, 0.88))
        pen.disc(0, eaves + (top - eaves) * 0.4, 0.42, shade(_GLASS, 0.7))
    else:
        slope = [(-half - 0.4, eaves), (-half + 0.7, top), (half - 0.7, top), (half + 0.4, eaves)]
        pen.polygon(slope, roof)
        pen.polygon(
            [
                (-half - 0.4, eaves),
                (half + 0.4, eaves),
                (half + 0.4, eaves - 0.16),
                (-half - 0.4, eaves - 0.16),
            ],
            shade(roof, 0.6),
        )
    door = rng.uniform(-0.6, 0.6)
    pen.box(door - 0.5, 0, door + 0.5, 2.0, pick(rng, _PAINTS))
    pen.disc(door + 0.32, 1.0, 0.07, (230, 210, 120))
    glass = _GLASS if rng.random() < 0.7 else (250, 220, 130)
    for x in (-half * 0.62, half * 0.62):
        pen.box(x - 0.62, 1.0, x + 0.62, 2.2, (250, 250, 248))
        pen.box(x - 0.52, 1.1, x + 0.52, 2.1, glass)
        pen.box(x - 0.05, 1.1, x + 0.05, 2.1, (250, 250, 248))


def _tree(rng: np.random.Generator, pen: Pen) -> None:
    bark = vary(rng, (104, 74, 50))
    if rng.random() < 0.4:
        _conifer(rng, pen, bark)
        return
    leaf = pick(rng, [(58, 112, 52), (84, 128, 48), (106, 132, 58), (196, 118, 40), (46, 96, 66)])
    height = rng.uniform(5.2, 7.2)
    pen.polygon([(-0.34, 0), (-0.2, height * 0.6), (0.2, height * 0.6), (0.34, 0)], bark)
    for tone, lift, count in ((0.78, -0.25, 8), (1.0, 0.0, 9), (1.2, 0.35, 6)):
        for _ in range(count):
            angle, far = rng.uniform(0, 2 * math.pi), rng.uniform(0, 1) ** 0.5
            x = math.cos(angle) * far * 1.45 + (tone - 1) * 1.4
            y = height - 2.2 + math.sin(angle) * far * 1.35 + lift
            pen.disc(x, y, rng.uniform(0.45, 0.95), shade(vary(rng, leaf, 6), tone))


def _conifer(rng: np.random.Generator, pen: Pen, bark: Color) -> None:
    leaf = pick(rng, [(34, 84, 60), (48, 98, 58), (40, 78, 74)])
    height, half = rng.uniform(5.5, 7.6), rng.uniform(1.3, 1.9)
    pen.box(-0.22, 0, 0.22, 1.2, bark)
    tiers = int(rng.integers(3, 6))
    for tier in range(tiers):
        low = 0.8 + (height - 1.6) * tier / tiers
        high = min(height, low + (height - 0.8) / tiers * 1.75)
        side = half * (1 - tier / (tiers + 0.6))
        color = vary(rng, leaf, 5)
        pen.polygon([(-side, low), (0, high), (side, low)], color)
        pen.polygon([(side * 0.1, low), (0, high), (side, low)], shade(color, 1.2))


def _car(rng: np.random.Generator, pen: Pen) -> None:
    paint = pick(rng, _PAINTS)
    van = rng.random() < 0.3
    roof = 1.95 if van else rng.uniform(1.35, 1.55)
    cabin = (
        [(-1.9, 0.8), (-1.75, roof), (1.05, roof), (1.75, 0.85)]
        if van
        else [(-1.45, 0.8), (-0.95, roof), (0.6, roof), (1.25, 0.8)]
    )
    pen.polygon(cabin, shade(paint, 0.92))
    inner = [(x * 0.9 + (0.02 if x > 0 else -0.02), 0.86 if y < 1 else y - 0.12) for x, y in cabin]
    pen.polygon(inner, shade(_GLASS, rng.uniform(0.5, 0.95)))
    pen.box(-0.22, 0.8, -0.1, roof, shade(paint, 0.92))
    pen.box(-2.1, 0.3, 2.1, 0.95, paint, 0.22)
    pen.box(-2.08, 0.3, 2.08, 0.45, shade(paint, 0.7), 0.1)
    pen.box(-0.05, 0.72, 0.2, 0.77, shade(paint, 0.6))
    pen.box(1.9, 0.6, 2.1, 0.78, (252, 240, 190), 0.06)
    pen.box(-2.1, 0.6, -1.95, 0.78, (180, 30, 30), 0.05)
    for x in (-1.3, 1.3):
        pen.disc(x, 0.36, 0.36, (32, 32, 36))
        pen.disc(x, 0.36, 0.19, (186, 188, 194))


def _boat(rng: np.random.Generator, pen: Pen) -> None:
    hull = pick(rng, _PAINTS)
    pen.polygon([(-2.0, 0.9), (-1.5, 0), (1.4, 0), (2.2, 1.0)], hull)
    pen.polygon([(-1.66, 0.3), (-1.5, 0), (1.4, 0), (1.64, 0.3)], shade(hull, 0.65))
    if rng.random() < 0.7:
        sail = pick(rng, [(246, 244, 236), (240, 226, 190), (214, 92, 76), (236, 240, 246)])
        top = rng.uniform(4.2, 5.2)
        pen.line([(0, 0.8), (0, top)], 0.1, (110, 84, 60))
        pen.polygon([(0.12, 1.2), (0.12, top - 0.1), (1.9, 1.3)], sail)
        pen.polygon([(-0.12, 1.2), (-0.12, top - 0.5), (-1.5, 1.3)], shade(sail, 0.88))
    else:
        pen.box(-1.0, 0.8, 0.6, 1.9, (240, 240, 236), 0.1)
        for x in (-0.75, -0.2, 0.3):
            pen.box(x - 0.16, 1.25, x + 0.16, 1.6, shade(_GLASS, 0.6))
        pen.box(-0.75, 1.8, -0.35, 2.5, pick(rng, _PAINTS))


def _ball(rng: np.random.Generator, pen: Pen) -> None:
    paint, second = pick(rng, _PAINTS), pick(rng, [(250, 248, 240), (250, 220, 80), (40, 60, 120)])
    pen.disc(0, 0.5, 0.5, paint)
    if rng.random() < 0.6:
        turn = rng.uniform(0, math.pi)
        for part in range(3):
            start = turn + part * 2 * math.pi / 3
            arc = [
                (0.5 * math.cos(start + a), 0.5 + 0.5 * math.sin(start + a))
                for a in np.linspace(0, math.pi / 3, 12)
            ]
            pen.polygon([(0.08, 0.56), *arc], second)
    pen.disc(0.16, 0.7, 0.1, shade(paint, 1.5))


def _person(rng: np.random.Generator, pen: Pen) -> None:
    skin = pick(rng, [(238, 202, 172), (206, 158, 122), (150, 104, 74), (104, 72, 52)])
    hair = pick(rng, [(50, 38, 32), (112, 76, 46), (206, 172, 104), (150, 150, 150)])
    shirt, legs = pick(rng, _PAINTS), pick(rng, [(48, 58, 92), (64, 60, 58), (120, 106, 84), (90, 94, 104)])
    step, swing = rng.uniform(0.03, 0.24), rng.uniform(0.08, 0.3)
    pen.line([(0.02, 0.85), (step, 0.06)], 0.17, legs)
    pen.line([(-0.02, 0.85), (-step, 0.06)], 0.17, shade(legs, 0.85))
    pen.line([(-0.15, 1.32), (-0.15 - swing, 0.88)], 0.11, shade(shirt, 0.85))
    pen.box(-0.22, 0.78, 0.22, 1.45, shirt, 0.12)
    pen.line([(0.16, 1.32), (0.16 + swing, 0.9)], 0.11, shade(shirt, 0.93))
    pen.disc(0.16 + swing, 0.86, 0.06, skin)
    pen.disc(-0.15 - swing, 0.84, 0.06, skin)
    pen.box(-0.06, 1.4, 0.06, 1.52, shade(skin, 0.9))
    pen.disc(0, 1.66, 0.16, hair, 1.1)
    pen.disc(0.03, 1.62, 0.13, skin, 1.1)


def _flower(rng: np.random.Generator, pen: Pen) -> None:
    petal = pick(rng, [(240, 88, 110), (250, 206, 70), (252, 250, 244), (176, 110, 204), (240, 140, 60)])
    stem, lean = vary(rng, (72, 128, 56)), rng.uniform(-0.1, 0.1)
    x, y = lean, rng.uniform(0.5, 0.62)
    pen.line([(0, 0), (lean * 0.3, y * 0.5), (x, y)], 0.05, stem)
    for side in (-1, 1):
        pen.polygon([(0, 0.1), (side * 0.2, 0.3), (side * 0.05, 0.18)], shade(stem, 1.1))
    count = int(rng.integers(5, 9))
    for part in range(count):
        angle = 2 * math.pi * part / count
        pen.disc(x + 0.13 * math.cos(angle), y + 0.13 * math.sin(angle), 0.1, vary(rng, petal, 5))
    pen.disc(x, y, 0.085, (246, 196, 60) if petal[2] > 120 or petal[0] < 245 else (120, 72, 40))


def _bird(rng: np.random.Generator, pen: Pen) -> None:
    body = pick(rng, [(70, 72, 80), (236, 236, 234), (120, 92, 70), (60, 92, 150)])
    lift = rng.uniform(0.25, 0.65)
    pen.polygon([(0.1, 0.52), (-0.55, 0.55 + lift), (-0.3, 0.46)], shade(body, 0.8))
    pen.polygon([(-0.45, 0.5), (-0.85, 0.62), (-0.8, 0.38)], shade(body, 0.9))
    pen.disc(0, 0.48, 0.5, body, 0.36)
    pen.disc(0.5, 0.58, 0.17, body)
    pen.polygon([(0.62, 0.64), (0.86, 0.56), (0.62, 0.52)], (240, 170, 60))
    pen.disc(0.56, 0.62, 0.035, (20, 20, 20))
    pen.polygon([(0.25, 0.55), (-0.25, 0.6 + lift), (-0.2, 0.45)], shade(body, 1.15))


def _balloon(rng: np.random.Generator, pen: Pen) -> None:
    first, second = pick(rng, _PAINTS), pick(rng, [(250, 246, 232), (250, 206, 80), (220, 80, 60)])
    for x in (-0.9, 0.9):
        pen.line([(x * 0.55, 1.0), (x * 1.6, 3.6)], 0.1, (90, 76, 60))
    pen.box(-0.75, 0, 0.75, 1.1, vary(rng, (140, 100, 58)), 0.15)
    pen.box(-0.8, 0.95, 0.8, 1.2, (96, 66, 40), 0.1)
    # Vertical strips of a sphere that narrows towards its opening.
    strips = 9
    for part in range(strips):
        left, right = (math.sin(math.pi * (edge / strips - 0.5)) for edge in (part, part + 1))
        outline = [_envelope(left, t) for t in np.linspace(0, 1, 24)]
        outline += [_envelope(right, t) for t in np.linspace(1, 0, 24)]
        light = 0.82 + 0.3 * part / strips
        pen.polygon(outline, shade(second if part % 2 else first, light))


def _envelope(across: float, t: float) -> tuple[float, float]:
    half = (
        3.3 * math.sin(math.pi * t) ** 0.55
        if t > 0.42
        else 0.75 + (3.3 * math.sin(math.pi * 0.42) ** 0.55 - 0.75) * math.sin(t / 0.42 * math.pi / 2)
    )
    return across * half, 3.4 + 6.8 * t


def _rock(rng: np.random.Generator, pen: Pen) -> None:
    stone = pick(rng, [(136, 132, 128), (118, 110, 104), (150, 146, 150)])
    top = [
        (0.9 * math.cos(a) * rng.uniform(0.8, 1.05), 0.95 * math.sin(a) * rng.uniform(0.75, 1))
        for a in np.linspace(0, math.pi, 9)
    ]
    pen.polygon(top, stone)
    pen.polygon([(x * 0.55 + 0.3, y * 0.62 + 0.28) for x, y in top[:6]], shade(stone, 1.16))


#: By category name.
THINGS: dict[str, Kind] = {
    "house": Kind(9.5, 7.2, _house),
    "tree": Kind(6.0, 8.0, _tree, texture=16.0),
    "car": Kind(4.6, 2.2, _car, texture=4.0),
    "boat": Kind(5.0, 5.6, _boat, texture=4.0),
    "ball": Kind(1.1, 1.05, _ball, texture=4.0),
    "person": Kind(1.4, 1.95, _person, texture=5.0),
    "flower": Kind(0.7, 0.9, _flower, texture=4.0),
    "bird": Kind(2.0, 1.6, _bird, texture=5.0),
    "balloon": Kind(7.4, 10.6, _balloon, texture=3.0),
    "rock": Kind(2.2, 1.2, _rock, texture=16.0),
}
