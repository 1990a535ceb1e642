"""Files are COCO's panoptic format, as its own files and its documentation have it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from odise_trt.coco_panoptic import (
    decode_ids,
    decode_rle,
    encode_ids,
    encode_rle,
    read_ids,
    segment_row,
    to_json,
)
from odise_trt.errors import ImageError, OutputError
from odise_trt.result import Result
from odise_trt.segments import Instance, Segment
from odise_trt.vocabulary import Category, Vocabulary
from reference.scenes import make_scene

VOCABULARY = Vocabulary((Category(("sky",), False), Category(("purse", "handbag")), Category(("猫",))))
IMAGE = np.full((3, 4, 3), 90, np.uint8)
PANOPTIC = np.array([[1, 1, 1, 1], [2, 2, 0, 7], [2, 2, 7, 7]], np.int32)
SEGMENTS = (
    Segment(1, 0, "sky", False, 0.5, 4, (0, 0, 4, 1)),
    Segment(2, 1, "purse", True, 0.25, 4, (0, 1, 2, 2)),
    Segment(7, 2, "猫", True, 0.75, 3, (2, 1, 2, 2)),
)


def panoptic_result() -> Result:
    return Result(
        IMAGE,
        VOCABULARY,
        panoptic=PANOPTIC,
        segments=SEGMENTS,
        timings={"features": 0.5},
        provenance={"bundle": "demo-x", "preset": "demo", "seeded": True},
    )


def instance_result() -> Result:
    left, right = np.zeros((2, 3, 4), bool)
    left[:, :3], right[1:, 2:] = True, True
    best = Instance(1, "purse", 0.9, right, 4, (2, 1, 2, 2))
    return Result(IMAGE, VOCABULARY, instances=[best, Instance(2, "猫", 0.5, left, 9, (0, 0, 3, 3))])


def test_the_areas_of_a_file_are_those_of_the_segments_that_were_drawn(tmp_path: Path) -> None:
    scene = make_scene(seed=3, height=96, width=130)
    # Ids as COCO has them: of colours, so that most are beyond 65536.
    ids = {segment.id: 7_000_003 * segment.id % (1 << 24) for segment in scene.segments}
    red_green_blue = np.zeros((96, 130, 3), np.uint8)
    for number, identity in ids.items():
        red_green_blue[scene.panoptic == number] = (identity % 256, identity // 256 % 256, identity // 65536)
    Image.fromarray(red_green_blue).save(tmp_path / "scene.png")
    read = read_ids(tmp_path / "scene.png")
    found = np.unique(read[read > 0], return_counts=True)
    expected = {ids[number]: np.count_nonzero(scene.panoptic == number) for number in ids}
    assert max(expected) > 65536
    assert dict(zip(*found, strict=True)) == expected


def test_an_id_is_red_plus_256_green_plus_65536_blue() -> None:
    assert encode_ids(np.array([[5 + 256 * 7 + 65536 * 9]])).tolist() == [[[5, 7, 9]]]
    with pytest.raises(ValueError, match="ids must be"):
        encode_ids(np.array([[1 << 24]]))


@given(arrays.arrays(np.int32, (5, 3), elements=st.integers(0, (1 << 24) - 1)))
def test_ids_survive_the_png_encoding(ids: np.ndarray) -> None:
    assert np.array_equal(decode_ids(encode_ids(ids)), ids)


def test_run_lengths_go_down_the_columns_and_begin_with_zeros() -> None:
    # Columns: 0 1 | 1 1 | 1 0, so one zero, four ones, one zero.
    mask = np.array([[0, 1, 1], [1, 1, 0]], bool)
    assert encode_rle(mask) == {"size": [2, 3], "counts": [1, 4, 1]}
    assert encode_rle(~mask) == {"size": [2, 3], "counts": [0, 1, 4, 1]}
    assert encode_rle(np.zeros((2, 3), bool)) == {"size": [2, 3], "counts": [6]}


@given(arrays.arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_masks_survive_run_length_encoding(mask: np.ndarray) -> None:
    rle = encode_rle(mask)
    assert sum(rle["counts"]) == mask.size
    assert 0 not in rle["counts"][1:]
    assert np.array_equal(decode_rle(rle), mask)


def test_the_written_map_and_the_written_segments_agree(tmp_path: Path) -> None:
    _, png, about = panoptic_result().save(tmp_path, "photo", "photo.jpg")
    data = json.loads(about.read_text(encoding="utf-8"))
    ids = read_ids(png)
    assert np.array_equal(ids, PANOPTIC)
    (annotation,), (image,) = data["annotations"], data["images"]
    assert annotation["file_name"] == png.name
    assert annotation["image_id"] == image["id"] == "photo"
    assert (image["file_name"], image["height"], image["width"]) == ("photo.jpg", 3, 4)
    rows = annotation["segments_info"]
    assert {row["id"] for row in rows} == set(np.unique(ids)) - {0}
    names = {row["id"]: row["name"] for row in data["categories"]}
    for row, segment in zip(rows, SEGMENTS, strict=True):
        mask = ids == row["id"]
        y, x = np.nonzero(mask)
        assert row["area"] == mask.sum()
        assert row["bbox"] == [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]
        assert names[row["category_id"]] == segment.name
        assert (row["iscrowd"], row["score"]) == (0, segment.score)


def test_category_ids_in_files_begin_at_one_since_zero_is_void() -> None:
    rows = to_json(panoptic_result(), "photo")["categories"]
    assert [(row["id"], row["name"], row["isthing"]) for row in rows] == [
        (1, "sky", 0),
        (2, "purse", 1),
        (3, "猫", 1),
    ]


def test_the_json_says_what_made_it_and_how_long_it_took() -> None:
    info = to_json(panoptic_result(), "photo")["info"]
    assert info["task"] == "panoptic"
    assert (info["bundle"], info["preset"], info["seeded"]) == ("demo-x", "demo", True)
    assert info["timings"] == {"features": 0.5}


def test_a_number_as_name_is_the_image_id_as_in_coco() -> None:
    assert to_json(panoptic_result(), "000000142238")["images"][0]["id"] == 142238


def test_the_written_json_is_a_vocabulary(tmp_path: Path) -> None:
    _, _, about = panoptic_result().save(tmp_path, "photo")
    assert Vocabulary.parse(about) == VOCABULARY


def test_the_written_json_keeps_categories_of_one_name_and_names_with_commas(tmp_path: Path) -> None:
    kitty = Category(("Hello, Kitty", "bow, ribbon"), isthing=False)
    vocabulary = Vocabulary((*Vocabulary.preset("ade847"), kitty))
    _, _, about = replace(panoptic_result(), vocabulary=vocabulary).save(tmp_path, "photo")
    assert Vocabulary.parse(about) == vocabulary


def test_a_semantic_map_has_the_category_id_of_every_pixel(tmp_path: Path) -> None:
    semantic = np.array([[0, 0, 2, -1]] * 3, np.int32)
    _, png, about = Result(IMAGE, VOCABULARY, semantic=semantic).save(tmp_path, "photo")
    assert read_ids(png).tolist() == [[1, 1, 3, 0]] * 3
    rows = json.loads(about.read_text(encoding="utf-8"))["annotations"][0]["segments_info"]
    assert [(r["id"], r["category_id"], r["area"], r["bbox"]) for r in rows] == [
        (1, 1, 6, [0, 0, 2, 3]),
        (3, 3, 3, [2, 0, 1, 3]),
    ]


def test_instances_keep_their_whole_masks_and_the_best_is_on_top_of_the_map(tmp_path: Path) -> None:
    result = instance_result()
    assert result.id_map().tolist() == [[2, 2, 2, 0], [2, 2, 1, 1], [2, 2, 1, 1]]
    _, _, about = result.save(tmp_path, "photo")
    rows = json.loads(about.read_text(encoding="utf-8"))["annotations"]
    assert [row["category_id"] for row in rows] == [2, 3]
    assert [row["score"] for row in rows] == [0.9, 0.5]
    assert rows[1]["segmentation"] == {"size": [3, 4], "counts": [0, 9, 3]}
    assert decode_rle(rows[0]["segmentation"])[1:, 2:].all()
    assert [row["area"] for row in rows] == [4, 9]


def test_a_place_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="not a folder"):
        panoptic_result().save(tmp_path / "file", "photo")
    # A folder that has the name of the last file: the first two must not appear either.
    (tmp_path / "out" / "photo.json").mkdir(parents=True)
    (tmp_path / "out" / "photo.json" / "content").touch()
    with pytest.raises(OutputError, match=r"photo\.json"):
        panoptic_result().save(tmp_path / "out", "photo")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.json"]


@pytest.mark.parametrize("name", ["../photo", "a/b", "a\0b"])
def test_a_name_cannot_lead_out_of_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not a file name"):
        panoptic_result().save(tmp_path, name)


def test_an_empty_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="empty"):
        panoptic_result().save(tmp_path, "")


def test_a_picture_that_is_no_map_is_refused(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "gray.png")
    with pytest.raises(ImageError, match="no panoptic map"):
        read_ids(tmp_path / "gray.png")


def test_a_row_about_a_segment_has_its_area_and_box() -> None:
    mask = np.zeros((5, 7), bool)
    mask[1, 2] = mask[3, 5] = True
    assert segment_row(4, 9, mask, iscrowd=True) == {
        "id": 4,
        "category_id": 9,
        "area": 2,
        "bbox": [2, 1, 4, 3],
        "iscrowd": 1,
    }
