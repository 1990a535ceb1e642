"""Pictures through fp16 engines on the stand-in, against numpy between the same engines on the CPU.

The tensors between engines are half here, and the graphs are those that TensorRT gets for fp16.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from odise_trt import Segmenter
from odise_trt.bundle.manifest import Manifest
from odise_trt.task import TASKS
from tests.odise_trt.device.on_stand_in import WORDS, OnStandIn, assert_same
from tests.odise_trt.streaming.parts import ReadAhead
from tests.stand_in import bundle as stand_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(half_demo_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the one in fp32: one or two windows."""
    model = replace(Manifest.read(half_demo_bundle).model, short_side=128, max_side=256)
    return stand_in.copy(half_demo_bundle, tmp_path_factory.mktemp("half") / "host", model=model)


@pytest.fixture(scope="module")
def folder(source: Path) -> Path:
    return stand_in.make(source, source.parent / "stand-in")


@pytest.fixture(scope="module")
def host(source: Path) -> Iterator[Segmenter]:
    with Segmenter.open(source, vocabulary=WORDS, verify="size", cache=source.parent / "tables") as opened:
        yield opened


def test_all_tasks_equal_those_of_the_cpu(
    gpu: OnStandIn, host: Segmenter, photo: np.ndarray, small: np.ndarray, wide: np.ndarray
) -> None:
    assert gpu.segmenter.runs_on["between engines"] == "engines"
    maps = {tensor.dtype for tensor in gpu.segmenter.bundle.manifest.stage("features").spec.outputs}
    assert maps == {"float16"}
    for pixels in (small, wide, photo):
        assert_same(gpu.segmenter.results(pixels, TASKS), host.results(pixels, TASKS))


def test_a_group_gives_what_its_pictures_give_alone_up_to_the_rounding_of_its_engines(
    gpu: OnStandIn, small: np.ndarray, wide: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime rounds halves otherwise with more windows: maps differ by 8.5e-4, in fp32 not at all."""
    monkeypatch.setattr("odise_trt.segmenter.Reader", ReadAhead)
    given = [small, small[::-1], wide, wide[::-1]]
    alone = [gpu.segmenter(one) for one in given]
    gpu.machine.ran.clear()
    for one, expected in zip(gpu.segmenter.stream(given), alone, strict=True):
        assert (one.result.panoptic == expected.panoptic).mean() >= 0.999
        assert [s.name for s in one.result.segments] == [s.name for s in expected.segments]
    assert [shapes["windows"][0] for stage, shapes in gpu.machine.ran if stage == "features"] == [2, 4]
