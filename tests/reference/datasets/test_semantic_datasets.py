from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from odise_trt.errors import ImageError
from reference.datasets import IGNORED, DatasetError, open_dataset
from tests.reference.datasets.dataset_trees import (
    HEIGHT,
    WIDTH,
    ade_tree,
    halves,
    voc_tree,
    write_array,
    write_picture,
)


def test_ade847_reads_sixteen_bit_maps(tmp_path: Path) -> None:
    root = tmp_path / "ADE20K_2021_17_01"
    write_picture(root / "images_detectron2" / "validation" / "ADE_val_1.jpg")
    write_array(
        root / "annotations_detectron2" / "validation" / "ADE_val_1.tif", halves(846, 65535, np.uint16)
    )
    dataset = open_dataset("ade847", tmp_path)
    example = dataset[0]
    assert (len(dataset), example.image_id, len(dataset.vocabulary)) == (1, "ADE_val_1", 847)
    np.testing.assert_array_equal(example.semantic, halves(846, IGNORED))
    assert example.panoptic is None
    assert example.instances is None


@pytest.mark.parametrize(
    ("name", "folder", "suffix", "dtype", "none"),
    [
        ("pc59", "pascal_ctx_d2/annotations_ctx59", ".png", np.uint8, 255),
        ("pc459", "pascal_ctx_d2/annotations_ctx459", ".tif", np.uint16, 65535),
        ("voc21", "pascal_voc_d2/annotations_pascal21", ".png", np.uint8, 255),
    ],
)
def test_pascal_is_read_by_split(
    tmp_path: Path, name: str, folder: str, suffix: str, dtype: type, none: int
) -> None:
    root = tmp_path / folder.split("/", maxsplit=1)[0]
    for split, value in (("training", 3), ("validation", 4)):
        write_picture(root / "images" / split / "x.jpg")
        write_array(tmp_path / folder / split / f"x{suffix}", halves(value, none, dtype))
    np.testing.assert_array_equal(open_dataset(name, tmp_path)[0].semantic, halves(4, IGNORED))
    np.testing.assert_array_equal(open_dataset(name, tmp_path, "train")[0].semantic, halves(3, IGNORED))


@pytest.mark.parametrize(
    ("name", "year", "folder", "suffix", "dtype", "none"),
    [
        ("pc59", "VOC2010", "pc59_val", ".png", np.uint8, 255),
        ("pc459", "VOC2010", "pc459_val", ".tif", np.uint16, 65535),
        ("voc21", "VOC2012", "pascal21_val", ".png", np.uint8, 255),
    ],
)
def test_pascal_is_read_inside_of_vocdevkit(
    tmp_path: Path, name: str, year: str, folder: str, suffix: str, dtype: type, none: int
) -> None:
    root = voc_tree(tmp_path, year)
    write_array(root / "annotations_detectron2" / folder / f"b{suffix}", halves(2, none, dtype))
    for path in (tmp_path, tmp_path / "VOCdevkit", root):
        dataset = open_dataset(name, path)
        assert [dataset.image_id(index) for index in range(len(dataset))] == ["b"]
        np.testing.assert_array_equal(dataset[0].semantic, halves(2, IGNORED))


def test_an_empty_folder_by_split_does_not_hide_what_prepare_makes(tmp_path: Path) -> None:
    root = voc_tree(tmp_path, "VOC2010")
    write_array(root / "annotations_detectron2" / "pc59_val" / "b.png", halves(2, 255, np.uint8))
    (tmp_path / "pascal_ctx_d2" / "annotations_ctx59" / "validation").mkdir(parents=True)
    (tmp_path / "VOCdevkit").rename(tmp_path / "pascal_ctx_d2" / "VOCdevkit")
    assert len(open_dataset("pc59", tmp_path / "pascal_ctx_d2")) == 1


def test_voc_needs_no_preparation(tmp_path: Path) -> None:
    from PIL import Image

    root = voc_tree(tmp_path, "VOC2012")
    palette = Image.fromarray(halves(0, 20, np.uint8)).convert("P")
    palette.putdata([0, 20, 255, 7, 0, 0, 0, 0] * HEIGHT)
    (root / "SegmentationClass").mkdir()
    palette.save(root / "SegmentationClass" / "b.png")
    dataset = open_dataset("voc21", tmp_path)
    assert dataset.vocabulary[20].name.startswith("tv")
    assert dataset[0].semantic.tolist() == [[0, 20, IGNORED, 7, 0, 0, 0, 0]] * HEIGHT


def test_a_list_of_names_that_windows_saved_is_read(tmp_path: Path) -> None:
    root = voc_tree(tmp_path, "VOC2012")
    write_array(root / "SegmentationClass" / "b.png", halves(0, 20, np.uint8))
    (root / "ImageSets" / "Segmentation" / "val.txt").write_bytes(b"\xef\xbb\xbfb\r\n\r\n")
    assert open_dataset("voc21", tmp_path)[0].image_id == "b"


def test_labels_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    root = voc_tree(tmp_path, "VOC2010")
    write_array(root / "annotations_detectron2" / "pc59_val" / "b.png", halves(58, 59, np.uint8))
    with pytest.raises(DatasetError, match="labels that are no category: 59"):
        open_dataset("pc59", tmp_path)[0]


def test_a_colour_picture_is_no_label_image(tmp_path: Path) -> None:
    root = voc_tree(tmp_path, "VOC2010")
    write_picture(root / "annotations_detectron2" / "pc59_val" / "b.png")
    with pytest.raises(ImageError, match="no label image"):
        open_dataset("pc59", tmp_path)[0]


def test_ade150_without_panoptic_maps_says_how_to_make_them(tmp_path: Path) -> None:
    ade_tree(tmp_path / "ADEChallengeData2016")
    with pytest.raises(DatasetError, match=r"ade20k_panoptic_val\.json") as caught:
        open_dataset("ade150", tmp_path)
    assert "prepare ade150" in caught.value.hint


def test_unknown_names_and_splits_are_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        open_dataset("coko", tmp_path)
    assert "ade150" in caught.value.hint
    with pytest.raises(DatasetError, match="no split 'test'"):
        open_dataset("coco", tmp_path, "test")
    with pytest.raises(DatasetError, match="is not a folder"):
        open_dataset("coco", tmp_path / "nowhere")


def test_the_size_of_a_label_image_is_checked(tmp_path: Path) -> None:
    root = voc_tree(tmp_path, "VOC2010")
    write_array(root / "annotations_detectron2" / "pc59_val" / "b.png", np.zeros((WIDTH, HEIGHT), np.uint8))
    with pytest.raises(DatasetError, match="is 6 x 8, its image 8 x 6"):
        open_dataset("pc59", tmp_path)[0]
