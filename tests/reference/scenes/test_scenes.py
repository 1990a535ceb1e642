"""Scenes are deterministic, various, and their maps are what is drawn."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from odise_trt.coco_panoptic import read_ids
from reference.scenes import SCENE_VOCABULARY, Scene, make_scene
from reference.scenes.canvas import Canvas, Pen

SEEDS = range(12)


@cache
def drawn(seed: int) -> Scene:
    """A scene of the usual size, drawn once for all tests that look at it."""
    return make_scene(seed)


def test_the_same_seed_gives_the_same_scene_and_another_one_does_not() -> None:
    first, again, other = drawn(5), make_scene(5), drawn(6)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.panoptic, again.panoptic)
    assert first.segments == again.segments
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize(("height", "width"), [(512, 512), (64, 64), (120, 300), (333, 201)])
def test_a_scene_has_the_size_that_is_asked_for(height: int, width: int) -> None:
    scene = make_scene(3, height, width)
    assert scene.image.shape == (height, width, 3)
    assert scene.image.dtype == np.uint8
    assert scene.panoptic.shape == (height, width)
    assert scene.panoptic.dtype == np.int32


@pytest.mark.parametrize("seed", SEEDS)
def test_segments_say_what_the_map_says(seed: int) -> None:
    scene = make_scene(seed, 256, 320)
    assert [segment.id for segment in scene.segments] == list(range(1, len(scene.segments) + 1))
    assert set(np.unique(scene.panoptic)) - {0} == {segment.id for segment in scene.segments}
    for segment in scene.segments:
        rows, columns = np.nonzero(scene.panoptic == segment.id)
        assert segment.area == len(rows)
        x, y, width, height = segment.bbox
        assert (x, y) == (columns.min(), rows.min())
        assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert segment.isthing == SCENE_VOCABULARY[segment.category_id].isthing


@pytest.mark.parametrize("seed", SEEDS)
def test_stuff_is_one_segment_per_category_and_little_belongs_to_nobody(seed: int) -> None:
    scene = drawn(seed)
    stuff = [segment.category_id for segment in scene.segments if not segment.isthing]
    assert len(stuff) == len(set(stuff))
    assert np.mean(scene.panoptic == 0) < 0.01


def test_every_category_occurs_and_scenes_differ_in_what_they_hold() -> None:
    contents = [{s.category_id for s in make_scene(seed, 192, 192).segments} for seed in range(60)]
    assert set().union(*contents) == set(range(len(SCENE_VOCABULARY)))
    assert len(SCENE_VOCABULARY) >= 12
    assert len({frozenset(content) for content in contents}) > 30


@pytest.mark.parametrize(("right", "columns"), [(1.02, 20), (1.08, 21)])
def test_the_map_changes_exactly_where_a_thing_covers_half_a_pixel(right: float, columns: int) -> None:
    pen = Pen(unit=10, width=4, height=4)
    pen.box(-1, 1, right, 3, (200, 0, 0))  # 20.2 or 20.8 pixels wide
    canvas = Canvas.blank(60, 60)
    canvas.paint(pen.sprite(), 5, 7, 3)
    expected = np.zeros((60, 60), bool)
    expected[7 + 10 : 7 + 30, 5 + 10 : 5 + 10 + columns] = True
    assert np.array_equal(canvas.ids == 3, expected)
    assert np.all(canvas.image[expected][:, 0] >= 100)
    assert np.all(canvas.image[~expected][:, 0] < 100)


def test_what_is_painted_later_is_in_front_and_what_is_outside_is_cut_off() -> None:
    pen = Pen(unit=10, width=2, height=2)
    pen.box(-1, 0, 1, 2, (200, 0, 0))
    canvas = Canvas.blank(30, 30)
    canvas.paint(pen.sprite(), 0, 0, 1)
    canvas.paint(pen.sprite(), 10, 10, 2)
    canvas.paint(pen.sprite(), 25, -15, 3)
    canvas.paint(pen.sprite(), 100, 100, 4)
    assert (canvas.ids == 1).sum() == 20 * 20 - 10 * 10
    assert (canvas.ids == 2).sum() == 20 * 20
    assert (canvas.ids == 3).sum() == 5 * 5
    assert 4 not in canvas.ids


def test_borders_of_the_map_are_borders_of_the_picture() -> None:
    """Where the map changes the picture changes more than elsewhere, in every scene."""
    for seed in SEEDS:
        scene = drawn(seed)
        step = np.abs(np.diff(scene.image.astype(float), axis=1)).sum(axis=-1)
        border = scene.panoptic[:, 1:] != scene.panoptic[:, :-1]
        assert step[border].mean() > 2.5 * step[~border].mean()


def test_the_module_writes_a_scene_and_its_truth_and_needs_no_torch(root: Path, tmp_path: Path) -> None:
    probe = (
        "import sys, runpy; sys.argv[1:] = ['--seed', '7', '--truth', '--output', sys.argv[1]]\n"
        "runpy.run_module('reference.scenes', run_name='__main__')\nsys.exit('torch' in sys.modules)"
    )
    output = tmp_path / "new" / "scene.png"
    subprocess.run([sys.executable, "-c", probe, str(output)], cwd=root, check=True, capture_output=True)
    scene = drawn(7)
    assert np.array_equal(np.asarray(Image.open(output)), scene.image)
    assert np.array_equal(read_ids(output.with_suffix(".panoptic.png")), scene.panoptic)
    assert len(json.loads(output.with_suffix(".json").read_text())) == len(scene.segments)
