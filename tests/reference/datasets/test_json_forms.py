"""Whatever stands in the JSON of a dataset: it is read, or one error names the file."""

from __future__ import annotations

import copy
import gzip
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_object_datasets import lvis_tree

from odise_trt.errors import ImageError, OdiseError
from odise_trt.vocabulary import Vocabulary
from reference.datasets import DatasetError, open_dataset
from reference.datasets.cli import app
from reference.datasets.forms import OBJECT
from reference.datasets.json_rows import read_json
from reference.datasets.needs import is_file
from reference.datasets.run_lengths import is_run_lengths
from reference.datasets.verify import verify
from tests.door import call
from tests.reference.datasets.dataset_trees import (
    HEIGHT,
    WIDTH,
    city_tree,
    coco_tree,
    own_tree,
    scripts_json,
    vistas_tree,
    write_json,
    write_picture,
)

CAPTIONS = {"annotations": [{"id": 1, "image_id": "one", "caption": "A cat."}]}
RLE = {"size": [HEIGHT, WIDTH], "counts": [0, 3, HEIGHT * WIDTH - 3]}
#: What people and programs write instead of what belongs somewhere.
OTHERS: list[Any] = [
    None,
    True,
    7,
    -1,
    0,
    1.0,
    10**30,
    float("nan"),
    float("inf"),
    "",
    " ",
    "cats,,kitten",
    "../x.png",
    "/x.png",
    "\ud83d",
    "a\0b",
    [],
    ["cats", 7],
    [None],
    [[1, 2, 3]],
    {},
    {"a": 1},
    {"size": [2, 3], "counts": "9999"},
]


def uvo_tree(root: Path) -> Path:
    row = {"image_id": 4, "segmentation": RLE, "iscrowd": 0}
    data = {"images": [{"id": 4, "file_name": "clip_0.jpg"}], "annotations": [row]}
    write_json(root / "uvo" / "UVO_frame_val.json", data)
    write_picture(root / "uvo" / "images" / "clip_0.jpg")
    return root


def own_tree_with_captions(root: Path) -> Path:
    write_json(own_tree(root) / "captions.json", CAPTIONS)
    return root


def coco_tree_with_objects(root: Path) -> Path:
    things = json.loads((coco_tree(root) / "annotations" / "panoptic_val2017.json").read_text())
    rows = [
        {"image_id": 5, "category_id": 10, "segmentation": [[0, 0, 4, 0, 4, 4]], "iscrowd": 0},
        {"image_id": 9, "category_id": 10, "segmentation": RLE, "iscrowd": 1},
    ]
    categories = [row for row in things["categories"] if row["isthing"]]
    data = {"images": [{"id": 5}, {"id": 9}], "annotations": rows, "categories": categories}
    write_json(root / "annotations" / "instances_val2017.json", data)
    return root


def city_tree_with_json(root: Path) -> Path:
    scripts_json(city_tree(root))
    return root


FILES: list[tuple[str, Callable[[Path], Path], str, int]] = [
    ("panoptic", own_tree_with_captions, "panoptic.json", 400),
    ("panoptic", own_tree_with_captions, "captions.json", 100),
    ("coco", coco_tree_with_objects, "annotations/instances_val2017.json", 100),
    ("uvo", uvo_tree, "uvo/UVO_frame_val.json", 200),
    ("lvis", lvis_tree, "lvis/lvis_v1_val.json", 60),
    ("cityscapes", city_tree_with_json, "gtFine/cityscapes_panoptic_val.json", 100),
    ("mapillary", vistas_tree, "validation/v1.2/panoptic/panoptic_2018.json", 100),
    ("mapillary", vistas_tree, "config_v1.2.json", 50),
]


def places(data: Any, deepest: int = 6) -> Iterator[tuple[Any, Any]]:
    """Every list or object of a JSON with each of its keys."""
    keys = data.keys() if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    for key in keys:
        yield data, key
        if deepest:
            yield from places(data[key], deepest - 1)


@pytest.mark.parametrize(("name", "tree", "file", "count"), FILES)
def test_a_value_of_another_type_is_read_or_one_error_names_the_file(
    tmp_path: Path, name: str, tree: Callable[[Path], Path], file: str, count: int
) -> None:
    path = tree(tmp_path) / file
    good = json.loads(path.read_text())
    chance, refused = random.Random(7), 0
    for _ in range(count):
        data = copy.deepcopy(good)
        # Lists of many categories alike: the first few stand for all.
        container, key = chance.choice(
            [one for one in places(data) if not isinstance(one[1], int) or one[1] < 3]
        )
        if chance.random() < 0.1:
            del container[key]
        else:
            container[key] = chance.choice(OTHERS)
        path.write_text(json.dumps(data))
        error = error_of(name, tmp_path)
        if error is not None:
            refused += 1
            assert path.name in error or ".png" in error, error
            assert len(error) < 2000
    assert refused > count / 4


