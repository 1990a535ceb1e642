"""Positions of names: well inside their segments, and not on top of each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Names are wide, so horizontal distance to the border counts less than vertical distance, by this factor.
_ASPECT = 2.5
_GRID_ROWS = 160
_PLACES = 10


@dataclass(frozen=True)
class Place:
    """A point inside a segment.

    Attributes:
        x, y: pixels.
        depth: vertical distance to the border in pixels. The horizontal distance is `_ASPECT` times as much.
    """

    x: float
    y: float
    depth: float


@dataclass(frozen=True)
class Rectangle:
    """A rectangle: left, top, width and height in pixels."""

    x: int
    y: int
    width: int
    height: int

    def overlaps(self, other: Rectangle, margin: int = 0) -> bool:
        """Whether the two rectangles are closer than `margin`."""
        return (
            self.x < other.x + other.width + margin
            and other.x < self.x + self.width + margin
            and self.y < other.y + other.height + margin
            and other.y < self.y + self.height + margin
        )


def border_distance(ids: np.ndarray) -> np.ndarray:
    """Compute the distance of every cell to the nearest cell of another id, or to the outside.

    Args:
        ids: int (H, W).

    Returns:
        float32 (H, W), exact Euclidean distances. Cells at a border have distance 1.
    """
    height, width = ids.shape
    inner = np.pad(ids, 1, constant_values=-1)
    # Along rows: distances to the last change on the left and on the right.
    columns = np.arange(width + 2, dtype=np.int32)
    changed = np.ones(inner.shape, dtype=bool)
    changed[:, 1:] = inner[:, 1:] != inner[:, :-1]
    start = np.maximum.accumulate(np.where(changed, columns, 0), axis=1)
    changed[:, :-1] = changed[:, 1:]
    changed[:, -1] = True
    end = np.minimum.accumulate(np.where(changed, columns, width + 1)[:, ::-1], axis=1)[:, ::-1]
    along = (np.minimum(columns - start, end - columns) + 1).astype(np.float32) ** 2
    # Across rows: in a row `step` away, a cell of another id is at distance `step`. From a cell of the same
    # id, the squared distance to another id is at most step^2 + along^2.
    best = along[1:-1, 1:-1].copy()
    for step in range(1, height + 1):
        if step * step >= best.max(initial=0):
            break
        for shift in (step, -step):
            low, high = max(0, -1 - shift), min(height, height + 1 - shift)
            rows, other = slice(low, high), slice(low + 1 + shift, high + 1 + shift)
            same = inner[other, 1:-1] == ids[rows]
            reach = np.where(same, along[other, 1:-1], 0) + step * step
            np.minimum(best[rows], reach, out=best[rows])
    return np.sqrt(best)


def find_places(ids: np.ndarray, numbers: list[int]) -> dict[int, list[Place]]:
    """Find points inside segments, the deepest first.

    Args:
        ids: int (H, W).
        numbers: ids to find places for.

    Returns:
        At least one place for every id that has a pixel.
    """
    height, width = ids.shape
    row = max(1.0, max(height, width / _ASPECT) / _GRID_ROWS)
    rows = max(1, round(height / row))
    columns = max(1, round(width / (row * _ASPECT)))
    y = np.minimum(((np.arange(rows) + 0.5) * height / rows).astype(np.intp), height - 1)
    x = np.minimum(((np.arange(columns) + 0.5) * width / columns).astype(np.intp), width - 1)
    grid = ids[np.ix_(y, x)]
    distance = border_distance(grid)
    found = {}
    for number in numbers:
        depth = np.where(grid == number, distance, 0)
        places = []
        for _ in range(_PLACES):
            r, c = np.unravel_index(depth.argmax(), depth.shape)
            if depth[r, c] <= 0:
                break
            places.append(Place(float(x[c]), float(y[r]), float(depth[r, c]) * height / rows))
            near = max(2, int(0.06 * rows))
            depth[max(0, r - near) : r + near + 1, max(0, c - 2 * near) : c + 2 * near + 1] = 0
        if not places:
            places = _any_place(ids == number)
        if places:
            found[number] = places
    return found


def _any_place(mask: np.ndarray) -> list[Place]:
    """Return the pixel nearest to the middle of a segment that is too small for the grid of cells."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return []
    nearest = ((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2).argmin()
    return [Place(float(columns[nearest]), float(rows[nearest]), 0.5)]


def free_spot(
    places: list[Place],
    size: tuple[int, int],
    canvas: tuple[int, int],
    taken: list[Rectangle],
    beside: bool = False,
) -> Rectangle | None:
    """Return the first place where a rectangle of `size` (width, height) touches none of `taken`.

    Every place is tried, then a little above and below it. With `beside`, places directly above and below
    the area around the first place are tried first. The rectangle stays in `canvas` (width, height).
    """
    height = size[1]
    shifts = [0.0, -0.7 * height, 0.7 * height, -1.3 * height, 1.3 * height]
    if beside:
        away = places[0].depth + 0.55 * height
        shifts = [-away, away, *shifts]
    margin = max(1, height // 8)
    for shift in shifts:
        for place in places:
            x = min(max(place.x - size[0] / 2, 0), canvas[0] - size[0])
            y = min(max(place.y + shift - height / 2, 0), canvas[1] - height)
            spot = Rectangle(round(x), round(y), *size)
            if x >= 0 and y >= 0 and not any(spot.overlaps(other, margin) for other in taken):
                return spot
    return None
