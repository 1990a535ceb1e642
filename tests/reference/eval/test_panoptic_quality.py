"""Panoptic quality: worked out by hand, and against torchmetrics where that knows the rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

# torchmetrics imports torchvision, whose compiled part may not load here: this comes first.
import reference.torchvision_free  # noqa: F401
from reference.datasets.example import PanopticSegment
from reference.eval.metrics.panoptic_quality import PanopticQuality, PanopticScores
from reference.eval.prediction import Region

THING, STUFF = 0, 1


def scores(
    truth: list[list[int]],
    segments: list[PanopticSegment],
    predicted: list[list[int]],
    regions: list[Region],
) -> PanopticScores:
    quality = PanopticQuality([True, False])
    quality.add(np.array(truth), segments, np.array(predicted), regions)
    return quality.result()


def rows(*runs: tuple[int, int]) -> list[list[int]]:
    """One row of ids: (id, length), ..."""
    return [[number for number, length in runs for _ in range(length)]]


def counts(result: PanopticScores, category: int) -> tuple[int, int, int]:
    row = result.categories[category]
    return row["TP"], row["FP"], row["FN"]  # type: ignore[return-value]


def test_a_perfect_prediction_scores_100_whatever_its_ids() -> None:
    segments = [PanopticSegment(1, THING), PanopticSegment(2, THING), PanopticSegment(3, STUFF)]
    regions = [Region(70000, THING), Region(4, THING), Region(9, STUFF)]
    result = scores(rows((1, 5), (2, 6), (3, 9)), segments, rows((70000, 5), (4, 6), (9, 9)), regions)
    assert set(result.averages.values()) == {100.0}


def test_a_damaged_prediction_scores_what_one_works_out_by_hand() -> None:
    # Of the first thing 8 of 10 pixels are found; the second is swallowed by the stuff, 20 of whose 30
    # pixels are right.
    result = scores(
        rows((1, 10), (2, 10), (3, 20)),
        [PanopticSegment(1, THING), PanopticSegment(2, THING), PanopticSegment(3, STUFF)],
        rows((5, 8), (0, 2), (6, 30)),
        [Region(5, THING), Region(6, STUFF)],
    )
    things = {"SQ": 80.0, "RQ": 100 / 1.5, "PQ": 80 / 1.5}
    stuff = {"SQ": 200 / 3, "RQ": 100.0, "PQ": 200 / 3}
    expected = {f"{name}_things": value for name, value in things.items()}
    expected |= {f"{name}_stuff": value for name, value in stuff.items()}
    expected |= {name: (things[name] + stuff[name]) / 2 for name in things}
    assert result.averages == pytest.approx(expected)
    assert counts(result, THING) == (1, 0, 1)
    assert counts(result, STUFF) == (1, 0, 0)


def test_an_overlap_of_exactly_one_half_is_no_match() -> None:
    result = scores(
        rows((1, 10), (2, 10)),
        [PanopticSegment(1, THING), PanopticSegment(2, STUFF)],
        rows((1, 5), (2, 15)),
        [Region(1, THING), Region(2, STUFF)],
    )
    assert counts(result, THING) == (0, 1, 1)
    assert counts(result, STUFF) == (1, 0, 0)  # 10 of 15
    assert result.averages["PQ_things"] == 0


def test_the_right_place_in_the_wrong_category_is_missed_and_wrong() -> None:
    result = scores(rows((1, 9)), [PanopticSegment(1, THING)], rows((1, 9)), [Region(1, STUFF)])
    assert counts(result, THING) == (0, 0, 1)
    assert counts(result, STUFF) == (0, 1, 0)


def test_void_pixels_are_no_part_of_a_union() -> None:
    result = scores(rows((1, 10), (0, 10)), [PanopticSegment(1, THING)], rows((1, 20)), [Region(1, THING)])
    assert result.averages["SQ"] == 100


@pytest.mark.parametrize(("void", "wrong"), [(6, 0), (5, 1)])
def test_a_segment_more_than_half_of_which_is_void_is_not_wrong(void: int, wrong: int) -> None:
    # The other pixels are on stuff, which is found: 30 of 30, less the thing's share.
    result = scores(
        rows((0, void), (2, 30)),
        [PanopticSegment(2, STUFF)],
        rows((1, 10), (2, 20 + void)),
        [Region(1, THING), Region(2, STUFF)],
    )
    assert counts(result, THING) == (0, wrong, 0)
    assert counts(result, STUFF) == (1, 0, 0)


def test_a_crowd_is_neither_missed_nor_does_it_make_its_category_wrong() -> None:
    crowd = [PanopticSegment(1, THING, iscrowd=True)]
    assert counts(scores(rows((1, 10)), crowd, rows((0, 10)), []), THING) == (0, 0, 0)
    inside = scores(rows((1, 10)), crowd, rows((4, 5), (5, 5)), [Region(4, THING), Region(5, STUFF)])
    assert counts(inside, THING) == (0, 0, 0)
    assert counts(inside, STUFF) == (0, 1, 0)


def test_a_crowd_covered_exactly_is_no_match() -> None:
    crowd = [PanopticSegment(1, THING, iscrowd=True)]
    assert counts(scores(rows((1, 10)), crowd, rows((4, 10)), [Region(4, THING)]), THING) == (0, 0, 0)


def test_void_and_crowd_excuse_together() -> None:
    segments = [PanopticSegment(1, THING, iscrowd=True), PanopticSegment(2, STUFF)]
    regions = [Region(1, THING), Region(2, STUFF)]
    result = scores(rows((0, 3), (1, 3), (2, 14)), segments, rows((1, 10), (2, 10)), regions)
    assert counts(result, THING) == (0, 0, 0)
    # Three pixels each would not have been enough: 6 of 13.
    result = scores(rows((0, 3), (1, 3), (2, 24)), segments, rows((1, 13), (2, 17)), regions)
    assert counts(result, THING) == (0, 1, 0)


def test_an_empty_prediction_misses_everything() -> None:
    result = scores(rows((1, 10)), [PanopticSegment(1, THING)], rows((0, 10)), [])
    assert result.averages["PQ"] == 0
    assert counts(result, THING) == (0, 0, 1)


def test_where_the_truth_is_all_void_nothing_is_scored() -> None:
    for predicted, regions in ((rows((0, 10)), []), (rows((1, 10)), [Region(1, THING)])):
        result = scores(rows((0, 10)), [], predicted, regions)
        assert set(result.averages.values()) == {None}
        assert result.categories[THING]["PQ"] is None


def test_a_category_that_no_image_has_is_left_out_of_the_mean() -> None:
    quality = PanopticQuality([True, False, True])
    quality.add(np.ones((2, 2), int), [PanopticSegment(1, 2)], np.ones((2, 2), int), [Region(1, 2)])
    result = quality.result()
    assert result.averages["PQ"] == 100
    assert result.averages["PQ_stuff"] is None
    assert result.categories[0]["PQ"] is None


def test_images_add_up_by_segments_not_by_means() -> None:
    quality = PanopticQuality([True])
    right, none = np.ones((1, 4), int), np.zeros((1, 4), int)
    for predicted, regions in ((right, [Region(1, 0)]), (none, []), (none, [])):
        quality.add(right, [PanopticSegment(1, 0)], predicted, regions)
    # One found, two missed: 1 / (1 + 2 / 2).
    assert quality.result().averages["PQ"] == pytest.approx(50)


def test_maps_that_do_not_belong_together_are_refused() -> None:
    quality = PanopticQuality([True])
    with pytest.raises(ValueError, match="pixels"):
        quality.add(np.zeros((2, 2), int), [], np.zeros((2, 3), int), [])
    with pytest.raises(ValueError, match="the prediction has pixels of segment 3"):
        quality.add(np.zeros((2, 2), int), [], np.full((2, 2), 3), [])
    with pytest.raises(ValueError, match="the truth has pixels of segment 3"):
        quality.add(np.full((2, 2), 3), [], np.zeros((2, 2), int), [])


def random_map(generator: np.random.Generator, like: np.ndarray | None = None) -> np.ndarray:
    """(H, W) of segments 1 to 8 in cells of 6 x 6 pixels, or a map with one cell in four exchanged."""
    cells = generator.integers(1, 9, (8, 8))
    if like is not None:
        cells = np.where(generator.random((8, 8)) < 0.25, cells, like[::6, ::6])
    return cells.repeat(6, axis=0).repeat(6, axis=1)


def test_without_void_and_crowds_it_agrees_with_torchmetrics() -> None:
    from torchmetrics.detection import PanopticQuality as TorchMetricsQuality

    generator = np.random.default_rng(4)
    # Segments 1 to 8: three things of category 0, three of 1, stuff 2 and 3.
    category_of = np.array([-1, 0, 0, 0, 1, 1, 1, 2, 3])
    ours = PanopticQuality([True, True, False, False])
    theirs = TorchMetricsQuality(things={0, 1}, stuffs={2, 3}, return_sq_and_rq=True, return_per_class=True)
    for _ in range(12):
        truth = random_map(generator)
        predicted = random_map(generator, like=truth)
        ours.add(
            truth,
            [PanopticSegment(int(one), int(category_of[one])) for one in np.unique(truth)],
            predicted,
            [Region(int(one), int(category_of[one])) for one in np.unique(predicted)],
        )
        theirs.update(
            *(torch.from_numpy(np.stack([category_of[ids], ids], -1))[None] for ids in (predicted, truth))
        )
    expected = 100 * theirs.compute().numpy()
    result = [[row[name] for name in ("PQ", "SQ", "RQ")] for row in ours.result().categories]
    assert expected.min() > 0
    assert expected.max() < 100
    np.testing.assert_allclose(result, expected, rtol=1e-5)