def error_of(name: str, root: Path) -> str | None:
    """The typed error of reading a whole dataset; None: it was read."""
    try:
        dataset = open_dataset(name, root)
        for index in range(len(dataset)):
            if all(map(is_file, dataset.files(index))):
                assert dataset[index].image is not None
    except (DatasetError, ImageError) as error:
        return str(error)
    return None


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
@pytest.mark.parametrize("value", [None, 3, "x", {}, True])
def test_what_is_no_list_is_refused_with_an_example(tmp_path: Path, key: str, value: Any) -> None:
    file = own_tree(tmp_path) / "panoptic.json"
    write_json(file, {**json.loads(file.read_text()), key: value})
    with pytest.raises(DatasetError, match=f"has .* as {key}, which should be a list") as caught:
        open_dataset("panoptic", tmp_path)
    assert 'write it as [{"' in caught.value.hint


@pytest.mark.parametrize(
    "synonyms",
    [7, True, ["cats", 7], [None], {"a": 1}, " ", "cats,,kitten", "cats,", [""], ["\ud83d"], ["\u200b"]],
)
def test_synonyms_that_are_none_are_refused_with_their_place(tmp_path: Path, synonyms: Any) -> None:
    file = own_tree(tmp_path) / "panoptic.json"
    data = json.loads(file.read_text())
    data["categories"][1]["synonyms"] = synonyms
    write_json(file, data)
    done = call(app, "verify", "panoptic", tmp_path)
    assert (done.status, done.stderr.count("DatasetError")) == (1, 1)
    assert re.search(rf"category 1 (\(name 'cat'\) )?of {file}", done.stderr)


@pytest.mark.parametrize("key", ["synonyms", "names"])
@pytest.mark.parametrize("given", [None, "", [], ["cat"], "cat", "cat, kitten", ["kitten", "cat"]])
def test_the_words_of_a_category_are_those_that_a_vocabulary_reads(
    tmp_path: Path, key: str, given: Any
) -> None:
    file = own_tree(tmp_path) / "panoptic.json"
    data = json.loads(file.read_text())
    del data["categories"][1]["synonyms"]
    data["categories"][1][key] = given
    data["categories"].sort(key=lambda row: row["id"])
    write_json(file, data)
    assert open_dataset("panoptic", tmp_path).vocabulary == Vocabulary.parse(file)


@pytest.mark.parametrize("synonyms", [[], ["kitten"]])
def test_two_categories_that_differ_in_case_are_what_they_are_in_a_vocabulary(
    tmp_path: Path, synonyms: list[str]
) -> None:
    file = own_tree(tmp_path) / "panoptic.json"
    data = json.loads(file.read_text())
    data["categories"] = [
        {"id": 3, "name": "cat", "isthing": 1, "synonyms": synonyms},
        {"id": 7, "name": "Cat", "isthing": 1},
    ]
    write_json(file, data)
    if synonyms:
        assert open_dataset("panoptic", tmp_path).vocabulary == Vocabulary.parse(file)
        return
    for read in (lambda: open_dataset("panoptic", tmp_path), lambda: Vocabulary.parse(file)):
        with pytest.raises(OdiseError, match=r"'Cat' is there twice: .*panoptic\.json"):
            read()


def test_captions_that_are_null_are_refused(tmp_path: Path) -> None:
    file = own_tree(tmp_path) / "captions.json"
    write_json(file, {"annotations": None})
    with pytest.raises(DatasetError, match=r"captions\.json has null as annotations"):
        open_dataset("panoptic", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is no JSON: it is a web page"),
        (b"<?xml version='1.0'?><annotations/>", "is no JSON: it is text, it begins with "),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "it is a Git LFS pointer, not the file",
        ),
        (gzip.compress(b"{}", mtime=0), "is no JSON: it is a gzip archive"),
        (b'{"images": [', "is no JSON"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"images": [], "images": [], "annotations": []}', "has 'images' twice in one object"),
        ('{"images": ["Tüte"]}'.encode("latin-1"), "is not UTF-8 text"),
        (b"[]", r"json is \[\]"),
        (b"null", "is null"),
        (b'{"images": []}', "has no annotations, categories"),
        (b"9" * 5000, "is no JSON"),
    ],
)
def test_a_file_that_is_no_such_json_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (own_tree(tmp_path) / "panoptic.json").write_bytes(content)
    with pytest.raises(DatasetError, match=message) as caught:
        open_dataset("panoptic", tmp_path)
    assert "panoptic.json" in caught.value.message


