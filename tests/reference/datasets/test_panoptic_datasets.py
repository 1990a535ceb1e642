from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from odise_trt.coco_panoptic import encode_ids
from odise_trt.errors import ImageError
from odise_trt.vocabulary import Vocabulary
from reference.datasets import IGNORED, DatasetError, PanopticSegment, open_dataset, overlap_with
from reference.scenes import SCENE_VOCABULARY, make_scene
from tests.reference.datasets.dataset_trees import (
    HEIGHT,
    WIDTH,
    category_rows,
    city_tree,
    coco_tree,
    halves,
    own_tree,
    scripts_json,
    vistas_tree,
    write_array,
    write_json,
    write_picture,
)


def test_coco_ids_become_indices_in_the_order_of_the_ids(tmp_path: Path) -> None:
    coco_tree(tmp_path / "coco")
    dataset = open_dataset("coco", tmp_path)
    assert [dataset.image_id(index) for index in range(len(dataset))] == [5, 9]
    first, second = dataset[0], dataset[1]
    assert first.segments == (PanopticSegment(300, 0), PanopticSegment(70000, 132))
    np.testing.assert_array_equal(first.panoptic, halves(300, 70000))
    np.testing.assert_array_equal(first.semantic, halves(0, 132))
    assert second.segments == (PanopticSegment(7, 0, iscrowd=True),)
    np.testing.assert_array_equal(second.semantic, halves(0, IGNORED))


def test_the_things_of_a_panoptic_map_are_objects_where_there_are_no_others(tmp_path: Path) -> None:
    dataset = open_dataset("coco", coco_tree(tmp_path))
    person, crowd = dataset[0].instances, dataset[1].instances
    assert [(one.category, one.iscrowd) for one in (*person, *crowd)] == [(0, False), (0, True)]
    np.testing.assert_array_equal(person[0].mask, halves(1, 0).astype(bool))


def test_coco_objects_come_from_the_official_json_where_it_lies_beside(tmp_path: Path) -> None:
    coco_tree(tmp_path)
    things = [row for row in _categories(tmp_path) if row["isthing"]]
    polygon = [[0, 0, WIDTH, 0, WIDTH, 2, 0, 2]]
    write_json(
        tmp_path / "annotations" / "instances_val2017.json",
        {
            "images": [{"id": 5}, {"id": 9}],
            "annotations": [
                {"image_id": 5, "category_id": things[79]["id"], "segmentation": polygon, "iscrowd": 0}
            ],
            "categories": things,
        },
    )
    dataset = open_dataset("coco", tmp_path)
    (found,) = dataset[0].instances
    assert found.category == 79
    np.testing.assert_array_equal(
        found.mask, np.repeat([True, False], [2, HEIGHT - 2])[:, None] & np.ones(WIDTH, bool)
    )
    assert dataset[1].instances == ()


def test_captions_join_the_maps_of_the_same_image(tmp_path: Path) -> None:
    coco_tree(tmp_path)
    rows = [
        {"image_id": 5, "caption": " A cat. "},
        {"image_id": 9, "caption": "Many."},
        {"image_id": 5, "caption": "Two."},
    ]
    write_json(tmp_path / "annotations" / "captions_val2017.json", {"annotations": rows})
    dataset = open_dataset("coco-captions", tmp_path)
    assert [dataset[0].captions, dataset[1].captions] == [("A cat.", "Two."), ("Many.",)]
    assert dataset[0].panoptic is not None
    assert open_dataset("coco", tmp_path)[0].captions == ()


