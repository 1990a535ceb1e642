"""What the JSON of a dataset calls its categories is what saved predictions call them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_object_datasets import lvis_tree

from odise_trt.task import Task
from odise_trt.vocabulary import Vocabulary
from reference.datasets import open_dataset
from reference.datasets.catalogue import layout_of
from reference.datasets.prepare.convert import carry_out
from reference.eval.evaluation import evaluate
from reference.eval.prediction import Prediction, Region
from tests.reference.datasets.dataset_trees import (
    ade_tree,
    city_tree,
    coco_tree,
    own_tree,
    scripts_json,
    vistas_tree,
    voc_tree,
)


class Edges:
    """Finds the first category in the left half of every picture, and the last one in the right half."""

    name = "edges"
    identity: Mapping[str, Any] = {"kind": "edges", "runs_on": {"backend": "none"}}
    categories = 0

    def look_for(self, vocabulary: Vocabulary) -> None:
        self.categories = len(vocabulary)

    def predict(self, image: np.ndarray, tasks: Sequence[Task]) -> Prediction:
        ids = np.full(image.shape[:2], 1, np.int32)
        ids[:, ids.shape[1] // 2 :] = 2
        return Prediction(ids, (Region(1, 0), Region(2, self.categories - 1)))


def prepared_ade(root: Path) -> None:
    ade_tree(root)
    carry_out(layout_of("ade150").work(root, "val"))


@pytest.mark.parametrize(
    ("name", "tree", "first", "last"),
    [
        ("coco", coco_tree, 10, 274),
        ("ade150", prepared_ade, 0, 149),
        ("cityscapes", city_tree, 7, 33),
        ("cityscapes", lambda root: scripts_json(city_tree(root)), 7, 33),
        ("mapillary", vistas_tree, 1, 3),
        ("panoptic", own_tree, 3, 7),
    ],
)
def test_saved_predictions_have_the_category_ids_of_the_dataset(
    tmp_path: Path, name: str, tree: Callable[[Path], Any], first: int, last: int
) -> None:
    tree(tmp_path / "data")
    dataset = open_dataset(name, tmp_path / "data")
    evaluate(Edges(), dataset, output=tmp_path / "saved", tasks=["panoptic"])
    saved = json.loads((tmp_path / "saved" / "panoptic.json").read_text())
    for annotation in saved["annotations"]:
        assert [row["category_id"] for row in annotation["segments_info"]] == [first, last]
    assert [row["name"] for row in saved["categories"]] == list(dataset.vocabulary.names)


def test_category_ids_are_in_the_order_of_the_vocabulary(tmp_path: Path) -> None:
    assert open_dataset("coco", coco_tree(tmp_path)).category_ids == tuple(range(10, 276, 2))


def test_lvis_has_the_category_ids_of_its_json(tmp_path: Path) -> None:
    assert open_dataset("lvis", lvis_tree(tmp_path)).category_ids == tuple(range(1, 1204))


def test_label_images_alone_have_no_category_ids(tmp_path: Path) -> None:
    (voc_tree(tmp_path, "VOC2012") / "SegmentationClass").mkdir()
    (tmp_path / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "b.png").touch()
    assert open_dataset("voc21", tmp_path).category_ids is None
