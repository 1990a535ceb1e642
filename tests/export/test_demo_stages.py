"""The real stages of the demo preset, at both precisions, and as engines of TensorRT for RTX."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
import torch

from export.builders.tensorrt import build_engine
from export.checked_export import CheckedExport, Task, export_checked, load_model
from export.onnx_export import export_stage
from export.parity import check_sizes
from export.plan import Request
from export.stages import STAGES
from export.stages.chain_stage import ChainStage
from odise_trt.backends import find_backend
from odise_trt.bundle import Bundle
from reference.preset import DEMO, ODISE_CAPTION, ODISE_LABEL, Preset

REQUEST = Request("demo", "random:3")
#: The first two take a minute in half precision. CLIP is in the text encoder, too.
LONG = ("features", "mask_head", "clip_pool", "captioner", "stitch")
#: Stages between them. They compute in float32 in every build, except that maps are half in one of fp16.
BETWEEN = tuple(name for name, stage in STAGES.items() if issubclass(stage, ChainStage))
IN_HALF = [
    pytest.param(stage, marks=pytest.mark.slow if stage in LONG else ())
    for stage in ("captioner", "features", "mask_head", "clip_pool", "text_encoder", "stitch")
]
needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"
)


def domains(graph: Path) -> set[str]:
    """Of the operators; those of the standard have none."""
    return {node.domain for node in onnx.load(graph).graph.node}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_agrees_with_the_reference_and_is_standard(stage: str, demo_bundle: Path) -> None:
    manifest = Bundle.open(demo_bundle).manifest
    rows = [row for row in manifest.parity if row.stage == stage]
    declared = STAGES[stage].declare(DEMO)
    assert {row.tensor for row in rows} == {tensor.name for tensor in declared.outputs}
    assert len({tuple(row.sizes.items()) for row in rows}) == len(
        STAGES[stage].sizes(DEMO) or check_sizes(declared)
    )
    assert all(row.passed for row in rows)
    assert domains(demo_bundle / f"{stage}.onnx") == {""}


def test_graphs_for_onnx_runtime_have_no_operator_that_it_lacks(demo_bundle: Path) -> None:
    graphs = [onnx.load(demo_bundle / f"{stage}.onnx").graph for stage in STAGES]
    operators = {node.op_type for graph in graphs for node in graph.node}
    assert operators.isdisjoint(find_backend("onnxruntime").lacks)
    # The norms are there, written with others; resizing is there, as products.
    assert {"InstanceNormalization", "BatchNormalization"} <= operators
    cubic = [n for g in graphs for n in g.node for a in n.attribute if a.name == "mode" and a.s == b"cubic"]
    assert cubic == []


@pytest.fixture(scope="module")
def in_half(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], CheckedExport]:
    """A stage exported in half precision and compared, once for all tests."""
    model, folder = load_model(REQUEST), tmp_path_factory.mktemp("half")
    # The demo bundle runs ten windows and 128 texts at once, in fp32. In half precision that takes ten times
    # as long.
    few = replace(REQUEST, parity_limits={"windows": 3, "texts": 8})
    return cache(lambda stage: export_checked(model, Task(stage, "fp16"), few, folder))


@pytest.mark.parametrize("stage", IN_HALF)
def test_a_stage_in_half_precision_agrees_with_the_reference_and_is_standard(
    stage: str, in_half: Callable[[str], CheckedExport]
) -> None:
    exported = in_half(stage)
    assert exported.rows
    assert all(row.passed for row in exported.rows)
    assert domains(exported.graph.path) == {""}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_mask_head_through_grid_sample_agrees_as_well(precision: str, tmp_path: Path) -> None:
    task = Task("mask_head", precision, sampling="grid_sample")
    exported = export_checked(load_model(REQUEST), task, REQUEST, tmp_path)
    # Two layers over three levels.
    assert exported.graph.operators["GridSample"] == 6
    assert all(row.passed for row in exported.rows)


@pytest.mark.slow
def test_the_mask_head_of_a_caption_model_has_foreground_logits(tmp_path: Path) -> None:
    request = Request("golden-caption", "random:3", parity_limits={"height": 256, "width": 320})
    exported = export_checked(load_model(request), Task("mask_head", "fp16"), request, tmp_path)
    assert {row.tensor for row in exported.rows} == {"pred_masks", "mask_embed", "pred_logits"}
    assert all(row.passed for row in exported.rows)


@needs_rtx
@pytest.mark.parametrize(
    "stage",
    ["text_encoder", *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)],
)
def test_a_stage_builds_for_tensorrt_rtx_in_half_precision(
    stage: str, in_half: Callable[[str], CheckedExport], tmp_path: Path
) -> None:
    exported = in_half(stage)
    engine = tmp_path / f"{stage}.engine"
    build_engine(find_backend("tensorrt_rtx").load(), exported.spec, exported.graph.path, engine)
    assert engine.stat().st_size > exported.graph.bytes


@needs_rtx
@pytest.mark.parametrize("stage", BETWEEN)
def test_a_stage_between_the_models_parts_builds_for_tensorrt_rtx(
    stage: str, demo_bundle: Path, tmp_path: Path
) -> None:
    spec = Bundle.open(demo_bundle).manifest.stage(stage).spec
    engine, graph = tmp_path / f"{stage}.engine", demo_bundle / f"{stage}.onnx"
    build_engine(find_backend("tensorrt_rtx").load(), spec, graph, engine)
    assert engine.stat().st_size > graph.stat().st_size


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_stages_between_the_models_parts_compute_in_float32(precision: str) -> None:
    half = {name for name in BETWEEN if STAGES[name].computes_in(precision) != "fp32"}
    assert half == ({"stitch"} if precision == "fp16" else set())


#: What engines refuse, or take in some versions only: a bundle's graphs must run everywhere.
_RARE = {
    *("Loop", "Scan", "If", "NonZero", "Compress", "Unique", "ScatterElements", "ScatterND", "GatherND"),
    *("CumSum", "OneHot", "Resize", "BitShift", "BitwiseAnd", "ArgMax", "IsNaN", "IsInf", "MatMulInteger"),
}


@pytest.mark.parametrize("stage", BETWEEN)
def test_graphs_between_the_models_parts_have_common_operators_only(stage: str, demo_bundle: Path) -> None:
    graph = onnx.load(demo_bundle / f"{stage}.onnx").graph
    assert {node.op_type for node in graph.node}.isdisjoint(_RARE)
    # Bytes are inputs and outputs only: a Cast is all that engines do with them.
    narrow = {
        value.name for value in graph.input if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    }
    for node in graph.node:
        assert node.op_type == "Cast" or narrow.isdisjoint(node.input)
    made = {
        value.name for value in graph.output if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    }
    assert {node.op_type for node in graph.node if made & set(node.output)} <= {"Cast"}


@pytest.mark.slow
@needs_rtx
@pytest.mark.parametrize("preset", [ODISE_LABEL, ODISE_CAPTION], ids=lambda preset: preset.name)
@pytest.mark.parametrize("stage", BETWEEN)
def test_a_stage_between_the_parts_of_the_papers_models_builds(
    stage: str, preset: Preset, tmp_path: Path
) -> None:
    # They need no weights but two scales and the embedding of "nothing".
    scale = SimpleNamespace(scale=lambda: torch.tensor(30.0))
    model = SimpleNamespace(
        preset=preset,
        clip=scale,
        mask_head=SimpleNamespace(predictor=SimpleNamespace(post_mask_embed=scale)),
        category_head=SimpleNamespace(null=lambda: torch.ones(1, preset.head.mask_dim)),
    )
    wrapper = STAGES[stage]
    precision = wrapper.computes_in("fp16")
    spec = wrapper.declare(preset).at(precision)
    graph = export_stage(wrapper(model).eval(), spec, tmp_path, precision=precision)  # type: ignore[arg-type]
    build_engine(find_backend("tensorrt_rtx").load(), spec, graph.path, tmp_path / "engine")
    assert (tmp_path / "engine").stat().st_size > graph.bytes
