"""The optional stage `resize`: Pillow's pixels, from the graph that engines are built from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from export.builders.tensorrt import build_engine
from export.onnx_export import export_stage
from export.stages import OPTIONAL_STAGES
from export.stages.resize import Resize
from odise_trt.backends.base import choose_profile
from odise_trt.bundle.rebuild import OPTIONAL_STAGES as NAMES
from odise_trt.resampling import BLOCK, passes, resize_tensors
from reference.preset import DEMO, ODISE_LABEL

Run = Any


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stage: Any = Resize(SimpleNamespace())  # type: ignore[arg-type]
    folder = tmp_path_factory.mktemp("resize")
    export_stage(stage, Resize.declare(DEMO).at("fp32"), folder, precision="fp32")
    return folder / "resize.onnx"


@pytest.fixture(scope="module")
def run(graph: Path) -> Run:
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    return lambda pixels, size, out: session.run(None, {"pixels": pixels, **resize_tensors(size, out)})[0]


def resized(run: Run, pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    for one in passes(pixels.shape[:2], (height, width)):
        if one == "across":
            pixels = run(pixels, pixels.shape[1], width)
        else:
            rows = pixels.reshape(1, len(pixels), -1)
            pixels = run(rows, len(pixels), height).reshape(height, -1, 3)
    return pixels


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((1, 1), (7, 5)),
        ((40, 60), (25, 31)),
        ((300, 20), (60, 4)),
        ((31, 45), (62, 90)),
        ((200, 310), (256, 397)),
        ((400, 30), (27, 256)),
    ],
)
@pytest.mark.parametrize("kind", ["noise", "black and white"])
def test_the_graph_gives_pillows_pixels(
    run: Run, source: tuple[int, int], target: tuple[int, int], kind: str
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*source, 3), dtype=np.uint8)
    if kind != "noise":
        pixels = np.where(pixels < 128, 0, 255).astype(np.uint8)
    expected = Image.fromarray(pixels).resize(target[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resized(run, pixels, *target), np.asarray(expected))


@pytest.mark.slow
@pytest.mark.parametrize("source", [(1080, 1920), (2160, 3840), (768, 1024), (4000, 3000)])
def test_the_graph_gives_pillows_pixels_for_photos(run: Run, source: tuple[int, int]) -> None:
    height, width = source
    scale = 1024 / min(source)
    target = int(height * scale + 0.5), int(width * scale + 0.5)
    pixels = np.random.default_rng(2).integers(0, 256, (*source, 3), dtype=np.uint8)
    expected = Image.fromarray(pixels).resize(target[::-1], Image.Resampling.BILINEAR)
    for one in passes(source, target):
        down = one == "down"
        rows = pixels.reshape(1, len(pixels), -1) if down else pixels
        made = [
            run(rows[start : start + 64], rows.shape[1], target[not down])
            for start in range(0, len(rows), 64)
        ]
        pixels = np.concatenate(made)
        pixels = pixels.reshape(target[0], -1, 3) if down else pixels
    np.testing.assert_array_equal(pixels, np.asarray(expected))


def test_a_build_makes_it_only_on_request() -> None:
    assert OPTIONAL_STAGES["resize"] is Resize
    assert set(NAMES) == set(OPTIONAL_STAGES)


@pytest.mark.parametrize("preset", [DEMO, ODISE_LABEL], ids=lambda preset: preset.name)
def test_both_passes_of_every_block_are_in_a_profile(preset: Any) -> None:
    spec = Resize.declare(preset).at("fp32")
    spec.check()
    short, longest = preset.short_side, preset.max_side
    for rows, source, values, length in (
        (BLOCK, 8192, 3, longest),
        (1, 8192, 3 * 8192, BLOCK),
        (1, 1, 3, 1),
        (short % BLOCK or 1, 1, 3, short),
    ):
        sizes = {"rows": rows, "source": source, "values": values, "length": length, "taps": 32}
        choose_profile(spec, sizes)


def test_it_has_no_operators_but_standard_ones_and_no_weights(graph: Path) -> None:
    model = onnx.load(graph)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert graph.stat().st_size < 10_000


def test_it_builds_for_tensorrt_for_rtx(graph: Path, tmp_path: Path) -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    spec = Resize.declare(ODISE_LABEL).at("fp32")
    build_engine(rtx, spec, graph, tmp_path / "resize.engine", compute_capabilities=["8.9"])
    assert (tmp_path / "resize.engine").stat().st_size > 0
