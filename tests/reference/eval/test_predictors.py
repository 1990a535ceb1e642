"""The reference and bundles as predictors, and both through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from odise_trt import Segmenter, Vocabulary
from odise_trt.task import TASKS
from reference.checkpoint import describe_weights, load_weights
from reference.datasets.run_lengths import decode
from reference.eval import BundlePredictor, Prediction, ReferencePredictor, Report
from reference.inference import segment_photo
from reference.model import ODISE
from reference.scenes import make_scene
from tests.door import call, verb
from tests.odise_trt import toy_bundle

WORDS = Vocabulary.parse("red; green; blue, azure").with_stuff("green")
WEIGHTS = "random:3"


@pytest.fixture(scope="module")
def model() -> ODISE:
    return load_weights("demo", WEIGHTS)


@pytest.fixture(scope="module")
def stripes() -> np.ndarray:
    image = np.zeros((90, 120, 3), np.uint8)
    for number in range(3):
        image[:, 40 * number : 40 * (number + 1), number] = 255
    return image


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segmenter]:
    with Segmenter.open(toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy")) as opened:
        yield opened


def test_the_reference_predicts_what_segmenting_a_photo_gives(model: ODISE) -> None:
    image = make_scene(seed=7).image[:200, :300]
    predictor = ReferencePredictor(model, describe_weights("demo", WEIGHTS))
    predictor.look_for(WORDS)
    predicted = predictor.predict(image, TASKS)
    expected = segment_photo(model, image, WORDS)
    np.testing.assert_array_equal(predicted.panoptic, expected.panoptic.map)
    assert [(one.id, one.category) for one in predicted.regions] == [
        (one.id, one.category_id) for one in expected.panoptic.segments
    ]
    np.testing.assert_array_equal(predicted.semantic, expected.semantic.argmax(0))
    drawn = [number for number, mask in enumerate(expected.instances.masks) if mask.any()]
    assert predicted.detections is not None
    assert len(predicted.detections) == len(drawn) > 0
    for one, number in zip(predicted.detections, drawn, strict=True):
        assert (one.category, one.score) == (
            expected.instances.classes[number],
            pytest.approx(expected.instances.scores[number].item()),
        )
        np.testing.assert_array_equal(decode(one.mask), expected.instances.masks[number])


def test_the_reference_encodes_the_names_once(model: ODISE, stripes: np.ndarray) -> None:
    predictor = ReferencePredictor(model, describe_weights("demo", WEIGHTS))
    calls = []
    hook = model.clip.token_embedding.register_forward_pre_hook(lambda *_: calls.append(1))
    predictor.look_for(WORDS)
    after_looking = len(calls)
    for _ in range(2):
        predictor.predict(stripes, ["panoptic"])
    hook.remove()
    assert after_looking == len(calls) > 0


def test_encoded_names_of_another_vocabulary_are_refused(model: ODISE, stripes: np.ndarray) -> None:
    with pytest.raises(ValueError, match="another vocabulary"):
        segment_photo(model, stripes, WORDS, encoded=model.encode([["red"]]))


def test_a_bundle_predicts_all_tasks_from_one_run_of_its_engines(
    segmenter: Segmenter, stripes: np.ndarray
) -> None:
    predictor = BundlePredictor(segmenter)
    predictor.look_for(WORDS)
    predicted = predictor.predict(stripes, TASKS)
    panoptic, semantic, instance = (segmenter(stripes, task) for task in TASKS)
    np.testing.assert_array_equal(predicted.panoptic, panoptic.panoptic)
    assert {one.id: one.category for one in predicted.regions} == {
        one.id: one.category_id for one in panoptic.segments
    }
    np.testing.assert_array_equal(predicted.semantic, semantic.semantic)
    assert instance.instances
    assert predicted.detections is not None
    for one, expected in zip(predicted.detections, instance.instances, strict=True):
        assert (one.category, one.score) == (expected.category_id, expected.score)
        np.testing.assert_array_equal(decode(one.mask), expected.mask)
    # Engines that ran once for all took the same seconds in each result.
    results = segmenter.results(stripes, TASKS)
    assert len({result.timings["mask_head"] for result in results.values()}) == 1


def test_only_what_is_asked_for_is_predicted(segmenter: Segmenter, stripes: np.ndarray, model: ODISE) -> None:
    for predictor in (
        BundlePredictor(segmenter),
        ReferencePredictor(model, describe_weights("demo", WEIGHTS)),
    ):
        predictor.look_for(WORDS)
        predicted = predictor.predict(stripes, ["semantic"])
        assert predicted.semantic is not None
        assert predicted == Prediction(semantic=predicted.semantic)


def test_other_weights_are_another_identity(model: ODISE) -> None:
    one = ReferencePredictor(model, describe_weights("demo", WEIGHTS)).identity
    other = ReferencePredictor(model, describe_weights("demo", "random:4")).identity
    assert one != other
    assert json.loads(json.dumps(one)) == one


EVAL = verb("reference.eval.cli:eval_command")


def module(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The old name of the command, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "reference.eval", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[3],
    )


def test_the_reference_and_a_bundle_are_put_side_by_side(segmenter: Segmenter, tmp_path: Path) -> None:
    engines = segmenter.bundle.folder
    arguments = ("--dataset", "scenes", "--limit", 2, "--threads", 1, "--output", tmp_path, "--per-category")
    done = call(EVAL, "--engines", engines, "--reference", "--weights", WEIGHTS, *arguments)
    assert done.status == 0, done.stderr
    for text in ("PQ", "mIoU", "pixel_accuracy", "AR@100", "s per image", "toy on scenes, 2 of 100 images"):
        assert text in done.stdout
    reports = [Report.read(tmp_path / "scenes" / name) for name in ("reference", "toy")]
    assert [report.dataset["images"] for report in reports] == [2, 2]
    assert reports[0].predictor["weights"]["source"] == WEIGHTS
    table = (tmp_path / "scenes" / "comparison.md").read_text()
    assert "| reference | float32 | torch cpu |" in table
    assert "| toy | fp32 | onnxruntime" in table


def test_python_evaluates_the_reference_alone_and_an_ablation_beside_it(tmp_path: Path) -> None:
    arguments = ["--dataset", "scenes", "--limit", "1", "--weights", WEIGHTS, "--output", str(tmp_path)]
    done = call(EVAL, "--reference", *arguments, "--threads", 1)
    assert done.status == 0, done.stderr
    assert "reference on scenes, 1 of 100 images" in done.stdout
    beside = call(EVAL, "--reference", *arguments, "--classifier", "diffusion")
    assert beside.status == 0, beside.stderr
    plain, ablated = (
        Report.read(tmp_path / "scenes" / name) for name in ("reference", "reference-classifier-1,1")
    )
    assert plain.predictor["ablation"] == "the paper's model"
    assert ablated.predictor["ablation"] == "--classifier 1,1"
    assert plain.metrics.keys() == ablated.metrics.keys() >= {"PQ", "mIoU", "AP"}
    assert all(0 <= value <= 100 for value in plain.metrics.values() if value is not None)


def test_python_names_what_is_wrong(tmp_path: Path) -> None:
    done = module("--dataset", "nothing", "--data", tmp_path)
    assert done.returncode == 1
    assert "DatasetError: there is no dataset 'nothing'" in done.stderr


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_named_before_weights_are_read(device: str, tmp_path: Path) -> None:
    arguments = ["--dataset", "scenes", "--weights", "missing.safetensors", "--output", tmp_path]
    done = call(EVAL, "--reference", *arguments, "--device", device)
    assert done.status == 1
    message, *hint = done.stderr.splitlines()
    assert message.startswith("DeviceError: ")
    assert device.removeprefix("cuda:") in message
    assert hint


def test_something_to_evaluate_has_to_be_named() -> None:
    done = call(EVAL, "--dataset", "scenes")
    assert done.status == 2
    assert "--engines" in done.stderr


@pytest.mark.parametrize(
    "models",
    [("--engines", "one/toy", "--engines", "two/toy"), ("--engines", "one/reference", "--reference")],
)
def test_models_of_one_name_are_refused(models: tuple[str, ...]) -> None:
    done = call(EVAL, "--dataset", "scenes", *models)
    assert done.status == 2
    assert "cannot be told apart" in done.stderr
