"""Draw the landscape of a scene: sky, mountains, ground, water, road."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Color, mix, noise, pick, vary

_OPEN = {
    "grass": ((96, 142, 60), (124, 160, 62), (74, 122, 62), (150, 160, 80)),
    "sand": ((222, 196, 146), (205, 176, 128), (232, 210, 168)),
    "snow": ((232, 238, 246), (220, 230, 244)),
}


@dataclass(frozen=True)
class Light:
    """Time of day and weather.

    Attributes:
        zenith, horizon: colours of the sky.
        tint: factors of red, green and blue in the whole picture.
        sun: probability that the sun is visible.
    """

    zenith: Color
    horizon: Color
    tint: tuple[float, float, float]
    sun: float


LIGHTS = (
    Light((70, 130, 214), (190, 218, 240), (1.0, 1.0, 1.0), 0.6),
    Light((96, 158, 226), (214, 232, 244), (1.03, 1.02, 0.98), 0.5),
    Light((112, 128, 190), (250, 202, 150), (1.1, 0.98, 0.84), 0.8),
    Light((72, 72, 128), (238, 140, 104), (0.94, 0.8, 0.82), 0.8),
    Light((150, 162, 176), (208, 214, 220), (0.92, 0.94, 0.97), 0.0),
)


@dataclass(frozen=True)
class Ground:
    """The ground, on which things stand.

    Attributes:
        horizon: row of the horizon.
        kind: "grass", "sand" or "snow".
        shore: first row below the water, which begins at the horizon; None: no water.
        road: centre at the first dry row, centre at the bottom, half width at the first dry row, half width
            at the bottom, in pixels; None: no road.
    """

    horizon: int
    kind: str
    shore: int | None
    road: tuple[float, float, float, float] | None

    def road_at(self, y: float, height: int) -> tuple[float, float]:
        """Return centre and half width of the road in row `y`."""
        assert self.road is not None
        top, bottom, narrow, wide = self.road
        share = (y - self.first_row) / max(1, height - self.first_row)
        return top + (bottom - top) * share, narrow + (wide - narrow) * share

    @property
    def first_row(self) -> int:
        """The first row of dry ground."""
        return self.horizon if self.shore is None else self.shore


def choose_ground(rng: np.random.Generator, height: int, width: int) -> Ground:
    """Return a random ground for a picture of this size."""
    horizon = int(height * rng.uniform(0.34, 0.55))
    kind = str(rng.choice(["grass", "sand", "snow"], p=[0.68, 0.22, 0.1]))
    shore = int(horizon + (height - horizon) * rng.uniform(0.22, 0.5)) if rng.random() < 0.45 else None
    road = None
    if rng.random() < 0.5:
        road = (
            width * rng.uniform(0.2, 0.8),
            width * rng.uniform(0.1, 0.9),
            width * rng.uniform(0.006, 0.02),
            width * rng.uniform(0.12, 0.24),
        )
    return Ground(horizon, kind, shore, road)


def sky(rng: np.random.Generator, height: int, width: int, horizon: int, light: Light) -> np.ndarray:
    """Return the sky, float32 (H, W, 3): from the zenith's colour to the horizon's, with thin clouds."""
    share = np.clip(np.arange(height) / max(1, horizon), 0, 1)[:, None, None] ** 1.2
    veil = noise(rng, height, width, (width, height / 4), 3)[..., None]
    return mix(light.zenith, light.horizon, np.broadcast_to(share, (height, width, 1))) + 6 * veil


def ridge(rng: np.random.Generator, width: int, horizon: int, tall: float) -> np.ndarray:
    """Return the rows (W,) of a mountain skyline, made by midpoint displacement."""
    points, rough = rng.uniform(0.3, 1, 3), 0.5
    while len(points) < width:
        middle = (points[1:] + points[:-1]) / 2 + rng.normal(0, 0.25 * rough, len(points) - 1)
        points = np.insert(points, np.arange(1, len(points)), middle)
        rough *= 0.52
    across = np.interp(np.linspace(0, 1, width), np.linspace(0, 1, len(points)), points)
    return horizon - tall * np.clip(across, 0.05, 1.4)


def below(line: np.ndarray, height: int) -> np.ndarray:
    """Return the coverage float32 (H, W) of the area below a line of rows (W,)."""
    return np.clip(np.arange(height)[:, None] + 1 - line[None, :], 0, 1).astype(np.float32)


def mountains(
    rng: np.random.Generator, height: int, width: int, line: np.ndarray, light: Light, far: float
) -> np.ndarray:
    """Return mountains of rock with snow at the top and haze, float32 (H, W, 3)."""
    rock = pick(rng, [(104, 110, 120), (116, 104, 96), (84, 106, 92), (128, 118, 128)])
    grain = noise(rng, height, width, (width / 14, height / 26), 5)
    depth = np.arange(height)[:, None] - line[None, :]
    # Snow lies above one height, with a rough border.
    snow_line = line.min() + 0.3 * (line.max() - line.min()) + height * 0.022 * grain
    snow = np.clip((snow_line - np.arange(height)[:, None]) / 3, 0, 1)
    slope = np.clip(np.gradient(line) * 0.35, -1, 1)[None, :, None]
    color = mix(rock, (244, 247, 252), snow[..., None]) + 20 * grain[..., None] - 26 * slope
    haze = far + 0.25 * np.clip(depth / max(1.0, height * 0.25), 0, 1)
    return mix(color, light.horizon, np.clip(haze, 0, 0.85)[..., None])


def ground(rng: np.random.Generator, height: int, width: int, kind: str, horizon: int) -> np.ndarray:
    """Return grass, sand or snow in perspective, float32 (H, W, 3)."""
    base = pick(rng, _OPEN[kind])
    depth = np.clip((np.arange(height) - horizon) / max(1, height - horizon), 0, 1)[:, None, None]
    patches = noise(rng, height, width, (width / 3, height / 14), 4)[..., None]
    blades = rng.normal(0, 1, (height, width, 1)).astype(np.float32)
    blades = blades + np.roll(blades, 1, axis=0) + np.roll(blades, 2, axis=0)
    strength = {"grass": (15.0, 8.0), "sand": (7.0, 3.0), "snow": (6.0, 1.2)}[kind]
    far = mix(base, (200, 212, 200), 0.25)
    return mix(far, base, depth**0.5) + strength[0] * patches + strength[1] * blades * (0.25 + depth)


def water(
    rng: np.random.Generator, height: int, width: int, horizon: int, shore: int, light: Light
) -> np.ndarray:
    """Return a lake with waves that reflects the sky, float32 (H, W, 3)."""
    deep = pick(rng, [(38, 92, 128), (52, 112, 124), (46, 84, 132)])
    share = np.clip((np.arange(height) - horizon) / max(1, shore - horizon), 0, 1)[:, None, None]
    waves = noise(rng, height, width, (width / 5, height / 90), 3)[..., None]
    glitter = np.clip(noise(rng, height, width, (width / 24, height / 160), 2) - 0.75, 0, 1)[..., None]
    return mix(mix(light.horizon, deep, 0.45), deep, share) + 15 * waves + 190 * glitter


def shoreline(rng: np.random.Generator, width: int, shore: int, height: int) -> np.ndarray:
    """Return the rows (W,) of a shore with bays."""
    bays = noise(rng, 2, width, (width / 3, 2), 3)[0]
    return shore + bays * 0.018 * height


def road(
    rng: np.random.Generator, height: int, width: int, where: Ground, first: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return a straight road in perspective: colour float32 (H, W, 3) and coverage float32 (H, W)."""
    assert where.road is not None
    rows = np.arange(height)
    centre, half = np.array([where.road_at(float(y), height) for y in rows], np.float32).T
    x = np.arange(width)[None, :] + 0.5
    inside = np.clip(half[:, None] - np.abs(x - centre[:, None]) + 0.5, 0, 1)
    cover = inside * below(first, height)
    asphalt = vary(rng, (98, 98, 104), 12)
    color = mix(asphalt, asphalt, np.zeros((height, width, 1), np.float32))
    color = color + 7 * rng.normal(0, 1, (height, width, 1)).astype(np.float32)
    share = np.clip((rows - where.first_row) / max(1, height - where.first_row), 1e-3, 1)
    dashes = (np.modf(3.2 / (share + 0.12) + rng.random())[0] < 0.5)[:, None]
    middle = np.clip(half[:, None] * 0.035 - np.abs(x - centre[:, None]) + 0.5, 0, 1) * dashes
    rim = np.clip(
        half[:, None] * 0.03 - np.abs(half[:, None] * 0.93 - np.abs(x - centre[:, None])) + 0.5, 0, 1
    )
    marks = np.maximum(middle, rim)[..., None] * 0.85
    return mix(color, (236, 234, 224), marks), cover.astype(np.float32)
