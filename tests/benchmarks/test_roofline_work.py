"""Work counted from graphs: by hand on small ones, by PyTorch on the stages, and at full size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.roofline.shapes import tensor_shapes
from benchmarks.roofline.work import GraphWork, Work, count, total
from export.stages import STAGES
from odise_trt.bundle.manifest import Manifest
from odise_trt.errors import ExportError
from reference.checkpoint import load_weights
from reference.model import ODISE
from reference.preset import find_preset

FLOAT = 4


def graph(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[int | str, ...]],
    weights: Mapping[str, np.ndarray] | None = None,
    output: str = "y",
) -> onnx.ModelProto:
    return helper.make_model(
        helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
    )


def counted(node: onnx.NodeProto, x: tuple[int, ...], **weights: np.ndarray) -> GraphWork:
    return count(graph([node], {"x": x}, weights), {"x": x})


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def test_a_matrix_product_is_two_operations_per_term_and_reads_each_matrix_once() -> None:
    found = counted(helper.make_node("MatMul", ["x", "w"], ["y"]), (5, 3, 7), w=zeros(7, 11))
    assert found.least == Work(
        matmul=2 * 5 * 3 * 7 * 11, weights=FLOAT * 77, activations=FLOAT * (5 * 3 * 7 + 5 * 3 * 11)
    )
    assert found.layered == found.least


def test_a_transposed_gemm_sums_over_the_other_axis() -> None:
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transA=1)
    assert counted(node, (7, 3), w=zeros(7, 11), b=zeros(11)).least.matmul == 2 * 7 * 3 * 11


@pytest.mark.parametrize(("group", "weight"), [(1, (8, 6, 3, 3)), (2, (8, 3, 3, 3))])
def test_a_convolution_counts_kernel_times_channels_of_a_group(group: int, weight: tuple[int, ...]) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1], group=group)
    found = counted(node, (2, 6, 10, 10), w=zeros(*weight))
    assert found.least.conv == 2 * (2 * 8 * 5 * 5) * (6 // group * 9)
    assert found.least.matmul == 0


def test_a_transposed_convolution_spreads_every_input() -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    assert counted(node, (1, 6, 5, 5), w=zeros(6, 4, 2, 2)).least.conv == 2 * (6 * 5 * 5) * (4 * 2 * 2)


def test_an_einsum_counts_the_product_of_all_its_indices() -> None:
    node = helper.make_node("Einsum", ["x", "w"], ["y"], equation="bqc,cd->bqd")
    assert counted(node, (2, 3, 5), w=zeros(5, 7)).least.matmul == 2 * 2 * 3 * 5 * 7


def test_elementwise_work_is_one_operation_per_element_and_reductions_read_all() -> None:
    assert counted(helper.make_node("Sigmoid", ["x"], ["y"]), (4, 6)).least.other == 24
    assert counted(helper.make_node("ReduceMax", ["x"], ["y"]), (4, 6)).least.other == 24
    assert counted(helper.make_node("Transpose", ["x"], ["y"]), (4, 6)).least.other == 0


def test_a_gather_reads_what_it_takes_and_not_the_table() -> None:
    table = zeros(1000, 8)
    found = counted(helper.make_node("Gather", ["w", "i"], ["y"]), (1,), w=table, i=np.array([3, 5]))
    assert found.layered.bytes == 2 * FLOAT * 2 * 8


def test_layers_move_what_lies_between_them_and_the_least_does_not() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Exp", ["h"], ["y"])]
    found = count(graph(nodes, {"x": (100,)}), {"x": (100,)})
    assert found.least.bytes == 2 * FLOAT * 100
    assert found.layered.bytes == 4 * FLOAT * 100
    assert [node.op_type for node in found.nodes] == ["Relu", "Exp"]


def test_shapes_that_are_worked_out_from_shapes_are_followed() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["all"]),
        helper.make_node("Gather", ["all", "first"], ["rows"]),
        helper.make_node("Mul", ["rows", "two"], ["doubled"]),
        helper.make_node("Concat", ["doubled", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["y"]),
    ]
    numbers = {"first": np.array([0]), "two": np.array([2]), "rest": np.array([-1])}
    shapes = tensor_shapes(graph(nodes, {"x": ("rows", 6)}, numbers), {"x": (4, 6)})
    assert shapes["y"].shape == (8, 3)


def test_a_shape_that_depends_on_values_is_an_error_that_names_the_node() -> None:
    node = helper.make_node("NonZero", ["x"], ["y"], name="where")
    with pytest.raises(ExportError, match=r"node where \(NonZero\): the shape of y is not known"):
        tensor_shapes(graph([node], {"x": (4, 6)}), {"x": (4, 6)})


def test_an_input_without_a_shape_is_an_error() -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    with pytest.raises(ExportError, match="the input x has no shape"):
        tensor_shapes(graph([node], {"x": (4,)}), {})


def test_work_adds_up() -> None:
    parts = Work(1, 2, 3, 4, 5), Work(10, 20, 30, 40, 50)
    assert total(parts) == Work(11, 22, 33, 44, 55)
    assert total(parts).flops == 66
    assert total(parts).products == 33
    assert total(parts).bytes == 99


def flops_of(
    model: ODISE, stage: str, shapes: Mapping[str, tuple[int, ...]], device: str = "meta"
) -> dict[str, int]:
    """PyTorch's count, by default on tensors without memory. It knows attention only as two products."""
    with (
        torch.device(device),
        torch.inference_mode(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        STAGES[stage](model).eval()(*(torch.rand(shape) for shape in shapes.values()))
    found = counter.get_flop_counts()["Global"]
    conv = sum(number for name, number in found.items() if "convolution" in str(name))
    return {"conv": conv, "matmul": sum(found.values()) - conv}


#: Products in the graphs that are no products in PyTorch: bicubic resizing and deformable sampling.
ALSO = {"captioner": 0.6, "features": 0.6, "mask_head": 0.1, "clip_pool": 0.0}


@pytest.mark.parametrize("stage", ["captioner", "features", "mask_head", "clip_pool"])
def test_the_demo_stages_have_the_work_that_pytorch_counts(demo_bundle: Path, stage: str) -> None:
    spec = Manifest.read(demo_bundle).stage(stage).spec
    sizes = {"windows": 2, "side": 512, "height": 128, "width": 256}
    shapes = {tensor.name: tensor.resolve(sizes) for tensor in spec.inputs}
    found = count(onnx.load(demo_bundle / f"{stage}.onnx", load_external_data=False), shapes).least
    if stage == "mask_head":  # it turns autocast off, which tensors without memory do not know
        expected = flops_of(load_weights("demo", "demo").requires_grad_(False), stage, shapes, "cpu")
    else:
        with torch.device("meta"):
            expected = flops_of(ODISE(find_preset("demo")).requires_grad_(False), stage, shapes)
    assert found.conv == expected["conv"]
    extra = found.matmul - expected["matmul"]
    # The time embedding at step 0 is a constant of the graph.
    assert -1e-4 * found.matmul <= extra <= ALSO[stage] * found.matmul
    weights = sum(one.stat().st_size for one in demo_bundle.glob(f"{stage}.onnx"))
    assert 0.9 * weights < found.weights < weights


@pytest.mark.slow
def test_the_full_model_has_the_live_work_that_was_counted_from_the_official_code() -> None:
    # TMAC per window of 512 pixels: autoencoder 0.558 and 0.311, UNet 0.370, projections 0.02; CLIP 0.191.
    with torch.device("meta"):
        model = ODISE(find_preset("odise-label")).eval().requires_grad_(False)
    for stage, expected in {"features": 0.558 + 0.370 + 0.311 + 0.02, "captioner": 0.191}.items():
        spec = STAGES[stage](model).declare(model.preset)
        shapes = {tensor.name: tensor.resolve({"windows": 1, "side": 512}) for tensor in spec.inputs}
        macs = sum(flops_of(model, stage, shapes).values()) / 2e12
        assert macs == pytest.approx(expected, rel=0.04), stage
