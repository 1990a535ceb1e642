"""Half graphs with float32 islands: where they are, and that they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from export.onnx_export import export_stage
from odise_trt.errors import ExportError
from odise_trt.stage_spec import COMPUTE, Axis, StageSpec, Tensor
from tests.export.tiny_stages import Pyramid, rows_to_rows, stage_of

NORMALISED = {"GroupNormalization", "LayerNormalization", "Softmax"}


def input_types(path: Path) -> dict[str, set[str]]:
    """Operator -> dtypes of the first inputs of its nodes."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    types = {value.name: value.type.tensor_type.elem_type for value in [*graph.value_info, *graph.input]}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    found: dict[str, set[str]] = {}
    for node in graph.node:
        if node.input and node.input[0] in types:
            name = onnx.TensorProto.DataType.Name(types[node.input[0]])
            found.setdefault(node.op_type, set()).add(name)
    return found


def run_half(path: Path, **inputs: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, inputs)


@pytest.fixture(scope="module")
def pyramid() -> Pyramid:
    """A stage in float32, before its export."""
    return Pyramid()


@pytest.fixture(scope="module")
def before(pyramid: Pyramid) -> dict[str, torch.Tensor]:
    """Its numbers then."""
    return {name: value.clone() for name, value in pyramid.state_dict().items()}


@pytest.fixture(scope="module")
def exported(
    pyramid: Pyramid, before: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Its graph in half precision."""
    folder = tmp_path_factory.mktemp("pyramid")
    return export_stage(pyramid, pyramid.declare().at("fp16"), folder, precision="fp16").path


def test_products_are_half_and_normalisations_and_softmax_are_not(exported: Path) -> None:
    types = input_types(exported)
    assert types["Conv"] == {"FLOAT16"}
    assert types["MatMul"] == {"FLOAT16"}
    assert {operator: types[operator] for operator in NORMALISED} == {
        operator: {"FLOAT"} for operator in NORMALISED
    }


@pytest.mark.usefixtures("exported")
def test_the_original_stays_float32(pyramid: Pyramid, before: dict[str, torch.Tensor]) -> None:
    assert all(torch.equal(before[name], value) for name, value in pyramid.state_dict().items())
    assert {value.dtype for value in pyramid.parameters()} == {torch.float32}


def test_group_normalisation_of_large_activations_is_finite_and_right(tmp_path: Path) -> None:
    groups, channels, side = 4, 16, 32
    spec = StageSpec(
        name="norm",
        inputs=(Tensor("x", COMPUTE, ("windows", channels, side, side)),),
        outputs=(Tensor("y", COMPUTE, ("windows", channels, side, side)),),
        axes=(Axis("windows", 1, 2, 5),),
        profiles=(),
    )
    norm = nn.GroupNorm(groups, channels)
    exported = export_stage(
        stage_of(lambda self, x: self.norm(x), spec, norm=norm), spec.at("fp16"), tmp_path, precision="fp16"
    )
    # One square is 90,000 and more, beyond the 65,504 that half precision ends at; a group sums 4096 of them.
    x = (300 * np.random.default_rng(0).standard_normal((2, channels, side, side)) + 300).astype(np.float16)
    grouped = x.astype(np.float64).reshape(2, groups, -1)
    mean, variance = grouped.mean(-1, keepdims=True), grouped.var(-1, keepdims=True)
    expected = ((grouped - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape)
    (found,) = run_half(exported.path, x=x)
    assert found.dtype == np.float16
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.astype(np.float64), expected, atol=4e-3)


def test_mixed_operands_promote_to_float32(tmp_path: Path) -> None:
    # 400 * 400 overflows half precision; the model raises one operand, as the mask logits do.
    spec = rows_to_rows(width=8)
    stage = stage_of(lambda self, x: (x @ (x.float().transpose(0, 1)) @ x) / 1e6, spec)
    exported = export_stage(stage, spec.at("fp16"), tmp_path, precision="fp16")
    x = np.full((2, 8), 400, np.float16)
    (found,) = run_half(exported.path, x=x)
    # Each product is 8 * 400^2 = 1.28e6; times 400, over two rows, and a millionth of it: 1024.
    np.testing.assert_allclose(found, np.full((2, 8), 1024.0), rtol=1e-3)


def test_a_weight_beyond_half_precision_is_refused_by_name(tmp_path: Path) -> None:
    linear = nn.Linear(8, 8)
    nn.init.constant_(linear.weight, 1e5)
    stage = stage_of(lambda self, x: self.scale(x), rows_to_rows(), scale=linear)
    with pytest.raises(ExportError, match=r"scale\.weight has values beyond half precision"):
        export_stage(stage, rows_to_rows().at("fp16"), tmp_path, precision="fp16")


def test_a_module_can_stay_float32(tmp_path: Path) -> None:
    linear = nn.Linear(8, 8, bias=False)
    nn.init.constant_(linear.weight, 1e5)
    stage = stage_of(lambda self, x: self.scale(x) / 1e5, rows_to_rows(), scale=linear)
    type(stage).float32 = ("scale",)
    exported = export_stage(stage, rows_to_rows().at("fp16"), tmp_path, precision="fp16")
    (found,) = run_half(exported.path, x=np.full((1, 8), 2, np.float16))
    np.testing.assert_allclose(found, np.full((1, 8), 16.0), rtol=1e-3)


def test_an_island_that_is_not_on_the_map_is_refused(tmp_path: Path) -> None:
    stage = stage_of(lambda self, x: self.scale(x), rows_to_rows(), scale=nn.Linear(8, 8))
    type(stage).float32 = ("scales*",)
    with pytest.raises(ExportError, match=r"names no module: scales\*"):
        export_stage(stage, rows_to_rows().at("fp16"), tmp_path, precision="fp16")
