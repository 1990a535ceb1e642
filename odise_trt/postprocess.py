"""From mask logits and class log-probabilities to panoptic and instance results, see also `semantic_map`.

The rules are the official model's (Mask2Former's inference heads), computed tile by tile. So memory does not
grow with the number of queries times the number of pixels. Queries that cannot matter in a tile are skipped.
This pruning is exact, not a threshold. `reference.model.postprocess` computes the same without tiles in
PyTorch, and is the oracle of this module.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .masks import MaskTiles, sigmoid
from .segments import Box, Instance, Segment
from .semantic_map import first_largest

# Comparisons with bounds leave this margin for rounding.
_ROUNDING = np.float32(1 - 1e-5)


def class_probabilities(log_probabilities: np.ndarray) -> np.ndarray:
    """Apply softmax over the last axis, float32. The official inference heads apply it to these, too."""
    shifted = log_probabilities - log_probabilities.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted, dtype=np.float32)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


class _Boxes:
    """Bounding boxes of labelled pixels, grown tile by tile. For a whole mask, see `bounding_box`."""

    def __init__(self, count: int) -> None:
        self._first = np.full((count, 2), np.iinfo(np.int64).max)
        self._last = np.full((count, 2), -1, dtype=np.int64)

    def add(self, label: int | np.integer, mask: np.ndarray, top: int, left: int) -> None:
        """Add the pixels of a mask to a box. `mask`: bool, not empty, with its first pixel at (top, left)."""
        for axis, offset in ((0, top), (1, left)):
            filled = np.flatnonzero(mask.any(axis=1 - axis))
            self._first[label, axis] = min(self._first[label, axis], filled[0] + offset)
            self._last[label, axis] = max(self._last[label, axis], filled[-1] + offset)

    def around(self, labels: list[int]) -> Box:
        """Return the box around the pixels of all these labels."""
        y, x = self._first[labels].min(axis=0)
        last_y, last_x = self._last[labels].max(axis=0)
        return int(x), int(y), int(last_x - x + 1), int(last_y - y + 1)


def panoptic(
    masks: MaskTiles,
    probabilities: np.ndarray,
    names: Sequence[str],
    isthing: Sequence[bool],
    object_mask_threshold: float,
    overlap_threshold: float,
) -> tuple[np.ndarray, list[Segment]]:
    """Assign every pixel to at most one segment.

    Queries whose best class is not "nothing" compete for each pixel by score times mask probability. A query
    must win enough of its mask. It then keeps the pixels that it wins where its own mask is at least one
    half. Stuff of one category becomes one segment.

    Args:
        masks: the masks of Q queries.
        probabilities: float32 (Q, K + 1), the last column is "nothing".
        names, isthing: the K categories' names, and whether they are things.
        object_mask_threshold: queries must score more than this.
        overlap_threshold: least share of its mask that a query must win.

    Returns:
        int32 (H, W) of segment ids, 0 where there is no segment, and the segments in the order of their ids.
    """
    category = probabilities.argmax(axis=1)
    score = probabilities.max(axis=1)
    kept = np.flatnonzero((category != len(names)) & (score > object_mask_threshold))
    category, score = category[kept], score[kept]
    winners = _Winners(masks, kept, score)

    segment_of = np.zeros(len(kept) + 1, dtype=np.int32)
    members: list[list[int]] = []
    stuff: dict[int, int] = {}
    for query in range(len(kept)):
        if not winners.kept[query] or winners.won[query] / winners.whole[query] < overlap_threshold:
            continue
        kind = int(category[query])
        if not isthing[kind] and kind in stuff:
            segment = stuff[kind]
            members[segment - 1].append(query)
        else:
            members.append([query])
            segment = len(members)
            if not isthing[kind]:
                stuff[kind] = segment
        segment_of[query + 1] = segment

    segments = [
        Segment(
            id=number,
            category_id=int(category[queries[0]]),
            name=names[category[queries[0]]],
            isthing=bool(isthing[category[queries[0]]]),
            score=float(score[queries].max()),
            area=int(winners.kept[queries].sum()),
            bbox=winners.boxes.around(queries),
        )
        for number, queries in enumerate(members, start=1)
    ]
    return segment_of[winners.map], segments


class _Winners:
    """The winning query of every pixel.

    Attributes:
        map: uint16 (H, W), 1 + the winner. 0 where the winner's own mask is below one half.
        won: for each query, the number of pixels that it wins.
        whole: for each query, the number of pixels where its mask is at least one half.
        kept: for each query, the number of pixels that it wins and where its mask is at least one half.
        boxes: boxes around the pixels counted in `kept`.
    """

    def __init__(self, masks: MaskTiles, queries: np.ndarray, score: np.ndarray) -> None:
        count = len(queries)
        self.map = np.zeros(masks.size, dtype=np.uint16)
        self.won = np.zeros(count, dtype=np.int64)
        self.whole = np.zeros(count, dtype=np.int64)
        self.kept = np.zeros(count, dtype=np.int64)
        self.boxes = _Boxes(count)
        if count == 0:
            return
        for tile in masks:
            low, high = tile.low[queries], tile.high[queries]
            least = (score * sigmoid(low)).max()
            contends = score * sigmoid(high) >= least * _ROUNDING
            undecided = (low < 0) & (high >= 0)
            self.whole[low >= 0] += tile.area

            needed = np.flatnonzero(contends | undecided)
            probability = tile.probabilities(queries[needed])
            inside = probability >= 0.5
            counted = undecided[needed]
            self.whole[needed[counted]] += np.count_nonzero(inside[counted], axis=(1, 2))

            rivals = np.flatnonzero(contends[needed])
            best = first_largest(probability[rivals] * score[needed[rivals], None, None])
            won = np.bincount(best.ravel(), minlength=len(rivals))
            self.won[needed[rivals]] += won
            for rival in np.flatnonzero(won):
                query = needed[rivals[rival]]
                mask = (best == rival) & inside[rivals[rival]]
                pixels = np.count_nonzero(mask)
                if pixels:
                    self.kept[query] += pixels
                    self.map[tile.rows, tile.columns][mask] = query + 1
                    self.boxes.add(query, mask, tile.rows.start, tile.columns.start)


def instances(
    masks: MaskTiles,
    probabilities: np.ndarray,
    names: Sequence[str],
    isthing: Sequence[bool],
    topk: int,
) -> list[Instance]:
    """Return the best objects, each with its own mask. Masks may overlap.

    The best `topk` pairs of query and category are selected. Of these, things are kept. A score is the class
    probability times the mean mask probability inside the mask. Pairs with an empty mask are omitted (the
    official code lists them with a score of 0).

    Args:
        masks: the masks of Q queries.
        probabilities: float32 (Q, K + 1), the last column is "nothing".
        names, isthing: the K categories' names, and whether they are things.
        topk: number of pairs considered.

    Returns:
        Objects, best first. Objects of one query share one mask array.
    """
    pairs = probabilities[:, :-1]
    flat = pairs.ravel()
    best = _largest(flat, topk)
    best = best[np.asarray(isthing, dtype=bool)[best % pairs.shape[1]]]
    query, category = np.divmod(best, pairs.shape[1])
    queries, query = np.unique(query, return_inverse=True)

    # Pages of a zeroed array take no memory until something is written to them.
    drawn = np.zeros((len(queries), *masks.size), dtype=bool)
    area = np.zeros(len(queries), dtype=np.int64)
    total = np.zeros(len(queries))
    boxes = _Boxes(len(queries))
    for tile in masks if len(queries) else ():
        needed = np.flatnonzero(tile.high[queries] > 0)
        logits = tile.logits(queries[needed])
        for index, values in zip(needed, logits, strict=True):
            mask = values > 0
            if mask.any():
                drawn[index, tile.rows, tile.columns] = mask
                area[index] += np.count_nonzero(mask)
                total[index] += sigmoid(values[mask]).sum(dtype=np.float64)
                boxes.add(index, mask, tile.rows.start, tile.columns.start)

    mean = total / (area + 1e-6)
    found = [
        Instance(
            category_id=int(kind),
            name=names[kind],
            score=float(flat[pair] * mean[index]),
            mask=drawn[index],
            area=int(area[index]),
            bbox=boxes.around([int(index)]),
        )
        for pair, index, kind in zip(best, query, category, strict=True)
        if area[index]
    ]
    return sorted(found, key=lambda instance: -instance.score)


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Compute `np.argsort(-values, kind="stable")[:count]` without sorting the rest: a million pairs."""
    if count < len(values):
        least = np.partition(values, len(values) - count)[len(values) - count]
        above, equal = np.flatnonzero(values > least), np.flatnonzero(values == least)
        places = np.concatenate([above, equal[: count - len(above)]])
    else:
        places = np.arange(len(values))
    # Both parts are ascending, so equal values stay in their order.
    return places[np.argsort(-values[places], kind="stable")]
