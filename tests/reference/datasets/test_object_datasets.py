from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from odise_trt.coco_panoptic import encode_rle
from odise_trt.vocabulary import Vocabulary
from reference.datasets import DatasetError, Federation, open_dataset
from reference.datasets.annotations import decode_segmentation
from tests.reference.datasets.dataset_trees import HEIGHT, WIDTH, category_rows, write_json, write_picture


def lvis_tree(root: Path, split: str = "val") -> Path:
    """Rare, common and frequent in turns; category i has the id i + 1.

    The validation split has an image of each split of COCO, the training split one of COCO's.
    """
    sources = ((21, "train"), (22, "val")) if split == "val" else ((21, "train"),)
    rows = category_rows(Vocabulary.preset("lvis"), 1, 1)
    for index, row in enumerate(rows):
        row["frequency"] = "rcf"[index % 3]
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2:4, 1:3] = True
    images = [
        {
            "id": number,
            "coco_url": f"http://images.cocodataset.org/{source}2017/{number:012d}.jpg",
            "neg_category_ids": [3],
            "not_exhaustive_category_ids": [1203],
        }
        for number, source in sources
    ]
    write_json(
        root / "lvis" / f"lvis_v1_{split}.json",
        {
            "images": images,
            "annotations": [
                {"image_id": 21, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 4, 1, 4]]},
                {"image_id": 21, "category_id": 1203, "segmentation": encode_rle(mask)},
            ],
            "categories": rows,
        },
    )
    for number, source in sources:
        write_picture(root / "coco" / f"{source}2017" / f"{number:012d}.jpg")
    return root


def test_lvis_finds_its_images_in_both_splits_of_coco(tmp_path: Path) -> None:
    dataset = open_dataset("lvis", lvis_tree(tmp_path))
    assert [dataset.files(index)[0].parent.name for index in (0, 1)] == ["train2017", "val2017"]
    first, last = dataset[0].instances
    assert (first.category, last.category) == (0, 1202)
    polygon = np.zeros((HEIGHT, WIDTH), bool)
    polygon[1:4, 1:5] = True
    np.testing.assert_array_equal(first.mask, polygon)
    assert np.argwhere(last.mask).tolist() == [[2, 1], [2, 2], [3, 1], [3, 2]]
    assert dataset[1].instances == ()


@pytest.mark.parametrize("place", ["coco", "."])
def test_lvis_needs_the_folders_of_coco_that_its_images_are_in(tmp_path: Path, place: str) -> None:
    lvis_tree(tmp_path, "train")
    (tmp_path / "coco" / "train2017").rename(tmp_path / place / "train2017")
    dataset = open_dataset("lvis", tmp_path, "train")
    assert dataset.files(0) == (tmp_path / place / "train2017" / "000000000021.jpg",)
    lvis_tree(tmp_path)
    shutil.rmtree(tmp_path / "coco" / "val2017")
    with pytest.raises(DatasetError, match=r"missing:\n.*val2017  \(images of COCO\)"):
        open_dataset("lvis", tmp_path)


def test_lvis_says_what_was_looked_for_and_how_common_it_is(tmp_path: Path) -> None:
    dataset = open_dataset("lvis", lvis_tree(tmp_path))
    assert dataset.frequency[:4] == ("r", "c", "f", "r")
    assert dataset.federation(1) == Federation(absent=frozenset({2}), incomplete=frozenset({1202}))


def test_evaluation_knows_lvis_by_its_frequencies(tmp_path: Path) -> None:
    scores = pytest.importorskip("reference.eval.scores")
    assert isinstance(open_dataset("lvis", lvis_tree(tmp_path)), scores.Federated)


@pytest.mark.parametrize("place", ["uvo", "uvo/FrameSet"])
@pytest.mark.parametrize("frames", ["images", "uvo_videos_sparse_frames"])
def test_uvo_has_objects_without_category(tmp_path: Path, place: str, frames: str) -> None:
    mask = np.eye(HEIGHT, WIDTH, dtype=bool)
    row = {"image_id": 4, "category_id": 17, "segmentation": encode_rle(mask), "iscrowd": 0}
    data = {"images": [{"id": 4, "file_name": "clip_0.jpg"}], "annotations": [row]}
    write_json(tmp_path / place / "UVO_frame_val.json", data)
    write_picture(tmp_path / "uvo" / frames / "clip_0.jpg")
    dataset = open_dataset("uvo", tmp_path)
    assert dataset.vocabulary.names == ("object",)
    (found,) = dataset[0].instances
    assert found.category == 0
    np.testing.assert_array_equal(found.mask, mask)


def test_uvo_without_frames_says_where_to_put_them(tmp_path: Path) -> None:
    data = {"images": [{"id": 4, "file_name": "clip_0.jpg"}], "annotations": []}
    write_json(tmp_path / "uvo" / "UVO_frame_val.json", data)
    with pytest.raises(DatasetError, match=r"clip_0\.jpg") as caught:
        open_dataset("uvo", tmp_path)
    assert "images" in caught.value.hint


def test_masks_are_read_in_all_three_encodings() -> None:
    from pycocotools import mask as coco_mask

    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[1:3, 2:7] = True
    compressed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    as_json = json.loads(json.dumps({"size": compressed["size"], "counts": compressed["counts"].decode()}))
    polygon = [[2.0, 1.0, 7.0, 1.0, 7.0, 3.0, 2.0, 3.0]]
    for segmentation in (as_json, encode_rle(mask), polygon):
        np.testing.assert_array_equal(decode_segmentation(segmentation, HEIGHT, WIDTH), mask)


def test_a_polygon_of_two_corners_is_nothing() -> None:
    assert not decode_segmentation([[0, 0, 5, 5]], HEIGHT, WIDTH).any()


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(DatasetError, match="8 x 6, its image 8 x 7"):
        decode_segmentation(encode_rle(np.ones((HEIGHT, WIDTH), bool)), HEIGHT + 1, WIDTH)
