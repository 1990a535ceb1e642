"""Average precision and recall: worked out by hand, and against pycocotools."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from reference.datasets.example import Federation, Instance
from reference.datasets.run_lengths import decode
from reference.eval.metrics import average_precision
from reference.eval.metrics.average_precision import AveragePrecision, InstanceScores
from reference.eval.prediction import Detection
from reference.eval.rle import encode_mask, mask_area

SIZE = (120, 160)


def box(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def found(category: int, score: float, mask: np.ndarray) -> Detection:
    return Detection(category, score, encode_mask(mask))


FIRST, SECOND, ELSEWHERE = box(0, 0, 50, 50), box(60, 60, 50, 50), box(0, 100, 40, 40)


def test_run_lengths_are_those_of_pycocotools() -> None:
    generator = np.random.default_rng(0)
    for density in (0.0, 0.3, 1.0):
        mask = generator.random((37, 23)) < density
        theirs = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        assert encode_mask(mask) == {"size": theirs["size"], "counts": theirs["counts"].decode()}
        np.testing.assert_array_equal(decode(encode_mask(mask)), mask)
        assert mask_area(encode_mask(mask)) == mask.sum()


def test_a_perfect_prediction_scores_100() -> None:
    precision = AveragePrecision([True, True])
    small, all_of_it = box(100, 0, 10, 10), np.ones(SIZE, dtype=bool)
    precision.add(
        SIZE,
        [Instance(0, FIRST), Instance(1, SECOND), Instance(1, small), Instance(0, all_of_it)],
        [
            found(0, 0.9, FIRST),
            found(1, 0.1, SECOND),
            found(1, 0.2, small),
            found(0, 0.5, all_of_it),
        ],
    )
    result = precision.result()
    assert result.averages.keys() == {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR@100"}
    assert result.averages == pytest.approx(dict.fromkeys(result.averages, 100.0))
    assert result.categories == pytest.approx([100, 100])


def test_a_damaged_prediction_scores_what_one_works_out_by_hand() -> None:
    precision = AveragePrecision([True])
    # 32 of 50 columns of the second object: an overlap of 0.64, enough at 0.50, 0.55 and 0.60.
    part = box(60, 60, 50, 32)
    precision.add(
        SIZE,
        [Instance(0, FIRST), Instance(0, SECOND)],
        [found(0, 0.9, FIRST), found(0, 0.8, ELSEWHERE), found(0, 0.7, part)],
    )
    averages = precision.result().averages
    # Precision is read at recalls 0.00, 0.01 ... 1.00. Up to 0.50 it is 1; from there on 2 of 3 if the part
    # is enough, else 0.
    loose, strict = 100 * (51 + 50 * 2 / 3) / 101, 100 * 51 / 101
    assert averages["AP50"] == pytest.approx(loose)
    assert averages["AP75"] == pytest.approx(strict)
    assert averages["AP"] == pytest.approx((3 * loose + 7 * strict) / 10)
    assert averages["APs"] is None
    assert averages["APm"] == averages["AP"]
    # Recall: both objects at three thresholds, one at seven.
    assert averages["AR@100"] == pytest.approx(65)


def test_recall_does_not_ask_for_the_category_and_takes_a_mask_once() -> None:
    precision = AveragePrecision([True, True])
    # A hundred masks, each listed as both categories: a hundred candidates, the object the last of them.
    candidates = [box(0, one, 1, 1) for one in range(99)] + [FIRST]
    detections = [
        found(category, 1 - 0.001 * number, mask)
        for number, mask in enumerate(candidates)
        for category in (0, 1)
    ]
    precision.add(SIZE, [Instance(0, FIRST)], detections)
    assert precision.result().averages["AR@100"] == 100


def test_a_hundred_and_first_mask_is_not_looked_at() -> None:
    precision = AveragePrecision([True])
    masks = [box(1, one, 1, 1) for one in range(100)] + [FIRST]
    precision.add(
        SIZE, [Instance(0, FIRST)], [found(0, 1 - 0.001 * one, mask) for one, mask in enumerate(masks)]
    )
    assert precision.result().averages["AR@100"] == 0


def test_a_crowd_counts_neither_way() -> None:
    precision = AveragePrecision([True])
    precision.add(
        SIZE,
        [Instance(0, FIRST), Instance(0, SECOND, iscrowd=True)],
        [found(0, 0.9, box(60, 60, 20, 20)), found(0, 0.8, FIRST)],
    )
    assert precision.result().averages["AP"] == pytest.approx(100)


def test_stuff_is_no_object() -> None:
    precision = AveragePrecision([False, True])
    precision.add(SIZE, [Instance(1, FIRST)], [found(0, 0.9, SECOND), found(1, 0.8, FIRST)])
    result = precision.result()
    assert result.averages["AP"] == pytest.approx(100)
    assert result.categories[0] is None


def test_images_without_objects_or_detections_are_fine() -> None:
    precision = AveragePrecision([True])
    precision.add(SIZE, [], [])
    assert set(precision.result().averages.values()) == {None}
    precision.add(SIZE, [Instance(0, FIRST)], [])
    assert precision.result().averages["AP"] == 0
    precision.add((8, 9), [], [Detection(0, 0.9, encode_mask(np.ones((8, 9), bool)))])
    assert precision.result().averages["AR@100"] == 0


def lvis(federation: Federation, *, in_second_image: bool) -> InstanceScores:
    """One rare object, found; and a better-scored detection of nothing."""
    precision = AveragePrecision([True, True], ["r", "f"])
    wrong = found(0, 0.9, ELSEWHERE)
    here = Federation() if in_second_image else federation
    precision.add(
        SIZE, [Instance(0, FIRST)], [found(0, 0.5, FIRST)] + ([] if in_second_image else [wrong]), here
    )
    precision.add(SIZE, [], [wrong] if in_second_image else [], federation)
    return precision.result()


def test_lvis_detections_count_only_where_their_category_was_looked_for() -> None:
    assert lvis(Federation(), in_second_image=True).averages["AP"] == pytest.approx(100)
    # One of two is right, at every recall.
    assert lvis(Federation(absent=frozenset({0})), in_second_image=True).averages["AP"] == pytest.approx(50)
    assert lvis(Federation(absent=frozenset({1})), in_second_image=True).averages["AP"] == pytest.approx(100)


def test_lvis_detections_of_a_category_not_marked_completely_are_not_wrong() -> None:
    assert lvis(Federation(incomplete=frozenset({0})), in_second_image=False).averages["AP"] == pytest.approx(
        100
    )
    assert lvis(Federation(), in_second_image=False).averages["AP"] == pytest.approx(50)


@pytest.mark.parametrize(("category", "expected"), [(0, 100 / 300), (1, 100)])
def test_lvis_looks_at_300_detections_of_an_image_whatever_their_categories(
    category: int, expected: float
) -> None:
    # Better-scored detections of nothing, of the object's own category or of another one, then the object:
    # as the 300th it counts (with a precision of 1 in 300 among its own), as the 301st it does not.
    wrong = [found(category, 1 - 0.001 * one, box(60, one % 160, 1 + one // 160, 1)) for one in range(300)]
    scores = []
    for before in (wrong[:299], wrong):
        precision = AveragePrecision([True, True], ["r", "f"])
        precision.add(
            SIZE, [Instance(0, FIRST)], [*before, found(0, 0.5, FIRST)], Federation(absent=frozenset({1}))
        )
        scores.append(precision.result().categories[0])
    assert scores == pytest.approx([expected, 0])


def test_lvis_has_averages_by_frequency() -> None:
    averages = lvis(Federation(absent=frozenset({0})), in_second_image=True).averages
    assert averages["AP_r"] == pytest.approx(50)
    assert averages["AP_c"] is None
    assert averages["AP_f"] is None


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="a mask of the prediction"):
        AveragePrecision([True]).add((9, 9), [], [found(0, 0.5, FIRST)])
    with pytest.raises(ValueError, match="go together"):
        AveragePrecision([True]).add(SIZE, [], [], Federation())


Scene = tuple[list[Instance], list[Detection]]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Boxes of three categories and all sizes, some crowds; found shifted, missed, doubled, mistaken."""
    generator = np.random.default_rng(1)
    scenes = []
    for _ in range(30):
        truth, detections = [], []
        for _ in range(generator.integers(0, 8)):
            top, left, height, width = generator.integers(0, (80, 110, 100, 110))
            category = int(generator.integers(0, 3))
            mask = box(top, left, height + 3, width + 3)
            truth.append(Instance(category, mask, iscrowd=bool(generator.random() < 0.1)))
            for _ in range(generator.integers(0, 3)):
                shifts = generator.integers(0, 1 + np.array([height, width]) // 5)
                moved = box(top + shifts[0], left + shifts[1], height + 3, width + 3)
                guess = category if generator.random() < 0.8 else int(generator.integers(0, 3))
                detections.append(found(guess, float(generator.random()), moved))
        scenes.append((truth, detections))
    return scenes


def test_it_agrees_with_pycocotools(scenes: list[Scene]) -> None:
    ours = AveragePrecision([True, True, True])
    images, annotations, results = [], [], []
    for number, (truth, detections) in enumerate(scenes, 1):
        ours.add(SIZE, truth, detections)
        images.append({"id": number, "height": SIZE[0], "width": SIZE[1]})
        for one in truth:
            rle = coco_mask.encode(np.asfortranarray(one.mask, dtype=np.uint8))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": one.category + 1,
                    "segmentation": rle,
                    "area": float(coco_mask.area(rle)),
                    "iscrowd": int(one.iscrowd),
                }
            )
        results += [
            {
                "image_id": number,
                "category_id": one.category + 1,
                "segmentation": {**one.mask, "counts": one.mask["counts"].encode()},
                "score": one.score,
            }
            for one in detections
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth_api = COCO()
        truth_api.dataset = {
            "info": {},
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": str(number)} for number in (1, 2, 3)],
        }
        truth_api.createIndex()
        theirs = COCOeval(truth_api, truth_api.loadRes(results), "segm")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    averages = ours.result().averages
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    assert 10 < averages["AP"] < 90
    assert [averages[name] for name in names] == pytest.approx([100 * float(one) for one in theirs.stats[:6]])


def test_categories_taken_a_few_at_a_time_give_the_same(
    scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    precision = AveragePrecision([True, True, True])
    for truth, detections in scenes:
        precision.add(SIZE, truth, detections)
    whole = precision.result()
    monkeypatch.setattr(average_precision, "_LARGEST_TABLE", 2 * len(scenes))
    parts = precision.result()
    assert parts.averages == pytest.approx(whole.averages)
    assert parts.categories == pytest.approx(whole.categories)
