"""What the host gives to the stages of a pipeline: small tensors of sizes, a vocabulary, and a request.

Stages like `cut`, `stitch` and `panoptic` compute no position themselves. The host works positions out with
numpy, exactly as the CPU chain does, and the stages gather by them. Names are those in a pipeline's wiring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..interpolate import AxisMap
from ..text_table import TextTable
from ..windows import Grid

Size = tuple[int, int]

#: Mask elements that an element of the output is made of, along one axis: two resizes with two each.
TAPS = 4
#: Pixels along the side of one element of the coarsest feature map.
BLOCK = 32
#: Bits of masks are packed into bytes.
BITS = 8


@dataclass(frozen=True)
class PictureSize:
    """All sizes that the tensors of a picture depend on. As a key, it finds tensors made before.

    Attributes:
        picture: height and width of the resized picture.
        padded: height and width after padding.
        output: height and width of results.
        window: largest side of windows.
        clip_side: side of the picture that CLIP sees.
        mask_stride: pixels of the padded picture per mask element.
    """

    picture: Size
    padded: Size
    output: Size
    window: int
    clip_side: int
    mask_stride: int = 4


def picture_tensors(size: PictureSize) -> dict[str, np.ndarray]:
    """Return every host tensor `picture.*`, except `picture.picture`: the resized pixels, uint8 (h, w, 3).

    Returns:
        For the stage cut:
            window_rows, window_columns  int64 (W, side)         the pixel at (y, x) of window w is number
                                                                 `window_rows[w, y] + window_columns[w, x]`
            row_inside, column_inside    float32 (W, side)       1 in the picture, 0 in its padding
            clip_rows, clip_columns      int64 (2, I)            rows and columns that CLIP's are mixed of
            clip_row_weight, clip_column_weight  float32 (2, I)  and their shares
        For the stage stitch:
            tap_block                    int64 (taps, H/32, W/32)    block of a window, see `stitch_tensors`
            tap_weight                   float32 (taps, H/32, W/32)
        For the stages that read masks:
            row_index, row_weight        int64, float32 (output height, 4)
            column_index, column_weight  int64, float32 (output width, 4)
            padded_column_index, padded_column_weight    the same, with a width that is a multiple of 8. The
                                                         columns beyond the output have no weight.
    """
    grid = Grid.over(*size.padded, size.window)
    tensors = window_tensors(grid, size.picture) | clip_tensors(size.picture, size.clip_side)
    tensors |= stitch_tensors(grid)
    maps = [
        # As in `MaskTiles`: to the padded picture, and from its part without padding to the output.
        AxisMap.bilinear(whole // size.mask_stride, whole).then(AxisMap.bilinear(part, out))
        for whole, part, out in zip(size.padded, size.picture, size.output, strict=True)
    ]
    for name, axis in zip(("row", "column"), maps, strict=True):
        tensors[f"{name}_index"], tensors[f"{name}_weight"] = taps_of(axis)
    rest = -size.output[1] % BITS
    for kind in ("index", "weight"):
        tensors[f"padded_column_{kind}"] = np.pad(tensors[f"column_{kind}"], ((0, rest), (0, 0)))
    return {f"picture.{name}": tensor for name, tensor in tensors.items()}


def window_tensors(grid: Grid, picture: Size) -> dict[str, np.ndarray]:
    """Return where the pixels of each window are in a picture without padding, see `picture_tensors`."""
    height, width = picture
    steps = np.arange(grid.side)
    rows, columns = (np.array(starts)[:, None] + steps for starts in zip(*grid.corners, strict=True))
    return {
        "window_rows": np.where(rows < height, rows * width, 0).astype(np.int64),
        "window_columns": np.where(columns < width, columns, 0).astype(np.int64),
        "row_inside": (rows < height).astype(np.float32),
        "column_inside": (columns < width).astype(np.float32),
    }


def clip_tensors(picture: Size, side: int) -> dict[str, np.ndarray]:
    """Return how a picture is resized to CLIP's, see `picture_tensors`."""
    tensors = {}
    for name, length in zip(("row", "column"), picture, strict=True):
        axis = AxisMap.bilinear(length, side)
        tensors[f"clip_{name}s"] = np.ascontiguousarray(axis.index.T)
        tensors[f"clip_{name}_weight"] = np.ascontiguousarray(axis.weight.T, np.float32)
    return tensors