def test_scenes_in_the_layout_of_coco_have_the_areas_and_categories_of_their_json(
    tmp_path: Path,
) -> None:
    root, coco = tmp_path / "coco", Vocabulary.preset("coco")
    # Ids with gaps, as COCO's.
    rows = category_rows(coco, 3, 2)
    annotations = []
    for number in (1, 2):
        scene = make_scene(seed=number, height=90, width=120)
        write_array(root / "val2017" / f"{number:012}.jpg", scene.image)
        truth, infos = np.zeros_like(scene.panoptic), []
        for segment in scene.segments:
            name = SCENE_VOCABULARY[segment.category_id].name
            if name in coco.names:
                identity = 4321 * segment.id
                truth[scene.panoptic == segment.id] = identity
                category = rows[coco.names.index(name)]["id"]
                infos.append({"id": identity, "category_id": category, "iscrowd": 0, "area": segment.area})
        write_array(root / "panoptic_val2017" / f"{number:012}.png", encode_ids(truth))
        annotations.append({"image_id": number, "file_name": f"{number:012}.png", "segments_info": infos})
    images = [
        {"id": one["image_id"], "file_name": f"{one['image_id']:012}.jpg", "height": 90, "width": 120}
        for one in annotations
    ]
    data = {"images": images, "annotations": annotations, "categories": rows}
    write_json(root / "annotations" / "panoptic_val2017.json", data)
    dataset = open_dataset("coco", tmp_path)
    assert len(dataset) == 2
    names = {row["id"]: row["name"] for row in rows}
    for index, annotation in enumerate(annotations):
        example = dataset[index]
        assert example.image.shape[:2] == example.panoptic.shape == (90, 120)
        assert len(annotation["segments_info"]) == len(example.segments) >= 4
        for row, found in zip(annotation["segments_info"], example.segments, strict=True):
            assert np.count_nonzero(example.panoptic == found.id) == row["area"]
            assert names[row["category_id"]] in dataset.vocabulary[found.category].names


def test_own_data_brings_its_categories_with_synonyms_in_the_order_of_the_ids(tmp_path: Path) -> None:
    dataset = open_dataset("panoptic", own_tree(tmp_path))
    assert dataset.vocabulary.synonyms == (("cat", "kitten"), ("grass", "lawn", "meadow"))
    assert dataset.vocabulary.isthing == (True, False)
    assert dataset[0].image_id == "one"
    np.testing.assert_array_equal(dataset[0].semantic, halves(0, 1))
    assert open_dataset("coco-panoptic", tmp_path).name == "panoptic"


def test_own_data_may_have_a_folder_per_split_and_captions(tmp_path: Path) -> None:
    own_tree(tmp_path / "train", ("a", "b", "c"))
    own_tree(tmp_path / "val", ("d",))
    write_json(
        tmp_path / "train" / "captions.json", {"annotations": [{"image_id": "b", "caption": "A cat."}]}
    )
    train, val = (open_dataset("panoptic", tmp_path, split) for split in ("train", "val"))
    assert (len(train), len(val)) == (3, 1)
    assert [example.captions for example in (train[0], train[1], val[0])] == [(), ("A cat.",), ()]


def test_the_mistaken_row_is_answered_with_a_good_one(tmp_path: Path) -> None:
    file = own_tree(tmp_path) / "panoptic.json"
    data = json.loads(file.read_text())
    del data["images"][0]["file_name"]
    write_json(file, data)
    with pytest.raises(DatasetError) as caught:
        open_dataset("panoptic", tmp_path)
    assert caught.value.hint == 'write it as {"id": 1, "file_name": "street.jpg"}'


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"image_id": 1, "caption": "A cat."}], r"captions\.json has no caption of any image"),
        ([], "has no caption of any image"),
        ([{"image_id": "one"}], r"caption 0 \(image_id 'one'\) of .*captions\.json has no caption"),
        ([{"image_id": "one", "caption": ["A cat."]}], r"has \['A cat\.'\] as caption, .* a text"),
    ],
)
def test_captions_that_are_not_of_these_images_are_refused(tmp_path: Path, rows, message: str) -> None:
    write_json(own_tree(tmp_path) / "captions.json", {"annotations": rows})
    with pytest.raises(DatasetError, match=message):
        open_dataset("panoptic", tmp_path)


