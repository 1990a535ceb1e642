"""Data as annotation programs write it: what is right is read without a word, what is wrong is explained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from odise_trt.coco_panoptic import encode_ids
from odise_trt.errors import ImageError
from reference.datasets import DatasetError, open_dataset
from reference.datasets.json_rows import RowForm, Value
from reference.datasets.verify import verify
from tests.reference.datasets.dataset_trees import HEIGHT, WIDTH, city_tree, halves, own_tree, write_json

#: Keys that other programs write beside ours, and values that they leave open.
_EXTRA: dict[str, dict[str, Any]] = {
    "images": {"license": 1, "flickr_url": None, "date_captured": 0, "height": None, "width": None},
    "annotations": {"id": 5, "area": None, "attributes": {"occluded": False}},
    "segments_info": {"area": 24.0, "bbox": [0.5, 0, 4, 6.0], "iscrowd": None, "score": 0.5},
    "categories": {"supercategory": None, "color": [1, 2, 3], "keypoints": []},
}
_NUMBERS = ("id", "image_id", "category_id", "isthing", "iscrowd")


def as_floats(value: Any) -> Any:
    """Ids and flags as pandas writes them: 1.0."""
    if isinstance(value, list):
        return [as_floats(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: float(one) if key in _NUMBERS and isinstance(one, int) else as_floats(one)
        for key, one in value.items()
    }


def with_extra_keys(data: Any) -> Any:
    for key in ("images", "annotations", "categories"):
        for row in data[key]:
            row.update(_EXTRA[key])
            for one in row.get("segments_info", ()):
                one.update(_EXTRA["segments_info"])
    return {"info": {"year": 2026}, "licenses": [{"id": 1, "url": None}], **data}


def with_truth_values(data: Any) -> Any:
    for row in data["categories"]:
        row["isthing"] = bool(row["isthing"])
    return data


def with_numbers(data: Any) -> Any:
    for number, row in enumerate(data["images"], 1):
        row["id"] = number
    for number, row in enumerate(data["annotations"], 1):
        row["image_id"] = number
    return data


@pytest.mark.parametrize(
    "written",
    [
        with_extra_keys,
        with_truth_values,
        lambda data: as_floats(with_numbers(data)),
        lambda data: as_floats(with_extra_keys(with_numbers(data))),
    ],
)
def test_a_json_as_other_programs_write_it_is_read_without_a_word(
    tmp_path: Path, written: Callable[[Any], Any]
) -> None:
    file = own_tree(tmp_path) / "panoptic.json"
    before = open_dataset("panoptic", tmp_path)
    write_json(file, written(json.loads(file.read_text())))
    report = verify("panoptic", tmp_path)
    assert (report.images, report.notes, report.found["segments"]) == (2, (), 4)
    after = open_dataset("panoptic", tmp_path)
    assert (after.vocabulary, after.category_ids) == (before.vocabulary, before.category_ids)
    assert after[0].segments == before[0].segments
    # 1.0 would be another name of a file than 1.
    assert {type(after.image_id(index)) for index in range(2)} <= {int, str}
    assert set(map(type, after.category_ids or ())) == {int}


def test_captions_with_ids_of_pandas_are_those_of_the_pictures(tmp_path: Path) -> None:
    file = own_tree(tmp_path) / "panoptic.json"
    write_json(file, with_numbers(json.loads(file.read_text())))
    write_json(tmp_path / "captions.json", {"annotations": [{"image_id": 1.0, "caption": "A cat."}]})
    assert open_dataset("panoptic", tmp_path)[0].captions == ("A cat.",)


@given(st.one_of(st.floats(), st.integers(-5, 1 << 70).map(float)))
@settings(max_examples=200)
def test_a_float_is_a_whole_number_or_refused(value: float) -> None:
    form = RowForm("row", {"id": Value("a whole number", lambda one: type(one) is int and one >= 0)}, "{}")
    row: dict[str, Any] = {"id": value}
    try:
        form.check(row, "x.json")
    except DatasetError:
        assert not (value >= 0 and value.is_integer())
    else:
        assert type(row["id"]) is int
        assert row["id"] == value


@pytest.mark.parametrize(
    "outlines", [{"segmentation": [[0, 0, 4, 0, 4, 4]], "category_id": 3}, {"bbox": [0, 0, 4, 4]}]
)
def test_a_json_of_outlines_is_called_what_it_is(tmp_path: Path, outlines: dict[str, Any]) -> None:
    file = own_tree(tmp_path) / "panoptic.json"
    data = json.loads(file.read_text())
    write_json(file, data | {"annotations": [{"id": 1, "image_id": "one", **outlines}]})
    with pytest.raises(DatasetError, match="has no file_name, segments_info") as caught:
        open_dataset("panoptic", tmp_path)
    assert "COCO's instance format" in str(caught.value.hint)


def opaque(picture: Image.Image) -> Image.Image:
    return picture.convert("RGBA")


def transparent(picture: Image.Image) -> Image.Image:
    picture.putalpha(0)
    return picture


def shrunk(picture: Image.Image) -> Image.Image:
    """As optipng saves a picture of few colours."""
    return picture.quantize(16, dither=Image.Dither.NONE)


@pytest.mark.parametrize(
    ("change", "suffix", "options"),
    [
        (opaque, ".png", {}),
        (transparent, ".png", {}),
        (shrunk, ".png", {}),
        (shrunk, ".png", {"transparency": 0}),
        (shrunk, ".png", {"transparency": b"\0\x80"}),
        (shrunk, ".gif", {}),
        (Image.Image.copy, ".bmp", {}),
        (Image.Image.copy, ".tif", {}),
        (Image.Image.copy, ".webp", {"lossless": True}),
    ],
)
def test_a_map_that_keeps_its_colours_is_read(
    tmp_path: Path, change: Callable[[Image.Image], Image.Image], suffix: str, options: dict[str, Any]
) -> None:
    file = own_tree(tmp_path, ("one",)) / "panoptic.json"
    file.write_text(file.read_text().replace("one.png", f"one{suffix}"))
    png = tmp_path / "panoptic" / "one.png"
    with Image.open(png) as picture:
        changed = change(picture.copy())
    png.unlink()
    changed.save(png.with_suffix(suffix), **options)
    example = open_dataset("panoptic", tmp_path)[0]
    assert example.panoptic is not None
    assert example.panoptic.tolist() == halves(1, 2).tolist()


IDS = encode_ids(halves(1, 2))


@pytest.mark.parametrize(
    ("pixels", "hint"),
    [
        (halves(1, 2, np.uint8), "odise_trt.coco_panoptic.encode_ids makes such pixels"),
        (halves(1, 2, np.uint16), "odise_trt.coco_panoptic.encode_ids makes such pixels"),
        (halves(0, 1, np.uint8).astype(bool), "odise_trt.coco_panoptic.encode_ids makes such pixels"),
        (np.ascontiguousarray(IDS[..., ::-1]), "red and blue are exchanged, as OpenCV writes pictures"),
        (np.repeat(halves(1, 2, np.uint8)[..., None], 3, axis=2), "its pixels are gray"),
        (encode_ids(halves(1, 5)), "list them under `segments_info`"),
    ],
)
def test_a_map_that_was_written_otherwise_is_explained(tmp_path: Path, pixels: np.ndarray, hint: str) -> None:
    Image.fromarray(pixels).save(own_tree(tmp_path) / "panoptic" / "one.png")
    with pytest.raises((ImageError, DatasetError)) as caught:
        open_dataset("panoptic", tmp_path)[0]
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(("format_", "options"), [("JPEG", {}), ("WEBP", {"quality": 90}), ("AVIF", {})])
def test_a_map_whose_format_changes_ids_is_refused_whatever_its_name(
    tmp_path: Path, format_: str, options: dict[str, Any]
) -> None:
    if format_ not in Image.registered_extensions().values():
        pytest.skip(f"this Pillow was built without {format_}")
    Image.fromarray(IDS).save(own_tree(tmp_path) / "panoptic" / "one.png", format=format_, **options)
    with pytest.raises(ImageError, match="changes the ids"):
        open_dataset("panoptic", tmp_path)[0]


def test_what_systems_leave_in_folders_is_no_part_of_a_dataset(tmp_path: Path) -> None:
    own = own_tree(tmp_path / "own")
    for place in ("images", "panoptic", ""):
        for name in (".DS_Store", "._one.jpg", "._one.png", "Thumbs.db", "desktop.ini"):
            (own / place / name).write_bytes(b"\0\5\x16\7")
    (own / "__MACOSX").mkdir()
    assert verify("panoptic", own).notes == ()
    cities = city_tree(tmp_path / "cityscapes")
    for file in list(cities.glob("*/val/*/*.png")):
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7")
    assert verify("cityscapes", cities).images == 2


def test_both_sizes_of_a_picture_are_those_of_the_files_not_of_the_json(tmp_path: Path) -> None:
    file = own_tree(tmp_path) / "panoptic.json"
    data = json.loads(file.read_text())
    data["images"][0] |= {"height": WIDTH * 7, "width": HEIGHT * 9}
    write_json(file, data)
    assert verify("panoptic", tmp_path).notes == ()
