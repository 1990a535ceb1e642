"""Compose a scene from back to front: sky, mountains, ground, things."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from odise_trt.segments import Box, bounding_box
from odise_trt.vocabulary import Vocabulary

from . import landscape
from .canvas import Canvas, Pen, noise, vary
from .landscape import LIGHTS, Ground, Light
from .things import THINGS

#: The categories of scenes.
SCENE_VOCABULARY = Vocabulary.preset("scenes")
_NUMBER = {name: number for number, name in enumerate(SCENE_VOCABULARY.names)}

# Height of the camera above the ground in metres. It decides how tall a thing is at its place.
_EYE = 3.0
#: Fewest pixels of a side.
SMALLEST = 64
# A segment whose visible part is a smaller share of the picture becomes void.
_SLIVER = 1e-3
# A thing that would be lower than this share of the picture's height is not drawn.
_LOWEST = 0.07


@dataclass(frozen=True)
class SceneSegment:
    """One segment.

    Attributes:
        id: its value in the map, from 1.
        category_id: index into `SCENE_VOCABULARY`.
        isthing: whether the category is a thing.
        area: number of pixels.
        bbox: x, y, width, height in pixels.
    """

    id: int
    category_id: int
    isthing: bool
    area: int
    bbox: Box


@dataclass(frozen=True)
class Scene:
    """A picture with its panoptic truth.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        panoptic: int32 (H, W), ids of segments; 0: void, which is parts too small for a segment.
        segments: in the order of their ids: one per stuff category, one per thing.
    """

    image: np.ndarray
    panoptic: np.ndarray
    segments: tuple[SceneSegment, ...]


def make_scene(seed: int, height: int = 512, width: int = 512, *, without: Collection[str] = ()) -> Scene:
    """Draw a scene. Equal arguments give equal scenes.

    Args:
        seed: any whole number from 0.
        height, width: in pixels, at least `SMALLEST`.
        without: names of things to omit; everything else stays the same.

    Raises:
        ValueError: the scene is too small.
    """
    if min(height, width) < SMALLEST:
        raise ValueError(f"a scene is at least {SMALLEST} x {SMALLEST} pixels, not {height} x {width}")
    painter = _Painter(np.random.default_rng(seed), height, width, frozenset(without))
    painter.draw()
    return Scene(painter.photograph(), *painter.segments())


class _Painter:
    def __init__(self, rng: np.random.Generator, height: int, width: int, without: frozenset[str]) -> None:
        self.rng, self.height, self.width, self.without = rng, height, width, without
        self.canvas = Canvas.blank(height, width)
        self.categories: list[int] = []
        self.light: Light = LIGHTS[int(rng.integers(len(LIGHTS)))]
        self.ground: Ground = landscape.choose_ground(rng, height, width)
        self.mirrored = bool(rng.random() < 0.5)

    def number(self, name: str) -> int:
        """Return the id of a new segment, or the present id of stuff that is already in the scene."""
        category = _NUMBER[name]
        if not SCENE_VOCABULARY[category].isthing and category in self.categories:
            return self.categories.index(category) + 1
        self.categories.append(category)
        return len(self.categories)

    def draw(self) -> None:
        rng, height, width, horizon = self.rng, self.height, self.width, self.ground.horizon
        everywhere = np.ones((height, width), np.float32)
        self.canvas.fill(
            landscape.sky(rng, height, width, horizon, self.light), everywhere, self.number("sky")
        )
        if rng.random() < self.light.sun:
            self._sun()
        for _ in range(int(rng.integers(0, 3))):
            self._cloud()
        self._mountains()
        self._ground()
        # From far to near: things that stand lower in the picture are in front.
        for foot, name, x, tall in sorted(self._things(), key=lambda thing: thing[0]):
            self._thing(name, x, foot, tall)

    def _mountains(self) -> None:
        rng, height, width = self.rng, self.height, self.width
        for layer in range(int(rng.integers(0, 3)), 0, -1):
            tall = height * rng.uniform(0.08, 0.2) * (0.5 + 0.5 * layer)
            line = landscape.ridge(rng, width, self.ground.horizon, tall)
            color = landscape.mountains(rng, height, width, line, self.light, 0.05 + 0.22 * layer)
            self.canvas.fill(color, landscape.below(line, height), self.number("mountain"))

    def _ground(self) -> None:
        rng, height, width, where = self.rng, self.height, self.width, self.ground
        line = np.full(width, float(where.horizon))
        if where.shore is not None:
            color = landscape.water(rng, height, width, where.horizon, where.shore, self.light)
            self.canvas.fill(color, landscape.below(line, height), self.number("water"))
            line = landscape.shoreline(rng, width, where.shore, height)
        color = landscape.ground(rng, height, width, where.kind, where.horizon)
        self.canvas.fill(color, landscape.below(line, height), self.number(where.kind))
        if where.road is not None:
            self.canvas.fill(*landscape.road(rng, height, width, where, line), self.number("road"))
        if rng.random() < 0.3:
            self._fence()

    def _things(self) -> Iterator[tuple[float, str, float, float]]:
        """Yield the row of the foot, name, column and size factor of each thing."""
        rng, height, width, where = self.rng, self.height, self.width, self.ground
        dry = height - where.first_row
        for name, most, near, far in (
            ("house", 2, 0.05, 0.32),
            ("tree", 3, 0.03, 0.5),
            ("rock", 2, 0.3, 0.95),
            ("person", 3, 0.2, 0.9),
            ("ball", 2, 0.4, 0.95),
            ("flower", 3, 0.55, 1.0),
        ):
            for _ in range(int(rng.integers(0, most + 1))):
                yield (
                    where.first_row + dry * rng.uniform(near, far),
                    name,
                    width * rng.uniform(0.02, 0.98),
                    rng.uniform(0.85, 1.25),
                )
        if where.road is not None:
            for _ in range(int(rng.integers(0, 3))):
                foot = where.first_row + dry * rng.uniform(0.12, 0.9)
                centre, half = where.road_at(foot, height)
                yield foot, "car", centre + half * rng.uniform(-0.5, 0.5), rng.uniform(0.9, 1.1)
        if where.shore is not None:
            for _ in range(int(rng.integers(0, 3))):
                foot = where.horizon + (where.shore - where.horizon) * rng.uniform(0.12, 0.85)
                yield foot, "boat", width * rng.uniform(0.05, 0.95), rng.uniform(0.8, 1.1)
        for name, most in (("bird", 2), ("balloon", 2)):
            for _ in range(int(rng.integers(0, most + 1)) if rng.random() < 0.6 else 0):
                yield (
                    where.horizon * rng.uniform(0.2, 0.8),
                    name,
                    width * rng.uniform(0.08, 0.92),
                    rng.uniform(0.6, 1.4),
                )

    def _thing(self, name: str, x: float, foot: float, factor: float) -> None:
        kind, flies = THINGS[name], name in ("bird", "balloon")
        # Flying things can be at any distance.
        distance = (
            self.height * (0.075 if name == "bird" else 0.022)
            if flies
            else (foot - self.ground.horizon) / _EYE
        )
        unit = factor * distance
        if unit * kind.height < _LOWEST * self.height:
            return
        pen = Pen(unit, kind.width, kind.height)
        kind.draw(self.rng, pen)
        sprite = pen.sprite()
        if self.rng.random() < 0.5:
            sprite = sprite[:, ::-1].copy()
        self._light(sprite, kind.texture)
        if name in self.without:
            return
        left, top = round(x - sprite.shape[1] / 2), round(foot - sprite.shape[0])
        if not flies:
            self._shadow(x, foot, unit * kind.width * 0.42)
        self.canvas.paint(sprite, left, top, self.number(name))

    def _light(self, sprite: np.ndarray, texture: float) -> None:
        """Add grain, and make one side brighter than the other."""
        height, width = sprite.shape[:2]
        grain = noise(self.rng, height, width, (max(2, width / 6), max(2, height / 6)), 4)
        side = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
        sprite[..., :3] += (texture * grain + 13 * (-side if self.mirrored else side))[..., None]

    def _shadow(self, x: float, foot: float, half: float) -> None:
        radius = max(2, round(half * 1.3))
        high = max(1, round(radius * 0.2))
        y, across = np.mgrid[-high : high + 1, -radius : radius + 1].astype(np.float32)
        cover = np.clip(1 - (across / radius) ** 2 - (y / high) ** 2, 0, 1) ** 0.7 * 0.42
        sprite = np.zeros((*cover.shape, 4), np.float32)
        sprite[..., :3], sprite[..., 3] = (18, 22, 34), cover
        slant = round(half * (0.25 if self.mirrored else -0.25))
        self.canvas.paint(sprite, round(x) - radius + slant, round(foot) - high, None)

    def _sun(self) -> None:
        size = self.height * self.rng.uniform(0.035, 0.065)
        reach = round(size * 5)
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
        distance = np.hypot(x, y)
        glow = np.zeros((*distance.shape, 4), np.float32)
        glow[..., :3], glow[..., 3] = (255, 244, 206), 0.48 * np.clip(1 - distance / reach, 0, 1) ** 2
        disc = glow.copy()
        disc[..., :3] = vary(self.rng, (255, 240, 190), 6)
        disc[..., 3] = np.clip(size - distance + 0.5, 0, 1)
        left = round(self.width * self.rng.uniform(0.1, 0.9)) - reach
        top = round(self.ground.horizon * self.rng.uniform(0.15, 0.85)) - reach
        self.canvas.paint(glow, left, top, None)
        self.canvas.paint(disc, left, top, self.number("sun"))

    def _cloud(self) -> None:
        rng, unit = self.rng, self.height * self.rng.uniform(0.024, 0.045)
        pen = Pen(unit, 14, 5)
        for _ in range(int(rng.integers(7, 13))):
            x = rng.normal(0, 2.4)
            radius = rng.uniform(0.8, 1.5) * max(0.4, 1 - abs(x) / 7)
            pen.disc(x, 1.0 + radius * rng.uniform(0.5, 1.1), radius, (250, 250, 252))
        pen.box(-4.0, 0.7, 4.0, 1.5, (246, 247, 250), 0.4)
        sprite = pen.sprite()
        depth = np.linspace(0, 1, sprite.shape[0], dtype=np.float32)[:, None, None]
        sprite[..., :3] = sprite[..., :3] * (1 - 0.2 * depth) * np.asarray(self.light.tint, np.float32)
        sprite[..., :3] += 7 * noise(rng, sprite.shape[0], sprite.shape[1], (unit * 2, unit * 2))[..., None]
        left = round(self.width * rng.uniform(0, 1) - sprite.shape[1] / 2)
        top = round(self.ground.horizon * rng.uniform(0.05, 0.7) - sprite.shape[0] / 2)
        self.canvas.paint(sprite, left, top, self.number("cloud"))

    def _fence(self) -> None:
        foot = self.ground.first_row + (self.height - self.ground.first_row) * self.rng.uniform(0.12, 0.4)
        unit = (foot - self.ground.horizon) / _EYE
        if unit * 1.2 < _LOWEST * self.height:
            return
        wide = self.width / unit + 1
        pen = Pen(unit, wide, 1.4)
        wood = vary(self.rng, (158, 122, 84), 20)
        for low in (0.35, 0.8):
            pen.box(-wide / 2, low, wide / 2, low + 0.2, wood)
        for x in np.arange(-wide / 2, wide / 2, 0.55):
            pen.box(x, 0, x + 0.3, 1.2, vary(self.rng, wood, 8), 0.05)
        sprite = pen.sprite()
        self._light(sprite, 10)
        left, top = round((self.width - sprite.shape[1]) / 2), round(foot - sprite.shape[0])
        self.canvas.paint(sprite, left, top, self.number("fence"))

    def photograph(self) -> np.ndarray:
        """Return the picture, uint8 (H, W, 3), with a camera's tint, vignetting, blur and grain."""
        rng = self.rng
        y, x = np.ogrid[-1 : 1 : self.height * 1j, -1 : 1 : self.width * 1j]
        corners = 1 - rng.uniform(0, 0.16) * (x**2 + y**2)[..., None]
        exposure = rng.uniform(0.9, 1.08)
        image = self.canvas.image * np.asarray(self.light.tint, np.float32) * (corners * exposure)
        blurred = Image.fromarray(_to_bytes(image)).filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.6)))
        grain = rng.normal(0, rng.uniform(0.5, 3.0), (self.height, self.width, 1))
        return _to_bytes(np.asarray(blurred, np.float32) + grain)

    def segments(self) -> tuple[np.ndarray, tuple[SceneSegment, ...]]:
        """Return the map, with ids from 1 without gaps, and its segments."""
        panoptic = np.zeros_like(self.canvas.ids)
        found: list[SceneSegment] = []
        least = max(24, round(_SLIVER * panoptic.size))
        for number, category in enumerate(self.categories, 1):
            mask = self.canvas.ids == number
            area = int(np.count_nonzero(mask))
            if area < least:
                continue
            bbox = bounding_box(mask)
            panoptic[mask] = len(found) + 1
            isthing = SCENE_VOCABULARY[category].isthing
            found.append(SceneSegment(len(found) + 1, category, isthing, area, bbox))
        return panoptic, tuple(found)


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(np.round(image), 0, 255).astype(np.uint8)