def test_a_missing_split_of_own_data_is_not_replaced_by_the_other(tmp_path: Path) -> None:
    own_tree(tmp_path / "train")
    with pytest.raises(DatasetError, match=r"val/panoptic\.json"):
        open_dataset("panoptic", tmp_path, "val")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["categories"][0].pop("isthing"), "has no isthing"),
        (lambda data: data["categories"][0].update(id=3), "two categories with the id 3"),
        (
            lambda data: data["categories"][0].update(name="cat", synonyms=["kitten"]),
            r"the category 'cat' is there twice: category 1 of .*panoptic\.json, and category 0 of",
        ),
        (lambda data: data["categories"].clear(), "has no categories"),
        (lambda data: data["annotations"][0]["segments_info"][0].update(category_id=99), "category 99"),
        (
            lambda data: data["annotations"][0]["segments_info"][0].update(id=2),
            "two segments with the id 2 .*'one'",
        ),
        (lambda data: data["annotations"][0]["segments_info"][0].update(id=0), "has 0 as id, .* from 1 to"),
        (lambda data: data["annotations"][0].update(image_id="lost"), "the image 'lost'"),
        (lambda data: data.pop("annotations"), "has no annotations"),
        (lambda data: (data["annotations"].clear(), data["images"].clear()), "has no images"),
        (lambda data: data["annotations"].pop(), "no annotation of 1 of its images, the first is 'two'"),
        (lambda data: data["images"].append(data["images"][0]), "two images with the id 'one'"),
        (
            lambda data: data["images"][1].pop("file_name"),
            r"image 1 \(id 'two'\) of .*panoptic\.json has no file_name",
        ),
        (lambda data: data["images"].append("three.jpg"), "image 2 of .* is 'three.jpg'"),
        (lambda data: data["annotations"][1].pop("segments_info"), "annotation 1 .* has no segments_info"),
        (
            lambda data: data["annotations"][0]["segments_info"][1].pop("category_id"),
            r"segment 1 \(id 2\) of annotation 0 \(image_id 'one'\) of .*json has no category_id",
        ),
        (
            lambda data: data["annotations"][0]["segments_info"][0].update(id="1"),
            "has '1' as id, which should be a whole number",
        ),
        (
            lambda data: data["annotations"][0]["segments_info"][0].update(category_id="3"),
            "has '3' as category_id, which should be a whole number",
        ),
        (
            lambda data: data["annotations"][0]["segments_info"][0].update(iscrowd="0"),
            "has '0' as iscrowd, which should be 0, 1, true or false",
        ),
        (
            lambda data: data["categories"][0].update(id="7"),
            r"category 0 \(name 'grass'\) of .* has '7' as id",
        ),
    ],
)
def test_a_json_that_contradicts_itself_is_refused(tmp_path: Path, change, message: str) -> None:
    file = own_tree(tmp_path) / "panoptic.json"
    data = json.loads(file.read_text())
    change(data)
    write_json(file, data)
    with pytest.raises(DatasetError, match=message):
        open_dataset("panoptic", tmp_path)


def test_ids_of_a_map_that_the_json_does_not_know_are_refused(tmp_path: Path) -> None:
    own_tree(tmp_path)
    write_array(tmp_path / "panoptic" / "one.png", encode_ids(halves(1, 900)))
    with pytest.raises(DatasetError, match=r"one\.png has segments that its JSON knows nothing of: 900"):
        open_dataset("panoptic", tmp_path)[0]


def test_a_map_of_another_size_than_its_image_is_refused(tmp_path: Path) -> None:
    own_tree(tmp_path)
    write_picture(tmp_path / "images" / "one.jpg", HEIGHT + 1, WIDTH)
    with pytest.raises(DatasetError, match=r"one\.png is 8 x 6, its image 8 x 7"):
        open_dataset("panoptic", tmp_path)[0]


def test_a_palette_image_is_no_panoptic_map(tmp_path: Path) -> None:
    own_tree(tmp_path)
    write_array(tmp_path / "panoptic" / "one.png", halves(1, 2, np.uint8))
    with pytest.raises(ImageError, match="not RGB"):
        open_dataset("panoptic", tmp_path)[0]


def test_coco_with_other_categories_is_sent_to_own_data(tmp_path: Path) -> None:
    file = coco_tree(tmp_path) / "annotations" / "panoptic_val2017.json"
    data = json.loads(file.read_text())
    data["categories"].pop()
    write_json(file, data)
    with pytest.raises(DatasetError, match="has 132 categories, not 133") as caught:
        open_dataset("coco", tmp_path)
    assert "`panoptic`" in caught.value.hint


def test_the_order_of_rows_in_a_json_means_nothing(tmp_path: Path) -> None:
    file = coco_tree(tmp_path) / "annotations" / "panoptic_val2017.json"
    data = json.loads(file.read_text())
    data["categories"].reverse()
    write_json(file, data)
    assert open_dataset("coco", tmp_path)[0].segments[1] == PanopticSegment(70000, 132)


def test_coco_in_another_order_is_refused(tmp_path: Path) -> None:
    file = coco_tree(tmp_path) / "annotations" / "panoptic_val2017.json"
    data = json.loads(file.read_text())
    for row, name in zip(
        data["categories"], reversed([row["name"] for row in data["categories"]]), strict=True
    ):
        row["name"] = name
    write_json(file, data)
    with pytest.raises(DatasetError, match="in another order"):
        open_dataset("coco", tmp_path)


