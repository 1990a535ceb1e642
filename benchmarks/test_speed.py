"""`pytest benchmarks`: the stages of the demo bundle and the way from file to file, by pytest-benchmark.

    pytest benchmarks --benchmark-compare

It looks for `engines/demo-onnxruntime-fp32`, or the bundle in $ODISE_BENCH_ENGINES.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.random_table import random_table
from odise_trt import Segmenter
from odise_trt.classify import classify
from odise_trt.executor import IMAGE_STAGES, Clock, Executor
from odise_trt.masks import MaskTiles
from odise_trt.postprocess import class_probabilities, instances, panoptic
from odise_trt.preprocess import clip_image, pad, to_planes
from odise_trt.semantic_map import semantic
from odise_trt.windows import Grid
from reference.scenes import make_scene

pytest.importorskip("pytest_benchmark", reason="it is in the extra dev")

BUNDLE = Path(os.environ.get("ODISE_BENCH_ENGINES", "engines/demo-onnxruntime-fp32"))
#: Stage -> its inputs by name.
Inputs = dict[str, dict[str, np.ndarray]]
_NAMES = (
    "sky",
    "cloud",
    "mountain",
    "grass",
    "water",
    "road",
    "house",
    "tree",
    "car",
    "boat",
    "ball",
    "person",
)


@pytest.fixture(scope="module")
def segmenter() -> Iterator[Segmenter]:
    """The bundle, opened once."""
    if not BUNDLE.exists():
        pytest.skip(f"{BUNDLE} does not exist: odise-trt build --preset demo --backend onnxruntime")
    with Segmenter.open(BUNDLE, vocabulary=list(_NAMES)) as opened:
        yield opened


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """A drawn scene, uint8 (512, 512, 3)."""
    return make_scene(seed=1_000_008).image


@pytest.fixture(scope="module")
def inputs(
    segmenter: Segmenter, image: np.ndarray
) -> Iterator[tuple[Executor, dict[str, dict[str, np.ndarray]]]]:
    """The engines, and what each gets for the image."""
    model = segmenter.bundle.manifest.model
    executor = Executor.open(segmenter.bundle)
    planes = to_planes(image[:: image.shape[0] // model.short_side, :: image.shape[1] // model.short_side])
    padded = pad(planes, model.divisor)
    given: Inputs = {}
    windows = Grid.over(padded.shape[1], padded.shape[2], model.window).cut(padded)
    given["captioner"] = {"windows": windows}
    given["features"] = given["captioner"] | executor.run("captioner", given["captioner"])
    given["mask_head"] = executor.features(padded, len(windows), Clock())
    heads = executor.run("mask_head", given["mask_head"])
    given["clip_pool"] = {
        "clip_image": clip_image(planes, model.clip_image_size),
        "pred_masks": heads["pred_masks"],
    }
    yield executor, given
    executor.close()


@pytest.mark.parametrize("stage", IMAGE_STAGES)
def test_a_stage(stage: str, inputs: Any, benchmark: Any) -> None:
    """One stage on all windows of the picture."""
    executor, given = inputs
    assert benchmark(executor.run, stage, given[stage])


@pytest.mark.parametrize("words", [20, 10_000])
@pytest.mark.parametrize("task", ["panoptic", "semantic", "instance"])
def test_post_processing(task: str, words: int, benchmark: Any) -> None:
    """A task on drawn masks, with few and with many words."""
    rng = np.random.default_rng(0)
    masks = rng.standard_normal((32, 8, 8), dtype=np.float32).repeat(8, 1).repeat(8, 2) * 6
    probabilities = class_probabilities(rng.standard_normal((32, words + 1), dtype=np.float32) * 4)
    tiles = MaskTiles(masks, (256, 256), (256, 256), (512, 512))
    names, isthing = [str(number) for number in range(words)], [True] * words
    work = {
        "panoptic": partial(panoptic, tiles, probabilities, names, isthing, 0.0, 0.8),
        "semantic": partial(semantic, tiles, probabilities),
        "instance": partial(instances, tiles, probabilities, names, isthing, 100),
    }
    assert benchmark(work[task]) is not None


@pytest.mark.parametrize("words", [20, 10_000])
def test_classification(words: int, benchmark: Any) -> None:
    """Classes of a hundred masks at the widths of the paper's models."""
    rng = np.random.default_rng(0)
    embeds = (rng.standard_normal((100, width), dtype=np.float32) for width in (256, 768))
    null = rng.standard_normal((1, 256), dtype=np.float32)
    table = random_table(words)
    scales = {"logit_scale": 100.0, "clip_logit_scale": 100.0, "alpha": 0.3, "beta": 0.7}
    assert benchmark(classify, *embeds, table, null_embed=null, **scales).shape == (100, words + 1)


def test_from_file_to_file(segmenter: Segmenter, image: np.ndarray, tmp_path: Path, benchmark: Any) -> None:
    """What `odise-trt run` does with one picture."""
    from PIL import Image

    photo = tmp_path / "photo.png"
    Image.fromarray(image).save(photo)
    assert benchmark(lambda: segmenter(photo).save(tmp_path / "out", "photo", overwrite=True))
