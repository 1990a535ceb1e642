"""Mask logits at the size of the output, one tile at a time.

For a 12-megapixel photo, the logits of 100 queries would take 4.8 GB. Resizing is linear and separable, so
any tile of the output depends on a few mask elements only. Their extremes bound every logit in the tile. So
most queries can be excluded, or counted, without computing a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .interpolate import AxisMap
from .products import product

# Large enough that numpy's overhead per tile is small. Small enough for the cache and for tight bounds.
_TILE_HEIGHT, _TILE_WIDTH = 64, 128

Size = tuple[int, int]


@dataclass(frozen=True)
class Tile:
    """A rectangle of the output.

    Attributes:
        rows, columns: the position of the tile in the output.
        low, high: float32 (Q,), bounds: no logit of a query in the tile is below `low` or above `high`.
    """

    rows: slice
    columns: slice
    low: np.ndarray
    high: np.ndarray
    _source: np.ndarray
    _vertical: np.ndarray
    _horizontal: np.ndarray

    @property
    def shape(self) -> Size:
        """Rows and columns."""
        return len(self._vertical), len(self._horizontal)

    @property
    def area(self) -> int:
        """Number of pixels."""
        return len(self._vertical) * len(self._horizontal)

    def probabilities(self, queries: np.ndarray) -> np.ndarray:
        """Compute the mask probabilities of some queries, float32 (len(queries), *shape)."""
        logits = self.logits(queries)
        return sigmoid(logits, out=logits)

    def logits(self, queries: np.ndarray) -> np.ndarray:
        """Compute the mask logits of some queries (ascending), float32 (len(queries), *shape)."""
        source = self._source if len(queries) == len(self._source) else self._source[queries]
        across = product(source.reshape(-1, source.shape[2]), self._horizontal.T)
        return self._vertical @ across.reshape(*source.shape[:2], len(self._horizontal))


class MaskTiles:
    """The masks of one image, resized as the official model does it.

    Masks are resized bilinearly to the padded image, cropped to the picture, and resized bilinearly to the
    output. All steps are one linear map per axis.
    """

    def __init__(self, pred_masks: np.ndarray, padded: Size, picture: Size, output: Size) -> None:
        """Prepare the masks (Q, h, w).

        Args:
            pred_masks: float32 logits over the padded image.
            padded: height and width of the padded image, which the masks cover.
            picture: height and width of the resized image without its padding.
            output: height and width of the output.
        """
        self.size = output
        self._masks = pred_masks
        self._vertical, self._horizontal = (
            # The crop: the second step reads no element beyond the picture.
            AxisMap.bilinear(mask, whole).then(AxisMap.bilinear(part, out))
            for mask, whole, part, out in zip(pred_masks.shape[1:], padded, picture, output, strict=True)
        )

    def __iter__(self) -> Iterator[Tile]:
        height, width = self.size
        columns = [
            (slice(left, min(left + _TILE_WIDTH, width)), *self._horizontal.block(left, left + _TILE_WIDTH))
            for left in range(0, width, _TILE_WIDTH)
        ]
        for top in range(0, height, _TILE_HEIGHT):
            rows = slice(top, min(top + _TILE_HEIGHT, height))
            source_rows, vertical = self._vertical.block(top, top + _TILE_HEIGHT)
            strip = self._masks[:, source_rows]
            for place, source_columns, horizontal in columns:
                source = strip[:, :, source_columns]
                low, high = source.min(axis=(1, 2)), source.max(axis=(1, 2))
                # Weighted means stay between the extremes, except for rounding.
                slack = np.float32(1e-5) * (1 + np.maximum(np.abs(low), np.abs(high)))
                yield Tile(rows, place, low - slack, high + slack, source, vertical, horizontal)


def sigmoid(logits: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Compute 1 / (1 + exp(-x)), without a warning where the result is 0.

    Args:
        logits: of any shape.
        out: where the result goes; it can be `logits`. A new array of megabytes costs more than its numbers.
    """
    out = np.negative(logits, out=out)
    with np.errstate(over="ignore"):
        np.exp(out, out=out)
    out += 1
    return np.reciprocal(out, out=out)
