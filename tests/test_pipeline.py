"""A bundle's pipeline, run by an interpreter that knows nothing of ODISE, gives what the segmenter gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from export.stages import steps
from export.unfinished import pipeline_of
from odise_trt import Segmenter, Vocabulary
from odise_trt.bundle.manifest import Manifest
from odise_trt.chains.vectors import PictureSize, picture_tensors, request_tensors, vocabulary_tensors
from odise_trt.cli import app
from odise_trt.preprocess import load_image, resize_shortest
from odise_trt.segments import Instance, Segment
from odise_trt.text_table import TextTable
from reference.preset import DEMO
from reference.scenes import SCENE_VOCABULARY, make_scene
from tests.pipeline_interpreter import Arrays, Interpreter

PHOTO = Path(__file__).parent.parent / "assets" / "photo.jpg"
#: Pixels in a million that may differ: within rounding of a tie.
TIES = 100


@pytest.fixture(scope="module")
def segmenter(demo_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segmenter]:
    with Segmenter.open(demo_bundle, cache=tmp_path_factory.mktemp("tables"), threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def interpreter(demo_bundle: Path) -> Interpreter:
    return Interpreter(demo_bundle, {"rows": 100, "windows": 3})


def host_tensors(pixels: np.ndarray, segmenter: Segmenter, table: TextTable) -> Arrays:
    model = segmenter.bundle.manifest.model
    resized = resize_shortest(pixels, model.short_side, model.max_side)
    height, width = resized.shape[:2]
    padded = height + -height % model.divisor, width + -width % model.divisor
    size = PictureSize((height, width), padded, pixels.shape[:2], model.window, model.clip_image_size)
    return (
        {"picture.picture": resized}
        | picture_tensors(size)
        | vocabulary_tensors(table, model.alpha, model.beta)
        | request_tensors(model.object_mask_threshold, model.overlap_threshold)
    )


def segments_of(found: Arrays, table: TextTable) -> list[Segment]:
    """The segments that the tables of the pipeline say."""
    rows = found["assign.segments"]
    segments = []
    for number in range(1, rows[:, 0].max(initial=0) + 1):
        mine = rows[:, 0] == number
        _, category, _, top, bottom, left, right = rows[mine].T
        kind = int(category[0])
        assert (category == kind).all()
        x, y = int(left.min()), int(top.min())
        segments.append(
            Segment(
                id=number,
                category_id=kind,
                name=table.vocabulary.names[kind],
                isthing=bool(table.isthing[kind]),
                score=float(found["classify.score"][mine].max()),
                area=int(rows[mine, 2].sum()),
                bbox=(x, y, int(right.max()) + 1 - x, int(bottom.max()) + 1 - y),
            )
        )
    return segments


def instances_of(found: Arrays, table: TextTable, size: tuple[int, int]) -> list[Instance]:
    """The instances that the tables of the pipeline say."""
    _, width = size
    rows, columns = found["instances.instance_row_counts"], found["instances.instance_column_counts"]
    area = rows.sum(0, dtype=np.int64)
    made = []
    for number, (score, kind) in enumerate(
        zip(found["top_instances.instance_score"], found["top_instances.instance_category"], strict=True)
    ):
        if score < 0 or not table.isthing[kind] or not area[number]:
            continue
        bits = found["instances.instance_bits"][:, number]
        y, x = np.flatnonzero(rows[:, number]), np.flatnonzero(columns[:width, number])
        assert not columns[width:].any()
        made.append(
            Instance(
                category_id=int(kind),
                name=table.vocabulary.names[kind],
                score=float(score * (found["instances.instance_total"][number] / (area[number] + 1e-6))),
                mask=np.unpackbits(bits, axis=1, count=width).astype(bool),
                area=int(area[number]),
                bbox=(int(x[0]), int(y[0]), int(x[-1] - x[0] + 1), int(y[-1] - y[0] + 1)),
            )
        )
    return sorted(made, key=lambda instance: -instance.score)


def check(pixels: np.ndarray, vocabulary: Vocabulary, segmenter: Segmenter, interpreter: Interpreter) -> None:
    segmenter.vocabulary = vocabulary
    table = segmenter._table
    assert table is not None
    results = segmenter.results(pixels)
    found = interpreter.run(results, host_tensors(pixels, segmenter, table))
    assert not found["stitch.maps_not_finite"].any()
    assert not found["classify.numbers_not_finite"].any()

    panoptic = results["panoptic"]
    segments = segments_of(found, table)
    assert [(s.id, s.category_id, s.name, s.isthing) for s in segments] == [
        (s.id, s.category_id, s.name, s.isthing) for s in panoptic.segments
    ]
    few = pixels.shape[0] * pixels.shape[1] * TIES / 1e6
    assert np.count_nonzero(found["paint.panoptic"] != panoptic.panoptic) <= few
    for one, other in zip(segments, panoptic.segments, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert abs(one.area - other.area) <= few
        assert np.abs(np.subtract(one.bbox, other.bbox)).max() <= 1

    assert np.count_nonzero(found["semantic.semantic"] != results["semantic"].semantic) <= few

    expected = results["instance"].instances
    assert expected is not None
    made = instances_of(found, table, pixels.shape[:2])
    assert len(made) == len(expected)
    for mine, other_one in zip(made, expected, strict=True):
        assert mine.score == pytest.approx(other_one.score, abs=1e-5)
    key = lambda instance: (instance.category_id, instance.area, instance.bbox)  # noqa: E731
    for mine, other_one in zip(sorted(made, key=key), sorted(expected, key=key), strict=True):
        assert mine.category_id == other_one.category_id
        assert np.count_nonzero(mine.mask != other_one.mask) <= few


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_a_drawn_scene_through_the_pipeline_is_as_through_the_segmenter(
    seed: int, segmenter: Segmenter, interpreter: Interpreter
) -> None:
    check(make_scene(seed).image, Vocabulary.of(SCENE_VOCABULARY), segmenter, interpreter)


def test_a_photo_through_the_pipeline_is_as_through_the_segmenter(
    segmenter: Segmenter, interpreter: Interpreter
) -> None:
    check(load_image(PHOTO), Vocabulary.of("coco"), segmenter, interpreter)


def test_inspect_shows_the_steps_of_a_bundle(demo_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    shown = CliRunner().invoke(app, ["inspect", str(demo_bundle)])
    assert shown.exit_code == 0
    table = shown.stdout.partition("\npipeline")[2].partition("parity with")[0]
    words = [line.split() for line in table.splitlines()]
    numbers = [line for line in words if line and line[0].isdigit()]
    assert [line[1] for line in numbers] == [step.stage for step in Manifest.read(demo_bundle).pipeline]
    assert "rows, adding up column_counts, whole" in table
    assert "vocabulary: isthing" in table


def test_a_bundle_that_lacks_a_step_has_no_pipeline() -> None:
    names = [step.stage for step in steps(DEMO)]
    assert pipeline_of(DEMO, names) == steps(DEMO)
    assert pipeline_of(DEMO, names[1:]) == ()