def stitch_tensors(grid: Grid) -> dict[str, np.ndarray]:
    """Return which blocks of which windows make up each block of the whole, and their shares.

    A block has 32 x 32 pixels. Blocks of windows are counted row by row, one window after the other. Of the
    windows over a block, each gets the same share: 1, 1/2 or 1/4. The first dimension is the most windows
    over any block; where there are fewer, the first one is repeated with weight 0.
    """
    rows, columns, side = grid.height // BLOCK, grid.width // BLOCK, grid.side // BLOCK
    over: list[list[int]] = [[] for _ in range(rows * columns)]
    blocks = iter(range(len(grid) * side * side))
    for top, left in grid.corners:
        for row in range(top // BLOCK, top // BLOCK + side):
            for column in range(left // BLOCK, left // BLOCK + side):
                over[row * columns + column].append(next(blocks))
    taps = max(map(len, over))
    index = np.array([[*some, *some[:1] * (taps - len(some))] for some in over], np.int64)
    weight = np.array([[1 / len(some)] * len(some) + [0.0] * (taps - len(some)) for some in over], np.float32)
    shape = (taps, rows, columns)
    return {
        "tap_block": np.ascontiguousarray(index.T).reshape(shape),
        "tap_weight": np.ascontiguousarray(weight.T).reshape(shape),
    }


def taps_of(axis: AxisMap) -> tuple[np.ndarray, np.ndarray]:
    """Return index int64 and weight float32 (out, 4) of a map. Weights of the same element are added first.

    So the sums are rounded once, as in `AxisMap.block`.
    """
    weight = axis.weight.copy()
    for tap in range(1, weight.shape[1]):
        for earlier in range(tap):
            same = axis.index[:, tap] == axis.index[:, earlier]
            weight[same, earlier] += weight[same, tap]
            weight[same, tap] = 0
    return axis.index, weight.astype(np.float32)


def vocabulary_tensors(table: TextTable, alpha: float, beta: float) -> dict[str, np.ndarray]:
    """Return every host tensor `vocabulary.*`.

    Returns:
        text_embed, clip_text_embed  float32 (K', D), (K', E)  rows of length one
        synonyms                     int64 (K, S)              rows of the names of a category. If it has
                                                               fewer than S, its last one is repeated.
        clip_weight                  float32 (K,)              CLIP's share: `alpha` for categories seen in
                                                               training, `beta` for others
        isthing                      float32 (K,)              1 for things
    """
    starts = table.starts
    counts = np.diff(starts, append=len(table.row_to_category))
    steps = np.minimum(np.arange(counts.max()), counts[:, None] - 1)
    return {
        "vocabulary.text_embed": table.unit_text_embed,
        "vocabulary.clip_text_embed": table.unit_clip_text_embed,
        "vocabulary.synonyms": (starts[:, None] + steps).astype(np.int64),
        "vocabulary.clip_weight": np.where(table.seen, alpha, beta).astype(np.float32),
        "vocabulary.isthing": table.isthing.astype(np.float32),
    }


def request_tensors(object_mask_threshold: float, overlap_threshold: float) -> dict[str, np.ndarray]:
    """Return every host tensor `request.*`: the two thresholds, each float32 (1,)."""
    return {
        "request.object_mask_threshold": np.array([object_mask_threshold], np.float32),
        "request.overlap_threshold": np.array([overlap_threshold], np.float32),
    }
