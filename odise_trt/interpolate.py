"""Bilinear resizing as linear maps along one axis, with the sampling of torch's `interpolate`.

It uses `align_corners=False` and no antialiasing, as the model's own resizes do. To match them up to
rounding, the sample positions must be the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class AxisMap:
    """A sparse linear map along one axis: `out[i] = sum_t weight[i, t] * in[index[i, t]]`.

    Attributes:
        index: int64 (out, taps), positions in the input. They do not decrease from one output to the next.
        weight: float64 (out, taps), non-negative, each row sums to 1.
    """

    index: np.ndarray
    weight: np.ndarray

    @classmethod
    def bilinear(cls, size: int, out: int) -> AxisMap:
        """Make the map that resizes an axis of `size` elements to `out`."""
        # Positions are in float32, as torch computes them for float32 data. In float64 they would differ from
        # those of the official model in the fifth decimal on long axes.
        scale = np.float32(size) / np.float32(out)
        position = scale * (np.arange(out, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
        position = np.maximum(position, np.float32(0))
        low = np.minimum(position.astype(np.int64), size - 1)
        high = np.minimum(low + 1, size - 1)
        fraction = np.clip(position.astype(np.float64) - low, 0.0, 1.0)
        return cls(np.stack([low, high], axis=1), np.stack([1.0 - fraction, fraction], axis=1))

    def then(self, following: AxisMap) -> AxisMap:
        """Compose this map with `following`, which is applied second."""
        index = self.index[following.index].reshape(len(following.index), -1)
        weight = (following.weight[:, :, None] * self.weight[following.index]).reshape(index.shape)
        return AxisMap(index, weight)

    def block(self, start: int, stop: int) -> tuple[slice, np.ndarray]:
        """Return the map of outputs `start` to `stop` (or to the last) as a dense matrix.

        Returns:
            The slice of the input that is needed, and a float32 matrix (outputs, length of that slice).
        """
        index, weight = self.index[start:stop], self.weight[start:stop]
        first, last = int(index.min()), int(index.max())
        matrix = np.zeros((len(index), last - first + 1))
        np.add.at(matrix, (np.arange(len(index))[:, None], index - first), weight)
        return slice(first, last + 1), matrix.astype(np.float32)


def resize_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize the last two axes of a float32 array (..., H, W) to (..., height, width)."""
    rows = AxisMap.bilinear(image.shape[-2], height)
    columns = AxisMap.bilinear(image.shape[-1], width)
    weight = rows.weight.astype(np.float32)[:, :, None]
    image = image[..., rows.index[:, 0], :] * weight[:, 0] + image[..., rows.index[:, 1], :] * weight[:, 1]
    weight = columns.weight.astype(np.float32)
    return image[..., columns.index[:, 0]] * weight[:, 0] + image[..., columns.index[:, 1]] * weight[:, 1]
