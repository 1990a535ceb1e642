"""True and predicted segments are matched by the rules of panoptic quality."""

from __future__ import annotations

import numpy as np

from reference.datasets.example import PanopticSegment
from reference.eval.metrics.matching import Matching, match_segments
from reference.eval.prediction import Region

CAT, DOG = 0, 1


def match(
    truth: list[int], segments: list[PanopticSegment], predicted: list[int], regions: list[Region]
) -> Matching:
    return match_segments(np.array([truth]), segments, np.array([predicted]), regions)


def test_segments_are_found_missed_and_wrong() -> None:
    cat, other, dog = PanopticSegment(1, CAT), PanopticSegment(2, CAT), PanopticSegment(3, DOG)
    right, half, misnamed = Region(7, CAT), Region(8, CAT), Region(9, CAT)
    matching = match(
        [1, 1, 1, 1, 2, 2, 2, 2, 3, 3],
        [cat, other, dog],
        # Three of four pixels of the first; of the second two, which is one half and not more; the dog is
        # called a cat.
        [7, 7, 7, 0, 8, 8, 0, 0, 9, 9],
        [right, half, misnamed],
    )
    assert [(one.segment, one.region, one.iou) for one in matching.found] == [(cat, right, 0.75)]
    assert matching.missed == (other, dog)
    assert matching.wrong == (half, misnamed)


def test_void_and_crowds_are_neither_missed_nor_wrong() -> None:
    crowd = PanopticSegment(1, CAT, iscrowd=True)
    in_void, in_crowd, of_another_category = Region(5, DOG), Region(6, CAT), Region(7, DOG)
    matching = match(
        [0, 0, 0, 1, 1, 1, 1, 1, 1],
        [crowd],
        [5, 5, 5, 6, 6, 6, 7, 7, 7],
        [in_void, in_crowd, of_another_category],
    )
    assert matching == Matching((), (), (of_another_category,))
