"""The first images of an evaluation are drawn beside truth, predictions and scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from odise_trt.errors import OutputError
from reference.datasets.example import Example
from reference.eval import Predictor, evaluate
from reference.eval.example_picture import OWN, draw_examples
from reference.eval.example_rows import ExampleRows
from tests.door import call, verb
from tests.reference.eval.eval_toys import HEIGHT, WIDTH, Blank, Knowing, Shaky, ToyDataset

RED = (214, 0, 0)
#: Left ends of the columns, and the side of a panel.
COLUMNS, PANEL = (12, 308, 604, 900), 284
#: Top of the first row of panels, below title and headings.
TOP = 76

EVAL = verb("reference.eval.cli:eval_command", "--reference", "--dataset", "scenes")


class OnlyMaps(ToyDataset):
    """Has categories of pixels alone."""

    def __getitem__(self, index: int) -> Example:
        return replace(super().__getitem__(index), panoptic=None, segments=(), instances=None)


class OnlyObjects(ToyDataset):
    """Has objects alone."""

    def __getitem__(self, index: int) -> Example:
        return replace(super().__getitem__(index), panoptic=None, segments=(), semantic=None)


def drawn(
    dataset: ToyDataset, *predictors: Predictor, limit: int | None = None
) -> tuple[ExampleRows, Image.Image]:
    rows = ExampleRows(dataset)
    reports = [evaluate(one, dataset, limit=limit, examined=rows.of(one.name)) for one in predictors]
    return rows, draw_examples(rows, reports)


def panel(picture: Image.Image, column: int) -> np.ndarray:
    """A panel of the first row, uint8 (H, W, 3)."""
    left, height = COLUMNS[column], round(PANEL * HEIGHT / WIDTH)
    return np.asarray(picture.crop((left, TOP, left + PANEL, TOP + height)))


def red(pixels: np.ndarray) -> int:
    return int((pixels == RED).all(axis=-1).sum())


def captions(rows: ExampleRows) -> list[list[str]]:
    return [[one.caption(rows.metric) for one in row.predictions] for row in rows.rows]


def test_each_image_has_the_score_that_one_works_out_by_hand() -> None:
    rows, _ = drawn(ToyDataset(2), Shaky())
    # Image 0 is right; image 1 is one column off, see test_evaluation: two boxes and the sky.
    box, sky = 16 / 18, 38 * 60 - 2 * 19 * 17
    score = 100 * (2 * box + (sky - 38) / (sky + 38)) / 3
    assert captions(rows) == [
        ["PQ 100.00: 3 found, 0 missed, 0 wrong"],
        [f"PQ {score:.2f}: 3 found, 0 missed, 0 wrong"],
    ]


@pytest.mark.parametrize(
    ("dataset", "metric"), [(ToyDataset(1), "PQ"), (OnlyMaps(1), "mIoU"), (OnlyObjects(1), "AP")]
)
def test_the_score_of_an_image_is_that_of_its_evaluation_alone(dataset: ToyDataset, metric: str) -> None:
    rows = ExampleRows(dataset)
    report = evaluate(Shaky(), dataset, examined=rows.of("shaky"))
    assert rows.metric == metric
    assert rows.rows[0].predictions[0].score == report.metrics[metric]


@pytest.mark.parametrize("dataset", [ToyDataset(1), OnlyMaps(1), OnlyObjects(1)])
def test_a_right_prediction_looks_like_the_truth(dataset: ToyDataset) -> None:
    _, picture = drawn(dataset, Knowing())
    np.testing.assert_array_equal(panel(picture, 1), panel(picture, 2))
    assert len(np.unique(panel(picture, 1).reshape(-1, 3), axis=0)) > 3
    assert red(np.asarray(picture)) == 0


def test_missed_segments_are_outlined_in_the_truth() -> None:
    rows, picture = drawn(ToyDataset(1), Blank())
    assert captions(rows) == [["PQ 0.00: 0 found, 3 missed, 0 wrong"]]
    assert red(panel(picture, 1)) > 500
    assert red(panel(picture, 0)) == red(panel(picture, 2)) == 0


class Misnaming(Knowing):
    """Knows where everything is, and calls every segment by the name of another."""

    name = "misnaming"

    def predict(self, image: np.ndarray, tasks: Sequence[str]) -> object:  # type: ignore[override]
        known = super().predict(image, tasks)  # type: ignore[arg-type]
        regions = tuple(replace(one, category=(one.category + 1) % 3) for one in known.regions)
        return replace(known, regions=regions)


def test_wrong_segments_are_outlined_in_the_prediction() -> None:
    rows, picture = drawn(ToyDataset(1), Misnaming())
    assert captions(rows) == [["PQ 0.00: 0 found, 3 missed, 3 wrong"]]
    assert red(panel(picture, 2)) == red(panel(picture, 1)) > 500


def test_several_models_have_a_column_each_and_the_truth_marks_what_all_of_them_miss() -> None:
    rows, picture = drawn(ToyDataset(1), Blank(), Knowing())
    assert rows.names == ["blank", "knowing"]
    assert picture.width == 4 * PANEL + 5 * 12
    assert red(panel(picture, 1)) == 0
    np.testing.assert_array_equal(panel(picture, 1), panel(picture, 3))


def test_only_the_first_images_are_drawn() -> None:
    rows, picture = drawn(ToyDataset(12), Knowing())
    fewer, smaller = drawn(ToyDataset(12), Knowing(), limit=3)
    assert [row.image_id for row in rows.rows] == [ToyDataset().image_id(index) for index in range(8)]
    assert len(fewer.rows) == 3
    assert smaller.height < picture.height


def test_a_picture_replaces_an_older_one_and_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "examples.png"
    OWN.check_place(path)
    for count in (2, 1):
        _, picture = drawn(ToyDataset(count), Knowing())
        OWN.check_place(path)
        OWN.write(picture, path)
        with Image.open(path) as written:
            assert written.size == picture.size
    assert list(path.parent.iterdir()) == [path]

    photo = tmp_path / "photo.png"
    Image.new("RGB", (4, 4)).save(photo)
    before = photo.read_bytes()
    for attempt in (lambda: OWN.check_place(photo), lambda: OWN.write(picture, photo)):
        with pytest.raises(OutputError, match=r"photo\.png exists, and it is not a picture of an evaluation"):
            attempt()
    assert photo.read_bytes() == before


def test_a_place_that_takes_no_picture_is_named_before_weights_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, what in (("scenes.jpg", "not the name of a PNG file"), ("file/scenes.png", "is not a folder")):
        options = ["--weights", "missing.safetensors", "--output", tmp_path]
        done = call(EVAL, *options, "--picture", tmp_path / name)
        assert done.status == 1
        assert "OutputError" in done.stderr
        assert what in done.stderr


def test_an_empty_name_of_a_picture_is_refused() -> None:
    done = call(EVAL, "--picture", "")
    assert done.status == 2
    assert "names no file or folder" in done.stderr


def test_the_command_draws_what_it_evaluates(tmp_path: Path) -> None:
    path = tmp_path / "scenes.png"
    options = ["--limit", "2", "--weights", "random:3", "--threads", "1"]
    done = call(EVAL, *options, "--output", tmp_path, "--picture", path)
    assert done.status == 0, done.stderr
    assert str(path) in done.stdout.replace("\n", "")
    with Image.open(path) as picture:
        # Image, truth and prediction of two square scenes.
        assert picture.width == 900
        assert 2 * PANEL < picture.height < 3 * PANEL
