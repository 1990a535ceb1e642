"""From a photo and words to segments, on a bundle that really runs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from odise_trt import BackendError, BundleError, ImageError, Segmenter, Vocabulary, VocabularyError
from odise_trt.backends.onnxruntime import OnnxRuntimeBackend
from odise_trt.bundle import Bundle
from odise_trt.executor import windows_per_run
from odise_trt.stage_spec import StageSpec, Tensor
from tests.odise_trt import toy_bundle

WORDS = "red; green; blue; zebra"


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    return toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy-onnxruntime-fp32")


@pytest.fixture(scope="module")
def segmenter(toy: Path):
    with Segmenter.open(toy, vocabulary=Vocabulary.parse(WORDS), cache=False) as opened:
        yield opened


def flag(height: int = 150, width: int = 300) -> np.ndarray:
    """Thirds in red, green and blue."""
    image = np.zeros((height, width, 3), np.uint8)
    for channel, columns in enumerate(np.array_split(np.arange(width), 3)):
        image[:, columns, channel] = 255
    return image


def test_three_colours_are_three_segments_with_their_names(segmenter: Segmenter) -> None:
    result = segmenter(flag())

    assert [segment.name for segment in result.segments] == ["red", "green", "blue"]
    assert result.panoptic.shape == (150, 300)
    assert result.panoptic.dtype == np.int32
    for column, name in ((50, "red"), (150, "green"), (250, "blue")):
        segment = result.segments[result.panoptic[75, column] - 1]
        assert segment.name == name
        assert segment.score > 0.99
        # Up to a few pixels at the seams, which the masks' stride blurs.
        assert segment.area == pytest.approx(100 * 150, rel=0.05)


def test_the_bundle_says_the_strides_of_its_feature_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(toy_bundle.LEVELS, "s5", 16)
    toy = toy_bundle.make(tmp_path / "toy")
    with Segmenter.open(toy, vocabulary=Vocabulary.parse(WORDS), cache=False) as segmenter:
        assert [segment.name for segment in segmenter(flag()).segments] == ["red", "green", "blue"]


@pytest.mark.parametrize(
    "size",
    [(128, 128), (150, 300), (300, 150), (9, 7), (40, 400), (400, 40), (1, 64), (1000, 1400)],
)
def test_results_have_the_size_of_the_picture_whatever_it_is(segmenter: Segmenter, size) -> None:
    image = np.zeros((*size, 3), np.uint8)
    image[:, :, 1] = 255

    result = segmenter(image)
    assert result.panoptic.shape == size
    assert result.image.shape == (*size, 3)
    assert [segment.name for segment in result.segments] == ["green"]
    assert (result.panoptic == 1).all()


def test_the_semantic_task_gives_each_pixel_an_index_into_the_vocabulary(segmenter: Segmenter) -> None:
    result = segmenter(flag(), "semantic")

    assert result.task == "semantic"
    assert [segmenter.vocabulary.names[i] for i in result.semantic[75, [50, 150, 250]]] == [
        "red",
        "green",
        "blue",
    ]


def test_the_instance_task_gives_objects_best_first(segmenter: Segmenter) -> None:
    result = segmenter(flag(), "instance")

    assert {instance.name for instance in result.instances[:3]} == {"red", "green", "blue"}
    scores = [instance.score for instance in result.instances]
    assert scores == sorted(scores, reverse=True)
    assert result.instances[0].mask.shape == (150, 300)


def test_every_stage_is_timed_and_what_made_the_result_is_told(segmenter: Segmenter) -> None:
    result = segmenter(flag())

    assert list(result.timings) == [
        "preprocess",
        "captioner",
        "features",
        "stitch",
        "mask_head",
        "clip_pool",
        "classify",
        "postprocess",
    ]
    assert all(seconds >= 0 for seconds in result.timings.values())
    assert result.provenance == {
        "bundle": "toy-onnxruntime-fp32",
        "preset": "toy",
        "backend": "onnxruntime",
        "precision": "fp32",
        "seeded": True,
    }


def test_windows_in_smaller_batches_give_the_same_result(toy: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 500, 3), dtype=np.uint8)
    maps = []
    for most in (1, 3, None):
        with Segmenter.open(
            toy, vocabulary=Vocabulary.parse(WORDS), cache=False, max_windows=most
        ) as segmenter:
            maps.append(segmenter(image).panoptic)

    np.testing.assert_array_equal(maps[0], maps[1])
    np.testing.assert_array_equal(maps[0], maps[2])


@pytest.mark.parametrize(
    ("window", "device", "asked", "expected"),
    [
        (512, None, None, 1),
        (256, None, None, 4),
        (128, None, None, 10),
        (640, "cpu", None, 1),
        (512, "cuda", None, 10),
        (512, None, 3, 3),
        (512, "cuda", 99, 10),
    ],
)
def test_large_windows_run_one_at_a_time_on_a_cpu(toy: Path, window, device, asked, expected) -> None:
    bundle = Bundle.open(toy)
    manifest = bundle.manifest
    stages = [replace(entry, spec=with_windows(entry.spec, 10)) for entry in manifest.stages]
    model = replace(manifest.model, window=window)
    changed = replace(bundle, manifest=replace(manifest, model=model, stages=tuple(stages)))
    assert windows_per_run(changed, device, asked) == expected


def with_windows(spec: StageSpec, most: int) -> StageSpec:
    axes = [replace(axis, maximum=most) if axis.name == "windows" else axis for axis in spec.axes]
    return replace(spec, axes=tuple(axes))


def test_the_largest_stage_is_opened_first(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = OnnxRuntimeBackend.open_stage

    def open_stage(self, folder, entry):
        opened.append(sum((folder / name).stat().st_size for name in entry.files))
        return real(self, folder, entry)

    monkeypatch.setattr(OnnxRuntimeBackend, "open_stage", open_stage)
    Segmenter.open(toy).close()
    assert len({*opened}) > 1
    assert opened == sorted(opened, reverse=True)


def test_another_vocabulary_changes_names_not_masks(toy: Path) -> None:
    with Segmenter.open(toy, cache=False) as segmenter:
        segmenter.vocabulary = Vocabulary.parse("blue; red; green")
        first = segmenter(flag())
        segmenter.vocabulary = Vocabulary.parse("green, olive; red; blue")
        second = segmenter(flag())

    np.testing.assert_array_equal(first.panoptic, second.panoptic)
    assert [segment.category_id for segment in first.segments] == [1, 2, 0]
    assert [segment.category_id for segment in second.segments] == [1, 0, 2]


def test_without_a_vocabulary_nothing_runs(toy: Path) -> None:
    with Segmenter.open(toy) as segmenter, pytest.raises(VocabularyError, match="no vocabulary is set"):
        segmenter(flag())


def test_an_unreadable_image_leaves_the_segmenter_usable(segmenter: Segmenter) -> None:
    with pytest.raises(ImageError):
        segmenter(b"not an image")

    assert len(segmenter(flag()).segments) == 3


def test_a_task_that_does_not_exist_is_refused(segmenter: Segmenter) -> None:
    with pytest.raises(ValueError, match="panoptic, semantic, instance"):
        segmenter(flag(), "depth")


def test_a_closed_segmenter_says_so(toy: Path) -> None:
    segmenter = Segmenter.open(toy, vocabulary=Vocabulary.parse(WORDS), cache=False)
    segmenter.close()
    segmenter.close()

    with pytest.raises(BackendError, match="was closed"):
        segmenter(flag())
    with pytest.raises(BackendError, match="was closed"):
        segmenter.vocabulary = Vocabulary.parse("red")


def test_the_thresholds_of_a_call_take_the_place_of_the_models(tmp_path: Path) -> None:
    # Green's mask is the whole flag, faintly: it wins a third of it, red and blue have theirs.
    graph = toy_bundle.stage_graphs()["mask_head"]
    (bias,) = (one for one in graph.graph.initializer if one.name == "bias")
    bias.CopyFrom(numpy_helper.from_array(np.array([-5, 21, -5, -30], np.float32), "bias"))
    toy = toy_bundle.make(tmp_path / "toy", graphs={"mask_head": graph})
    with Segmenter.open(toy, vocabulary=WORDS, cache=False) as segmenter:

        def found(**thresholds: float) -> list[str]:
            return [segment.name for segment in segmenter(flag(), **thresholds).segments]

        assert sorted(found()) == ["blue", "red"]
        assert sorted(found(overlap_threshold=0.2)) == ["blue", "green", "red"]
        assert found(object_mask_threshold=1) == []


def test_a_strip_one_pixel_high_after_resizing_has_a_result_of_its_size(segmenter: Segmenter) -> None:
    assert segmenter(np.full((3, 900, 3), 255, np.uint8)).panoptic.shape == (3, 900)


def test_a_second_process_with_the_same_words_runs_no_text_encoder(tmp_path: Path) -> None:
    bundle = toy_bundle.make(tmp_path / "toy")
    code = (
        "import sys, numpy as np\n"
        "from odise_trt import Segmenter, Vocabulary\n"
        f"with Segmenter.open({str(bundle)!r}, verify='size') as s:\n"
        "    s.vocabulary = Vocabulary.parse(sys.argv[1])\n"
        "    print(*s.vocabulary.names)\n"
    )

    def process(words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code, words], capture_output=True, text=True)

    assert process("red; green, olive").returncode == 0
    encoder = bundle / "text_encoder.onnx"
    # Same size, no longer a graph: whoever runs it fails.
    encoder.write_bytes(b"\0" * encoder.stat().st_size)

    assert process("red; green, olive").stdout.split() == ["red", "green"]
    changed = process("red; green, emerald")
    assert changed.returncode != 0
    assert "text_encoder.onnx" in changed.stderr


def test_numbers_that_are_not_finite_are_an_error_that_names_the_stage(tmp_path: Path) -> None:
    spec = next(spec for spec in toy_bundle.specs() if spec.name == "clip_pool")
    broken = toy_bundle.model(
        spec,
        [
            helper.make_node("ReduceMean", ["clip_image"], ["mean"], keepdims=0),
            helper.make_node("Add", ["mean", "nan"], ["clip_mask_embed"]),
        ],
        nan=np.full((1, toy_bundle.QUERIES, toy_bundle.CLIP_DIM), np.nan, np.float32),
    )
    bundle = toy_bundle.make(tmp_path / "toy", graphs={"clip_pool": broken})

    with (
        Segmenter.open(bundle, vocabulary=Vocabulary.parse("red")) as segmenter,
        pytest.raises(BackendError, match="clip_pool gave clip_mask_embed"),
    ):
        segmenter(flag())


def test_a_caption_model_reads_nothing_from_its_logits(tmp_path: Path) -> None:
    # Two outputs per query, object and no object: the red query says "no object".
    specs = {spec.name: spec for spec in toy_bundle.specs()}
    logits = Tensor("pred_logits", "float32", (1, toy_bundle.QUERIES, 2))
    spec = replace(specs["mask_head"], outputs=(*specs["mask_head"].outputs, logits))
    head = toy_bundle.stage_graphs()["mask_head"]
    nodes = [*head.graph.node, helper.make_node("Identity", ["says"], ["pred_logits"])]
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in head.graph.initializer}
    constants["says"] = np.array([[[-9, 9], [9, -9], [9, -9], [-9, 9]]], np.float32)
    bundle = toy_bundle.make(
        tmp_path / "toy",
        graphs={"mask_head": toy_bundle.model(spec, nodes, **constants)},
        declared={"mask_head": spec},
        model=replace(toy_bundle.MODEL, kind="caption", category_prompt=None),
    )

    with Segmenter.open(bundle, vocabulary=Vocabulary.parse(WORDS)) as segmenter:
        assert [segment.name for segment in segmenter(flag()).segments] == ["green", "blue"]


def test_a_bundle_for_an_absent_backend_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    bundle = toy_bundle.make(tmp_path / "toy", backend={"name": "ncnn", "version": "1"})

    with pytest.raises(BackendError, match="there is no backend 'ncnn'"):
        Segmenter.open(bundle)


def test_a_bundle_without_a_stage_is_refused(tmp_path: Path) -> None:
    bundle = toy_bundle.make(tmp_path / "toy")
    whole = Segmenter.open(bundle)
    whole.close()
    stages = tuple(entry for entry in whole.bundle.manifest.stages if entry.spec.name != "clip_pool")
    replace(whole.bundle.manifest, stages=stages).write(bundle)

    with pytest.raises(BundleError, match="no stage 'clip_pool'"):
        Segmenter.open(bundle)


def test_segmenting_a_photo_never_imports_torch_or_what_exports(toy: Path, tmp_path: Path) -> None:
    Image.fromarray(flag()).save(tmp_path / "flag.png")
    code = (
        "import sys\n"
        "import odise_trt\n"
        "heavy = {'onnxruntime', 'numpy', 'PIL'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "from odise_trt import Segmenter, Vocabulary\n"
        f"with Segmenter.open({str(toy)!r}, cache=False) as segmenter:\n"
        "    segmenter.vocabulary = Vocabulary.parse('red; green; blue')\n"
        f"    print(len(segmenter({str(tmp_path / 'flag.png')!r}).segments))\n"
        "banned = {'torch', 'torchvision', 'diffusers', 'transformers', 'open_clip', 'onnx', 'reference',\n"
        "          'export', 'scipy'}\n"
        "assert not banned & sys.modules.keys(), banned & sys.modules.keys()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONSTARTUP": ""}
    )

    assert done.stdout.split() == ["3"], done.stderr


def test_the_package_lists_what_it_exports() -> None:
    import odise_trt

    for name in odise_trt.__all__:
        assert getattr(odise_trt, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Segmentor'"):
        odise_trt.Segmentor  # noqa: B018
