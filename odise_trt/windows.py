"""Square windows over the padded image, and feature maps put back together from them.

The diffusion features are computed window by window (the official model's sliding inference). If the side of
the image is a multiple of the window's, windows do not overlap. Otherwise the last window of a row or column
is shifted back to the border.
`reference.model.windows` does the same in PyTorch and is the oracle of this module.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Grid:
    """Windows over an image, row by row.

    Attributes:
        height, width: size of the padded image.
        side: side of every window.
        tops, lefts: where the rows and columns of windows begin.
    """

    height: int
    width: int
    side: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @classmethod
    def over(cls, height: int, width: int, window: int) -> Grid:
        """Make the official grid. Windows have side `window`, or the shorter side if that is less."""
        side = min(window, height, width)
        return cls(height, width, side, _starts(height, side), _starts(width, side))

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    @property
    def corners(self) -> list[tuple[int, int]]:
        """Top and left of every window, in row-major order."""
        return [(top, left) for top in self.tops for left in self.lefts]

    @property
    def overlaps(self) -> bool:
        """Whether some pixels lie in more than one window."""
        return len(self) * self.side**2 > self.height * self.width

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Cut the windows (W, C, side, side) out of an image (C, height, width)."""
        side = self.side
        return np.stack([image[:, top : top + side, left : left + side] for top, left in self.corners])


class Stitcher:
    """Puts feature maps of windows back together, averaging where windows overlap.

    Windows may come in several batches, in order. Only the whole map is kept, not the windows' maps.
    """

    def __init__(self, grid: Grid, stride: int) -> None:
        """Begin a map. `stride`: input pixels per element. It must divide the grid's positions and sizes."""
        positions = (grid.height, grid.width, grid.side, *grid.tops, *grid.lefts)
        if any(position % stride for position in positions):
            raise ValueError(f"stride {stride} does not divide every position and size of {grid}")
        self._shape = (grid.height // stride, grid.width // stride)
        self._side = grid.side // stride
        self._corners = [(top // stride, left // stride) for top, left in grid.corners]
        self._averages = grid.overlaps
        self._next = 0
        self._total: np.ndarray | None = None
        self._dtype: np.dtype | None = None

    def add(self, maps: np.ndarray) -> None:
        """Add the maps (n, C, side/stride, side/stride) of the next n windows."""
        if self._total is None:
            self._dtype = maps.dtype
            # Half-precision maps are summed in float32. Without overlap nothing is summed.
            dtype = np.promote_types(maps.dtype, np.float32) if self._averages else maps.dtype
            self._total = np.zeros((1, maps.shape[1], *self._shape), dtype)
        side = self._side
        for one in maps:
            top, left = self._corners[self._next]
            place = self._total[0, :, top : top + side, left : left + side]
            if self._averages:
                place += one
            else:
                place[...] = one
            self._next += 1

    def result(self) -> np.ndarray:
        """Return the map (1, C, height/stride, width/stride) in the windows' dtype, after all were added."""
        if self._total is None or self._next != len(self._corners):
            raise ValueError(f"{self._next} of {len(self._corners)} windows were added")
        if not self._averages:
            return self._total
        counts = np.zeros(self._shape, np.float32)
        for top, left in self._corners:
            counts[top : top + self._side, left : left + self._side] += 1
        return (self._total / counts).astype(self._dtype, copy=False)


def _starts(length: int, side: int) -> tuple[int, ...]:
    """Return the start of each window along one axis. The last window ends at the border."""
    count = -(-length // side)
    return tuple(min(index * side, length - side) for index in range(count))