def test_a_byte_order_mark_and_a_value_that_nobody_reads_are_no_faults(tmp_path: Path) -> None:
    file = own_tree(tmp_path) / "panoptic.json"
    data = json.loads(file.read_text())
    data["annotations"][0]["segments_info"][0] |= {"area": float("nan"), "bbox": None, "iscrowd": None}
    data["info"] = [1]
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(data).encode())
    assert verify("panoptic", tmp_path).images == 2


@pytest.mark.parametrize("name", ["", ".", "..", "../images/one.jpg", "/etc/one.jpg", "a/../../b.jpg"])
def test_a_file_outside_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    file = own_tree(tmp_path) / "panoptic.json"
    data = json.loads(file.read_text())
    for key in ("images", "annotations"):
        changed = copy.deepcopy(data)
        changed[key][0]["file_name"] = name
        write_json(file, changed)
        with pytest.raises(DatasetError, match="as file_name, which should be a file name in the folder"):
            open_dataset("panoptic", tmp_path)


def test_a_picture_may_lie_in_a_folder_of_its_folder(tmp_path: Path) -> None:
    file = own_tree(tmp_path) / "panoptic.json"
    data = json.loads(file.read_text())
    data["images"][0]["file_name"] = "a/one.jpg"
    (tmp_path / "images" / "a").mkdir()
    (tmp_path / "images" / "one.jpg").rename(tmp_path / "images" / "a" / "one.jpg")
    write_json(file, data)
    assert verify("panoptic", tmp_path).images == 2


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        "x",
        [[0, 0, 1]],
        [[0, 0, 1, "1", 2, 2]],
        [[0, 0, 4, 0, float("nan"), 4]],
        [[0, 0, 4, 0, 1e300, 4]],
        [0, 0, 4, 0, 4, 4],
        {"size": None, "counts": []},
        {"size": [6, 8], "counts": None},
        {"size": [6, 8], "counts": [47]},
        {"size": [6, 8], "counts": [-1, 49]},
        {"size": [6, 8], "counts": "\u00fc"},
        {"size": [6, 8], "counts": "o"},
        {"size": [6.0, 8.0], "counts": [48]},
        {"size": [6, 8]},
    ],
)
def test_a_mask_that_is_none_never_reaches_the_decoder(segmentation: Any) -> None:
    row = {"image_id": 1, "category_id": 1, "segmentation": segmentation}
    with pytest.raises(DatasetError, match="as segmentation, which should be polygons, or a run-length"):
        OBJECT.check(row, "annotation 0 of x.json")


def test_an_outline_far_from_its_image_is_refused(tmp_path: Path) -> None:
    file = lvis_tree(tmp_path) / "lvis" / "lvis_v1_val.json"
    data = json.loads(file.read_text())
    data["annotations"][0]["segmentation"] = [[0, 0, 10**9, 0, 10**9, 10**9]]
    write_json(file, data)
    with pytest.raises(DatasetError, match=r"image 21 of .*lvis_v1_val\.json: an outline goes to 1000000000"):
        open_dataset("lvis", tmp_path)[0]


def test_run_lengths_of_the_official_code_are_accepted_and_changed_ones_decode_to_their_size() -> None:
    import numpy as np
    from pycocotools import mask as coco_mask

    chance = np.random.default_rng(0)
    for _ in range(100):
        pixels = (chance.random((9, 13)) < chance.random()).astype(np.uint8)
        text = coco_mask.encode(np.asfortranarray(pixels))["counts"].decode()
        assert is_run_lengths({"size": [9, 13], "counts": text})
        place = int(chance.integers(len(text)))
        changed = {
            "size": [9, 13],
            "counts": text[:place] + chr(int(chance.integers(33, 127))) + text[place + 1 :],
        }
        if is_run_lengths(changed):
            assert coco_mask.decode({**changed, "counts": changed["counts"].encode()}).shape == (9, 13)


def test_what_has_two_readings_in_a_json_is_not_chosen_between(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"categories": [{"id": 1, "name": "cat", "name": "dog"}]}')
    with pytest.raises(DatasetError, match="'name' twice in one object, beside \\['id'\\]"):
        read_json(tmp_path / "x.json")
