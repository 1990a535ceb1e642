"""A quantized graph is the half-precision one with the selected layers quantized, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from export.quantizing.graph import clean, keep_others, require_as_selected
from export.quantizing.layers import layer_errors
from export.quantizing.page import layers_of_a_miss, write_layers
from export.quantizing.selection import Layer
from export.quantizing.stage import precision_map
from odise_trt.errors import ExportError, ParityError
from tests.export.quantizing import stand_in_modelopt as stand_in
from tests.export.quantizing import toy_graph

QUANTIZE: dict[str, Any] = {}
exec(stand_in.WORKS, QUANTIZE)  # the program that runs in another process elsewhere


class Samples:
    def get_next(self) -> None:
        return None


@pytest.fixture
def half(tmp_path: Path) -> Path:
    return toy_graph.write(tmp_path / "half.onnx")


def quantized(half: Path, precision: str = "int8", nodes: tuple[str, ...] = (toy_graph.INNER,)) -> Path:
    out = half.with_name(f"{precision}.onnx")
    model = QUANTIZE["quantize_in"](
        precision,
        str(half),
        nodes_to_quantize=[f"{name}$" for name in nodes],
        calibration_data_reader=Samples(),
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
    )
    onnx.save(model, out)
    return out


def change_scale(value: float) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        for one in model.graph.initializer:
            if one.name == "inner_scale":
                one.CopyFrom(numpy_helper.from_array(np.float16(value), one.name))

    return change


def change_zero(model: onnx.ModelProto) -> None:
    next(one for one in model.graph.initializer if one.name == "inner_zero").raw_data = b"\1"


def rename(model: onnx.ModelProto) -> None:
    model.graph.node[0].name = "another"


def another_operator(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.name == toy_graph.LAST).op_type = "Add"


def one_operand(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.name == toy_graph.INNER).input[0] = "a"


def nothing(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.name == toy_graph.INNER)
    node.input[0], node.input[1] = "a", "inner"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_scale(0.0), "scale that is zero or not finite"),
        (change_scale(np.inf), "scale that is zero or not finite"),
        (change_zero, "zero point that is not zero"),
        (rename, "changed more than operands: another"),
        (another_operator, "changed stage/clip_pool/MatMul"),
        (one_operand, "quantized one operand of .*c_fc/MatMul only"),
        (nothing, "did not quantize .*c_fc/MatMul: 0 layers are quantized, 1 were selected"),
    ],
)
def test_a_graph_that_is_not_as_selected_is_refused(
    half: Path, change: Callable[[onnx.ModelProto], None], message: str
) -> None:
    path = quantized(half)
    model = onnx.load(path)
    change(model)
    with pytest.raises(ExportError, match=message):
        require_as_selected(ir.load(half).graph, ir.serde.deserialize_model(model).graph, [toy_graph.INNER])


def test_a_layer_more_than_selected_is_refused(half: Path) -> None:
    path = quantized(half, nodes=(toy_graph.INNER, toy_graph.LAST))
    with pytest.raises(ExportError, match="ModelOpt quantized stage/clip_pool/MatMul: 2 layers"):
        require_as_selected(ir.load(half).graph, ir.load(path).graph, [toy_graph.INNER])


def test_other_nodes_read_the_tensor_that_was_quantized_for_one(half: Path) -> None:
    model = ir.load(quantized(half, nodes=(toy_graph.INNER, toy_graph.LAST)))
    keep_others(model.graph, [toy_graph.INNER])
    require_as_selected(ir.load(half).graph, model.graph, [toy_graph.INNER])
    last = next(node for node in model.graph if node.name == toy_graph.LAST)
    assert [value.name for value in last.inputs if value] == ["b", "stage.clip_pool.clip.visual.proj"]


def test_a_cleaned_graph_has_the_declarations_of_the_one_before(half: Path) -> None:
    model = ir.load(quantized(half))
    model.metadata_props["made on"], model.graph.name = "this machine", "other"
    model.graph.inputs[0].shape = ir.Shape([8, toy_graph.WIDTH])
    clean(model, ir.load(half))
    assert model.graph.name == "clip_pool"
    assert model.graph.inputs[0].shape == ["n", toy_graph.WIDTH]
    assert not model.metadata_props


@pytest.mark.parametrize(("precision", "most"), [("int8", 0.05), ("fp8", 0.05)])
def test_the_loss_of_a_layer_is_that_of_rounding_its_operands(
    half: Path, tmp_path: Path, precision: str, most: float
) -> None:
    """int8 rounds to steps of a scale, fp8 to four bits: worked out in float64 here."""
    layer = Layer(toy_graph.INNER, "MatMul", (toy_graph.WIDTH, toy_graph.WIDTH), None)
    samples = [toy_graph.sample(tmp_path / "0.npz")]
    (found,) = layer_errors(half, quantized(half, precision), [layer], samples)
    weights = {one.name: numpy_helper.to_array(one) for one in onnx.load(half).graph.initializer}
    with np.load(samples[0]) as file:
        given = (file["x"].astype(np.float32) @ weights["first"].astype(np.float32)).astype(np.float16)
    scales = {one.name: one for one in onnx.load(half.with_name(f"{precision}.onnx")).graph.initializer}
    rounded = [
        round_to(array.astype(np.float64), float(numpy_helper.to_array(scales[f"{name}_scale"])), precision)
        for array, name in ((given, "a"), (weights["inner"], "inner"))
    ]
    exact = given.astype(np.float64) @ weights["inner"].astype(np.float64)
    expected = np.linalg.norm(rounded[0] @ rounded[1] - exact) / np.linalg.norm(exact)
    assert found.error == pytest.approx(expected, rel=0.05)
    assert 0 < found.error < most
    assert found.decibels == pytest.approx(-20 * np.log10(found.error), abs=0.1)


def round_to(array: np.ndarray, scale: float, precision: str) -> np.ndarray:
    if precision == "int8":
        return np.clip(np.round(array / scale), -128, 127) * scale
    # Three bits behind the first one, down to 2^-6, where numbers become subnormal.
    unit = 2.0 ** (np.maximum(np.floor(np.log2(np.maximum(np.abs(array / scale), 1e-30))), -6) - 3)
    return np.round(array / scale / unit) * unit * scale


def test_the_page_lists_the_worst_layer_first(tmp_path: Path, half: Path) -> None:
    layers = [
        Layer(name, "MatMul", (toy_graph.WIDTH, toy_graph.WIDTH), why)
        for name, why in (
            (toy_graph.FIRST, "first or last layer"),
            (toy_graph.INNER, None),
            (toy_graph.LAST, None),
        )
    ]
    path = quantized(half, "fp8", (toy_graph.INNER, toy_graph.LAST))
    errors = layer_errors(half, path, layers[1:], [toy_graph.sample(tmp_path / "0.npz")])
    found = precision_map("fp8", layers, errors, ("softmax",))
    assert found["fp8"] == ["2 of 3 layers with weights"]
    assert found["float16"] == ["1 layer: first or last layer", "products of attention"]
    miss = ParityError("1 output is further from the reference", "nothing was installed")
    with pytest.raises(ParityError) as caught, layers_of_a_miss(tmp_path / "one", "one", found, "clip_pool"):
        raise miss
    page = tmp_path / "one.layers.html"
    assert caught.value.message == f"{miss.message}\n  what each layer loses: {page}"
    assert caught.value.hint == miss.hint
    assert f'class="module">{errors[0].module}<' in page.read_text()
    with pytest.raises(ParityError) as caught, layers_of_a_miss(tmp_path / "two", "two", None, "mask_head"):
        raise miss
    assert caught.value is miss
    assert not (tmp_path / "two.layers.html").exists()
    write_layers(tmp_path / "layers.html", {"clip_pool": found}, "a <bundle>")
    text = (tmp_path / "layers.html").read_text()
    worst, better = sorted(errors, key=lambda one: -one.error)
    worst_row, better_row = (f'class="module">{one.module}<' for one in (worst, better))
    assert text.index(worst_row) < text.index(better_row)
    assert "a &lt;bundle&gt;" in text
    assert "http" not in text
