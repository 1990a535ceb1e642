"""Scenes on disk are a dataset that the readers read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from odise_trt.errors import OutputError
from reference.datasets import open_dataset
from reference.scenes import FIRST_HELD_OUT, SCENE_VOCABULARY, make_scene, write_dataset


def test_a_written_dataset_is_read_as_it_was_drawn(tmp_path: Path) -> None:
    write_dataset(tmp_path / "scenes", 3, 96, 128, first_seed=FIRST_HELD_OUT + 4)
    dataset = open_dataset("panoptic", tmp_path / "scenes")
    assert len(dataset) == 3
    assert dataset.vocabulary.synonyms == SCENE_VOCABULARY.synonyms
    assert dataset.vocabulary.isthing == SCENE_VOCABULARY.isthing
    example, scene = dataset[1], make_scene(FIRST_HELD_OUT + 5, 96, 128)
    assert example.image_id == FIRST_HELD_OUT + 5
    assert np.array_equal(example.image, scene.image)
    assert np.array_equal(example.panoptic, scene.panoptic)
    assert [(s.id, s.category) for s in example.segments] == [(s.id, s.category_id) for s in scene.segments]
    assert len(example.captions) == 2


def test_a_dataset_is_not_written_over_another(tmp_path: Path) -> None:
    write_dataset(tmp_path, 1, 64, 64)
    with pytest.raises(OutputError, match="holds a dataset already"):
        write_dataset(tmp_path, 1, 64, 64)


def test_what_is_left_out_is_in_no_scene(tmp_path: Path) -> None:
    write_dataset(tmp_path, 6, 96, 96, without=["tree", "balloon"])
    dataset = open_dataset("panoptic", tmp_path)
    names = {dataset.vocabulary.names[s.category] for index in range(6) for s in dataset[index].segments}
    assert "sky" in names
    assert not names & {"tree", "balloon"}
