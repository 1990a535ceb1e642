"""Which predicted segments match which true ones: the rules of panoptic quality (cocodataset/panopticapi)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reference.datasets.example import PanopticSegment
from reference.eval.prediction import Region

_VOID = 0


@dataclass(frozen=True)
class Match:
    """A true segment and the predicted one that finds it.

    Attributes:
        segment: the true one.
        region: the predicted one, of the same category.
        iou: their intersection over union, above 0.5.
    """

    segment: PanopticSegment
    region: Region
    iou: float


@dataclass(frozen=True)
class Matching:
    """What `match_segments` returns.

    Attributes:
        found: the matches, in the order of the true segments.
        missed: true segments without a match; crowds are never missed.
        wrong: predicted segments without a match, except those that lie mostly in void or in crowds.
    """

    found: tuple[Match, ...]
    missed: tuple[PanopticSegment, ...]
    wrong: tuple[Region, ...]


def match_segments(
    truth: np.ndarray,
    segments: Sequence[PanopticSegment],
    predicted: np.ndarray,
    regions: Sequence[Region],
) -> Matching:
    """Match the segments of two maps of one image.

    A segment is found if a predicted one of its category overlaps it by more than one half (intersection
    over union); at most one can. Void pixels of the truth are not part of a union. A predicted segment is
    not wrong if more than half of it is void, or crowds of its category.

    Args:
        truth: int (H, W), ids of `segments`, 0: void.
        segments: of the truth.
        predicted: int (H, W), ids of `regions`, 0: no segment.
        regions: of the prediction.

    Raises:
        ValueError: the maps differ in size, or have an id that is not in their list.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"the truth is {truth.shape} pixels, the prediction {predicted.shape}")
    shared = _overlaps(truth, predicted)
    areas: Counter[int] = Counter()
    for row in shared.values():
        areas.update(row)
    _check_ids("truth", shared.keys(), [one.id for one in segments])
    _check_ids("prediction", areas.keys(), [one.id for one in regions])

    region_of = {one.id: one for one in regions}
    found: list[Match] = []
    missed: list[PanopticSegment] = []
    for segment in segments:
        if segment.iscrowd:
            continue
        match = _match(segment, shared, areas, region_of)
        if match is None:
            missed.append(segment)
        else:
            found.append(match)
    matched = {match.region.id for match in found}
    unmatched = [region for region in regions if region.id not in matched]
    wrong = [region for region in unmatched if not _is_excused(region, segments, shared, areas)]
    return Matching(tuple(found), tuple(missed), tuple(wrong))


def _match(
    segment: PanopticSegment,
    shared: Mapping[int, Mapping[int, int]],
    areas: Mapping[int, int],
    region_of: Mapping[int, Region],
) -> Match | None:
    """The match of a true segment; None if it has none."""
    row = shared.get(segment.id, {})
    for number, intersection in row.items():
        region = region_of.get(number)
        if region is None or region.category != segment.category:
            continue
        void = shared.get(_VOID, {}).get(number, 0)
        iou = intersection / (sum(row.values()) + areas[number] - intersection - void)
        if iou > 0.5:
            return Match(segment, region, iou)
    return None


def _is_excused(
    region: Region,
    segments: Sequence[PanopticSegment],
    shared: Mapping[int, Mapping[int, int]],
    areas: Mapping[int, int],
) -> bool:
    """Whether more than half of a predicted segment is void, or crowds of its category."""
    crowds = (one.id for one in segments if one.iscrowd and one.category == region.category)
    excused = sum(shared.get(one, {}).get(region.id, 0) for one in (_VOID, *crowds))
    return excused > 0.5 * areas[region.id]


def _overlaps(truth: np.ndarray, predicted: np.ndarray) -> dict[int, dict[int, int]]:
    """Pixels that ids have in common: id in the truth -> predicted id -> pixels, all above 0."""
    pairs, counts = np.unique(truth.astype(np.int64) << 32 | predicted.astype(np.int64), return_counts=True)
    shared: dict[int, dict[int, int]] = {}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        shared.setdefault(pair >> 32, {})[pair & 0xFFFFFFFF] = count
    return shared


def _check_ids(what: str, found: Collection[int], listed: Sequence[int]) -> None:
    unknown = sorted(set(found) - {_VOID, *listed})
    if unknown:
        raise ValueError(f"the {what} has pixels of segment {unknown[0]}, which it does not list")
