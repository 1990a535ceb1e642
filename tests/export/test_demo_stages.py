"""The real stages of the demo preset, at both precisions, and as engines of TensorRT for RTX."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from export.builders.tensorrt import build_engine
from export.checked_export import export_checked, load_model
from export.plan import Request
from odise_trt.backends import find_backend
from reference.model import ODISE

REQUEST = Request("demo", "random:3")
SLOW = ("features", "mask_head")
STAGES_AND_PRECISIONS = [
    pytest.param(stage, precision, marks=pytest.mark.slow if stage in SLOW else ())
    for stage in ("captioner", "features", "mask_head", "clip_pool", "text_encoder")
    for precision in ("fp32", "fp16")
]
needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"
)


@pytest.fixture(scope="module")
def model() -> ODISE:
    return load_model(REQUEST)


@pytest.mark.parametrize(("stage", "precision"), STAGES_AND_PRECISIONS)
def test_a_stage_agrees_with_the_reference_and_is_standard(
    stage: str, precision: str, model: ODISE, tmp_path: Path
) -> None:
    exported = export_checked(model, (stage, precision), REQUEST, tmp_path)
    assert exported.rows
    assert all(row.passed for row in exported.rows)
    assert {node.domain for node in onnx.load(exported.graph.path).graph.node} == {""}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_mask_head_through_grid_sample_agrees_as_well(precision: str, tmp_path: Path) -> None:
    request = replace(REQUEST, sampling="grid_sample")
    exported = export_checked(load_model(request), ("mask_head", precision), request, tmp_path)
    # Two layers over three levels.
    assert exported.graph.operators["GridSample"] == 6
    assert all(row.passed for row in exported.rows)


@pytest.mark.slow
def test_the_mask_head_of_a_caption_model_has_foreground_logits(tmp_path: Path) -> None:
    request = Request("golden-caption", "random:3", parity_limits={"height": 256, "width": 320})
    exported = export_checked(load_model(request), ("mask_head", "fp16"), request, tmp_path)
    assert {row.tensor for row in exported.rows} == {"pred_masks", "mask_embed", "pred_logits"}
    assert all(row.passed for row in exported.rows)


@needs_rtx
@pytest.mark.parametrize(
    "stage",
    ["captioner", "text_encoder", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)],
)
def test_a_stage_builds_for_tensorrt_rtx_in_half_precision(stage: str, model: ODISE, tmp_path: Path) -> None:
    exported = export_checked(model, (stage, "fp16"), REQUEST, tmp_path)
    engine = tmp_path / f"{stage}.engine"
    build_engine(find_backend("tensorrt_rtx").load(), exported.spec, exported.graph.path, engine)
    assert engine.stat().st_size > exported.graph.bytes