def test_cityscapes_is_read_from_instance_ids(tmp_path: Path) -> None:
    dataset = open_dataset("cityscapes", city_tree(tmp_path))
    example = dataset[1]
    assert example.image_id == "ulm_000002_000019"
    # Road is category 0, car 13; cars without a number are a group, the hood is nothing.
    assert example.segments == (
        PanopticSegment(7, 0),
        PanopticSegment(26, 13, iscrowd=True),
        PanopticSegment(26003, 13),
    )
    assert example.panoptic[0].tolist() == [7, 7, 26003, 26003, 26, 26, 0, 0]
    assert example.semantic[0].tolist() == [0, 0, 13, 13, 13, 13, IGNORED, IGNORED]


def test_cityscapes_is_read_as_cityscapesscripts_writes_it(tmp_path: Path) -> None:
    direct = [*open_dataset("cityscapes", city_tree(tmp_path))]
    scripts_json(tmp_path)
    shutil.rmtree(tmp_path / "gtFine" / "val")
    dataset = open_dataset("cityscapes", tmp_path)
    assert len(dataset) == 2
    for index in range(2):
        assert all(file.is_file() for file in dataset.files(index))
        assert dataset[index].segments == direct[index].segments
        np.testing.assert_array_equal(dataset[index].panoptic, direct[index].panoptic)


def test_cityscapes_with_train_ids_is_refused(tmp_path: Path) -> None:
    scripts_json(city_tree(tmp_path), train_ids=True)
    with pytest.raises(DatasetError, match="other categories than the 19 of Cityscapes") as caught:
        open_dataset("cityscapes", tmp_path)
    assert "--use-train-id" in caught.value.hint


def test_cityscapes_without_the_maps_of_its_json_says_how_to_make_them(tmp_path: Path) -> None:
    scripts_json(city_tree(tmp_path))
    shutil.rmtree(tmp_path / "gtFine" / "cityscapes_panoptic_val")
    with pytest.raises(DatasetError, match="cityscapes_panoptic_val ") as caught:
        open_dataset("cityscapes", tmp_path)
    assert f"prepare cityscapes {tmp_path} --split val" in caught.value.hint


@pytest.mark.parametrize("version", ["v1.2", "."])
def test_mapillary_brings_its_words_in_its_configuration(tmp_path: Path, version: str) -> None:
    dataset = open_dataset("mapillary", vistas_tree(tmp_path / "mapillary_vistas", version).parent)
    assert dataset.vocabulary.names == ("bird", "lane marking general", "traffic sign front")
    assert dataset.vocabulary.isthing == (True, False, True)
    np.testing.assert_array_equal(dataset[0].semantic, halves(1, 2))


def test_mapillary_without_configuration_takes_the_words_of_its_json(tmp_path: Path) -> None:
    (vistas_tree(tmp_path) / "config_v1.2.json").unlink()
    assert open_dataset("mapillary", tmp_path).vocabulary.names == ("bird", "general", "traffic sign front")


def test_a_configuration_of_another_version_is_refused(tmp_path: Path) -> None:
    file = vistas_tree(tmp_path) / "config_v1.2.json"
    data = json.loads(file.read_text())
    data["labels"].insert(0, {"name": "new", "readable": "New", "instances": False})
    write_json(file, data)
    with pytest.raises(DatasetError, match="does not fit"):
        open_dataset("mapillary", tmp_path)


def test_nothing_but_the_index_is_read_at_opening(tmp_path: Path) -> None:
    own_tree(tmp_path)
    for file in (*(tmp_path / "images").iterdir(), *(tmp_path / "panoptic").iterdir()):
        file.write_bytes(b"no image")
    dataset = open_dataset("panoptic", tmp_path)
    assert len(dataset) == 2
    with pytest.raises(ImageError):
        dataset[0]


def test_an_index_past_the_end_ends_a_loop(tmp_path: Path) -> None:
    assert [example.image_id for example in open_dataset("panoptic", own_tree(tmp_path))] == ["one", "two"]


def test_seen_categories_share_a_name_letter_by_letter() -> None:
    from odise_trt.vocabulary import Vocabulary

    words = Vocabulary.from_data([["kitty", "cat"], ["Cat"], ["unicorn"], ["cats eye"]])
    assert overlap_with(words) == (True, False, False, False)
    assert overlap_with(words, Vocabulary.from_data([["unicorn"]])) == (False, False, True, False)


def _categories(root: Path) -> list[dict]:
    return json.loads((root / "annotations" / "panoptic_val2017.json").read_text())["categories"]
