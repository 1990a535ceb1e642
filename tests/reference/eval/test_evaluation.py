"""A dataset is evaluated in one pass, predictions are kept, and a stopped evaluation goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from pycocotools import mask as coco_mask

import odise_trt
from odise_trt.coco_panoptic import read_ids
from odise_trt.errors import OdiseError, OutputError
from reference.datasets.example import Example
from reference.errors import DatasetError
from reference.eval import Report, compare, evaluate
from reference.eval.openers import folder_name, open_named
from tests.leftovers import name_of_a_dead_process
from tests.reference.eval.eval_toys import HEIGHT, VOCABULARY, WIDTH, Blank, Foggy, Knowing, Shaky, ToyDataset


def numbers(report: Report) -> tuple[object, ...]:
    """What must be the same however an evaluation came about; not the seconds."""
    return report.metrics, report.categories, report.dataset, report.predictor, report.tasks


def test_the_truth_scores_100_everywhere() -> None:
    report = evaluate(Knowing(), ToyDataset())
    assert {"PQ", "SQ_things", "RQ_stuff", "mIoU", "pixel_accuracy", "AP", "AP50", "AR@100"} <= set(
        report.metrics
    )
    scores = {name: value for name, value in report.metrics.items() if value is not None}
    # The boxes are below 32 x 32 pixels.
    assert report.metrics.keys() - scores.keys() == {"APm", "APl"}
    assert scores == pytest.approx(dict.fromkeys(scores, 100.0))
    assert [(row["name"], row["isthing"]) for row in report.categories] == [
        ("ball", True),
        ("house", True),
        ("sky", False),
    ]
    # One image has no house, and in one it is a crowd.
    assert [row["TP"] for row in report.categories] == [5, 4, 6]
    assert report.tasks == ("panoptic", "semantic", "instance")
    assert report.seconds["images"] == 6
    assert {"odise-trt", "numpy", "faster-coco-eval"} <= set(report.versions)


def test_a_shifted_prediction_scores_what_one_works_out_by_hand() -> None:
    dataset = ToyDataset(2)
    report = evaluate(Shaky(dataset), dataset, tasks=["panoptic"])
    # Image 0 is right; in image 1 everything is one column to the right. A box of 19 x 17 pixels shares 16
    # of 18 columns; no void is near. The sky has 40 - 2 rows of 60 less two boxes; each box takes 19 pixels
    # of it and gives as many back.
    box = 16 / 18
    sky = 38 * 60 - 2 * 19 * 17
    assert report.metrics["PQ_things"] == pytest.approx(100 * (1 + box) / 2)
    assert report.metrics["PQ_stuff"] == pytest.approx(100 * (1 + (sky - 38) / (sky + 38)) / 2)
    assert report.metrics.keys() == {
        name + suffix for name in ("PQ", "SQ", "RQ") for suffix in ("", "_things", "_stuff")
    }


def test_only_the_first_images_are_evaluated_if_so_asked() -> None:
    predictor = Knowing()
    report = evaluate(predictor, ToyDataset(), limit=2)
    assert predictor.asked == [0, 1]
    assert (report.dataset["images"], report.dataset["of"]) == (2, 6)


class OnlyMaps(ToyDataset):
    """Has no objects, as semantic datasets."""

    def __getitem__(self, index: int) -> Example:
        return replace(super().__getitem__(index), panoptic=None, segments=(), instances=None)


def test_what_the_dataset_has_no_truth_for_is_not_evaluated() -> None:
    report = evaluate(Knowing(), OnlyMaps())
    assert report.tasks == ("semantic",)
    assert report.metrics.keys() == {"mIoU", "pixel_accuracy"}
    with pytest.raises(DatasetError, match="has no truth for panoptic"):
        evaluate(Knowing(), OnlyMaps(), tasks=["panoptic"])


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    report = evaluate(Shaky(), ToyDataset(), output=tmp_path)
    assert Report.read(tmp_path) == report
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(OutputError, match="no report"):
        Report.read(tmp_path)


def test_predictions_are_stored_in_coco_formats(tmp_path: Path) -> None:
    dataset = ToyDataset()
    evaluate(Shaky(), dataset, output=tmp_path)
    panoptic = json.loads((tmp_path / "panoptic.json").read_text())
    assert [row["id"] for row in panoptic["categories"]] == [3, 7, 12]
    rows = {row["image_id"]: row for row in panoptic["annotations"]}
    assert set(rows) == {dataset.image_id(index) for index in range(6)}
    assert rows[105]["file_name"] == "000000000105.png"
    ids = read_ids(tmp_path / "panoptic" / "000000000105.png")
    truth = dataset[5]
    assert truth.panoptic is not None
    np.testing.assert_array_equal(ids, np.roll(truth.panoptic, 5, axis=1))
    assert {(row["id"], row["category_id"]) for row in rows[105]["segments_info"]} == {
        (1, 12),
        (300, 3),
        (301, 7),
    }
    with Image.open(tmp_path / "semantic" / "city%2F2.png") as image:
        semantic = np.asarray(image)
    expected = dataset[2].semantic
    assert expected is not None
    np.testing.assert_array_equal(semantic, np.roll(expected, 2, axis=1) + 1)

    objects = json.loads((tmp_path / "instances.json").read_text())
    assert len(objects) == 10
    one = next(row for row in objects if row["image_id"] == 101)
    assert (one["category_id"], one["score"]) == (3, 1 / 4)
    rle = {**one["segmentation"], "counts": one["segmentation"]["counts"].encode()}
    assert rle["size"] == [HEIGHT, WIDTH]
    assert coco_mask.area(rle) == 19 * 17


def test_a_killed_evaluation_goes_on_and_gives_the_same(tmp_path: Path, root: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from eval_toys import Killed, ToyDataset;"
        "from reference.eval import evaluate; evaluate(Killed(), ToyDataset(), output=Path(sys.argv[1]))"
    )
    path = f"{root}:{Path(__file__).parent}"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=root, env={"PYTHONPATH": path}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "report.json").exists()
    # As if it had been killed while writing, too.
    (tmp_path / "records" / name_of_a_dead_process()).write_text("{")

    predictor, told = Shaky(), []
    resumed = evaluate(predictor, ToyDataset(), output=tmp_path, progress=lambda *facts: told.append(facts))
    assert predictor.asked == [3, 4, 5]
    assert [(done, of, seconds is None) for done, of, seconds in told] == [
        (1, 6, True),
        (2, 6, True),
        (3, 6, True),
        (4, 6, False),
        (5, 6, False),
        (6, 6, False),
    ]
    assert numbers(resumed) == numbers(evaluate(Shaky(), ToyDataset()))
    assert resumed.metrics["PQ"] not in (0, 100, None)
    assert not list(tmp_path.glob("*/.*.tmp"))


def test_a_longer_evaluation_takes_over_what_a_shorter_one_stored(tmp_path: Path) -> None:
    evaluate(Shaky(), ToyDataset(), output=tmp_path, limit=4)
    predictor = Shaky()
    report = evaluate(predictor, ToyDataset(), output=tmp_path)
    assert predictor.asked == [4, 5]
    assert numbers(report) == numbers(evaluate(Shaky(), ToyDataset()))


def test_a_dataset_that_grew_takes_over_what_was_stored_before(tmp_path: Path) -> None:
    evaluate(Shaky(), ToyDataset(4), output=tmp_path)
    predictor = Shaky()
    report = evaluate(predictor, ToyDataset(6), output=tmp_path)
    assert predictor.asked == [4, 5]
    assert numbers(report) == numbers(evaluate(Shaky(), ToyDataset(6)))


def test_more_than_100_scenes_take_over_what_fewer_stored(tmp_path: Path) -> None:
    # As many scenes are opened as --limit says, from 100 on; here the first of them stand for all.
    asked = []
    for limit, first in ((150, 1), (200, 2)):
        predictor = Blank()
        evaluate(predictor, open_named("scenes", None, None, limit), output=tmp_path, limit=first)
        asked.append(predictor.asked)
    assert asked == [1, 1]


@pytest.mark.parametrize("changed", ["pixels", "size"])
def test_a_prediction_is_not_used_for_another_picture_of_the_same_id(tmp_path: Path, changed: str) -> None:
    evaluate(Shaky(), ToyDataset(), output=tmp_path, tasks=["instance"])
    other = Shaky()
    with pytest.raises(OutputError, match=r"another picture by the id 'city/2'.*\n  .*--output"):
        evaluate(other, Foggy(2, changed), output=tmp_path, tasks=["instance"])
    assert other.asked == []


def test_predictions_of_another_version_are_not_mixed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(Shaky(), ToyDataset(), output=tmp_path, limit=1)
    monkeypatch.setattr(odise_trt, "__version__", "99.0")
    with pytest.raises(OutputError, match=r"configuration \(odise-trt: .*, now 99\.0\)"):
        evaluate(Shaky(), ToyDataset(), output=tmp_path, limit=1)


def test_predictions_of_another_configuration_are_not_mixed_in(tmp_path: Path) -> None:
    evaluate(Shaky(), ToyDataset(), output=tmp_path, limit=1)
    renamed, renumbered = ToyDataset(), ToyDataset()
    renamed.name, renumbered.category_ids = "others", (7, 3, 12)
    for predictor, dataset, tasks, what in (
        (Knowing(), ToyDataset(), None, "predictor"),
        (Shaky(), renamed, None, "dataset"),
        (Shaky(), renumbered, None, "dataset"),
        (Shaky(), ToyDataset(), ["semantic"], "tasks"),
    ):
        with pytest.raises(OutputError, match=f"of another configuration \\({what}"):
            evaluate(predictor, dataset, output=tmp_path, tasks=tasks)  # type: ignore[arg-type]


def test_the_number_of_threads_is_no_other_configuration(tmp_path: Path) -> None:
    evaluate(with_identity(threads="1"), ToyDataset(), output=tmp_path, limit=1)
    more = with_identity(threads="2")
    assert evaluate(more, ToyDataset(), output=tmp_path, limit=2).predictor["runs_on"]["threads"] == "2"
    assert more.asked == [1]


def test_only_what_differs_of_a_configuration_is_shown(tmp_path: Path) -> None:
    evaluate(with_identity(device="cpu", threads="1"), ToyDataset(), output=tmp_path, limit=1)
    with pytest.raises(OutputError) as caught:
        evaluate(with_identity(device="cuda:0", threads="2"), ToyDataset(), output=tmp_path, limit=1)
    assert caught.value.message.endswith("configuration (predictor.runs_on.device: cpu, now cuda:0)")


def with_identity(**runs_on: str) -> Shaky:
    predictor = Shaky()
    predictor.identity = {"kind": "shaky", "runs_on": {"backend": "none", **runs_on}}
    return predictor


def test_a_record_that_was_damaged_is_named(tmp_path: Path) -> None:
    evaluate(Shaky(), ToyDataset(), output=tmp_path)
    (tmp_path / "records" / "000000000101.json").write_text("{")
    with pytest.raises(OutputError, match=r"000000000101\.json"):
        evaluate(Shaky(), ToyDataset(), output=tmp_path)


def test_more_than_255_categories_are_kept_in_16_bits(tmp_path: Path) -> None:
    class Wide(OnlyMaps):
        vocabulary = type(VOCABULARY)(
            tuple(replace(VOCABULARY.categories[0], names=(f"word {number}",)) for number in range(400))
        )
        category_ids = tuple(range(1, 401))

        def __getitem__(self, index: int) -> Example:
            return replace(super().__getitem__(index), semantic=np.full((HEIGHT, WIDTH), 399, np.int32))

    dataset = Wide(1)

    class Right(Knowing):
        def look_for(self, vocabulary: object) -> None:
            self.vocabulary = VOCABULARY

        def prediction(self, truth: Example) -> object:  # type: ignore[override]
            return replace(super().prediction(replace(truth, instances=())), panoptic=None, regions=())

    assert evaluate(Right(dataset), dataset, output=tmp_path).metrics["mIoU"] == 100
    again = Right(dataset)
    assert evaluate(again, dataset, output=tmp_path).metrics["mIoU"] == 100
    assert again.asked == []


def test_predictors_are_compared_with_the_first() -> None:
    right, shaky = evaluate(Knowing(), ToyDataset()), evaluate(Shaky(), ToyDataset())
    comparison = compare([right, shaky])
    assert comparison.headings == ("", "precision", "runs on", "PQ", "mIoU", "AP", "s / image (median)")
    first, second = comparison.rows
    assert first.scores == pytest.approx({"PQ": 100, "mIoU": 100, "AP": 100})
    assert shaky.metrics["PQ"] is not None
    assert second.differences["PQ"] == pytest.approx(shaky.metrics["PQ"] - 100)
    lines = comparison.markdown().splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| knowing |  | none | 100.00 | 100.00 | 100.00 |")
    assert f"{shaky.metrics['PQ']:.2f} ({shaky.metrics['PQ'] - 100:+.2f})" in lines[3]


def test_evaluations_of_other_images_are_not_compared() -> None:
    first = evaluate(Knowing(), ToyDataset())
    for other in (evaluate(Shaky(), ToyDataset(), limit=3), evaluate(Shaky(), Foggy(2, "pixels"))):
        with pytest.raises(OdiseError, match="not evaluated on the same images"):
            compare([first, other])


def test_a_dataset_has_one_folder_by_whichever_name_it_was_opened(tmp_path: Path) -> None:
    write_one_picture(tmp_path)
    for name, split in (("panoptic", None), ("Coco-Panoptic", "val")):
        assert folder_name(open_named(name, tmp_path, split, None)) == "panoptic-val"
    assert folder_name(open_named("panoptic", tmp_path, "train", None)) == "panoptic-train"
    assert folder_name(open_named("scenes-names", None, None, None)) == "scenes-names"
    with pytest.raises(typer.BadParameter, match="scenes has no parts"):
        open_named("scenes", None, "val", None)


def write_one_picture(folder: Path) -> None:
    """The smallest dataset in COCO's panoptic format."""
    for kind in ("images", "panoptic"):
        (folder / kind).mkdir()
        Image.new("RGB", (8, 8)).save(folder / kind / "one.png")
    facts = {
        "images": [{"id": 1, "file_name": "one.png"}],
        "annotations": [{"image_id": 1, "file_name": "one.png", "segments_info": []}],
        "categories": [{"id": 1, "name": "cat", "isthing": 1}],
    }
    (folder / "panoptic.json").write_text(json.dumps(facts))
