"""An exported stage is what it declares, everywhere, and only standard ONNX."""

from __future__ import annotations

import getpass
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from export import onnx_export
from export.onnx_export import OnnxFile, export_stage
from export.onnx_graph import check_graph
from odise_trt.errors import ExportError
from odise_trt.stage_spec import Tensor
from tests.export.tiny_stages import SIDE, Pyramid, Sampling, rows_to_rows, stage_of


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory: pytest.TempPathFactory) -> OnnxFile:
    stage = Pyramid()
    return export_stage(stage, stage.declare().at("fp32"), tmp_path_factory.mktemp("fp32"), precision="fp32")


def run(path: Path, *inputs: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip((i.name for i in session.get_inputs()), inputs, strict=True)))


def test_the_file_has_the_declared_names_and_dynamic_sizes(pyramid: OnnxFile) -> None:
    graph = onnx.load(pyramid.path).graph
    sizes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*graph.input, *graph.output]
    }
    assert sizes == {
        "windows": ["windows", 3, "side", "side"],
        "s2": ["windows", 32, "side/4", "side/4"],
    }


@pytest.mark.parametrize(("windows", "side"), [(1, 64), (1, SIDE), (2, 64), (5, SIDE)])
def test_one_file_serves_every_batch_and_side(pyramid: OnnxFile, windows: int, side: int) -> None:
    example = Pyramid.examples(None, {"windows": windows, "side": side}, torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = Pyramid().eval()(*example).numpy()
    (found,) = run(pyramid.path, example[0].numpy())
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 1e-5


def test_only_standard_operators_are_used(pyramid: OnnxFile) -> None:
    model = onnx.load(pyramid.path)
    assert {node.domain for node in model.graph.node} == {""}
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 21)]
    assert pyramid.operators["GroupNormalization"] == 1


def test_a_custom_operator_is_refused(tmp_path: Path) -> None:
    spec = rows_to_rows().at("fp32")
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["windows", 8])  # noqa: E731
    node = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft", name="activation")
    graph = helper.make_graph([node], "rows", [value("x")], [value("y")])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "rows.onnx")
    with pytest.raises(ExportError, match=r"com\.microsoft::Gelu \(activation\)"):
        check_graph(tmp_path / "rows.onnx", spec)


def test_the_same_stage_gives_the_same_bytes(pyramid: OnnxFile, tmp_path: Path) -> None:
    stage = Pyramid()
    again = export_stage(stage, stage.declare().at("fp32"), tmp_path, precision="fp32")
    assert again.path.read_bytes() == pyramid.path.read_bytes()


def test_nothing_of_the_machine_is_in_the_file(pyramid: OnnxFile, root: Path) -> None:
    content = pyramid.path.read_bytes()
    for trace in (str(root), "site-packages", "stack_trace", f"/home/{getpass.getuser()}"):
        assert trace.encode() not in content


def test_nodes_are_named_after_the_modules_they_come_from(pyramid: OnnxFile) -> None:
    names = {node.op_type: node.name for node in onnx.load(pyramid.path).graph.node}
    assert names["GroupNormalization"].startswith("group_norm")
    assert names["LayerNormalization"].startswith("layer_norm")


def test_large_weights_lie_beside_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "EXTERNAL_DATA_BYTES", 1000)
    stage = Pyramid()
    exported = export_stage(stage, stage.declare().at("fp32"), tmp_path, precision="fp32")
    assert [file.name for file in exported.files] == ["pyramid.onnx", "pyramid.onnx.data"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pyramid.onnx", "pyramid.onnx.data"]
    # Weights of 32 x 3 x 8 x 8 convolution alone are more than the graph may now hold.
    assert exported.path.stat().st_size < exported.files[1].stat().st_size
    windows = np.random.default_rng(0).random((2, 3, SIDE, SIDE), dtype=np.float32)
    with torch.no_grad():
        expected = stage(torch.from_numpy(windows)).numpy()
    np.testing.assert_allclose(run(exported.path, windows)[0], expected, atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        Tensor("s2", "float16", ("windows", 32, "side/4", "side/4")),
        Tensor("s2", "float32", ("windows", 32, SIDE // 4, SIDE // 4)),
        Tensor("s2", "float32", ("windows", 33, "side/4", "side/4")),
        Tensor("s2", "float32", ("windows", 32, "side/4")),
    ],
    ids=["dtype", "static for dynamic", "width", "rank"],
)
def test_a_declaration_that_is_not_true_is_refused(wrong: Tensor, pyramid: OnnxFile) -> None:
    spec = replace(Pyramid.declare().at("fp32"), outputs=(wrong,))
    with pytest.raises(ExportError, match=r"outputs of pyramid\.onnx differ from the declaration"):
        check_graph(pyramid.path, spec)


def test_a_stage_that_branches_on_a_dynamic_size_is_refused(tmp_path: Path) -> None:
    stage = stage_of(lambda self, x: x + 1 if x.shape[0] == 3 else x, rows_to_rows())
    with pytest.raises(ExportError, match="rows cannot be traced"):
        export_stage(stage, rows_to_rows().at("fp32"), tmp_path, precision="fp32")
    assert not list(tmp_path.iterdir())


def test_an_epsilon_survives_simplification(tmp_path: Path) -> None:
    # The mean over what is positive, as masks are pooled: nothing positive gives zero, not NaN.
    def forward(self, x):  # type: ignore[no-untyped-def]
        inside = (x > 0).float()
        return inside * x / (inside.sum(-1, keepdim=True) + 1e-8)

    spec = rows_to_rows().at("fp32")
    exported = export_stage(stage_of(forward, spec), spec, tmp_path, precision="fp32")
    (found,) = run(exported.path, np.array([[-1.0] * 8, [4.0] * 4 + [-1.0] * 4], np.float32))
    np.testing.assert_array_equal(found, [[0.0] * 8, [1.0] * 4 + [0.0] * 4])


def test_an_operator_set_that_is_too_old_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="opset 17 is too old"):
        export_stage(Pyramid(), Pyramid.declare().at("fp32"), tmp_path, precision="fp32", opset=17)


# The stages of the demo bundle are exported with "gather".
@pytest.mark.slow
@pytest.mark.parametrize("lowering", ["gather", "grid_sample"])
def test_both_lowerings_of_deformable_attention_give_the_reference(
    lowering: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reference runs PyTorch's own grid_sample, whatever is exported.
    sizes = {"height": 192, "width": 64}
    example = Sampling.examples(None, sizes, torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = _with_lowering("grid_sample", monkeypatch)(*example).numpy()
    stage = _with_lowering(lowering, monkeypatch)
    exported = export_stage(stage, stage.declare().at("fp32"), tmp_path, precision="fp32")
    assert ("GridSample" in exported.operators) == (lowering == "grid_sample")
    (found,) = run(exported.path, *(level.numpy() for level in example))
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 1e-5


def _with_lowering(lowering: str, monkeypatch: pytest.MonkeyPatch) -> Sampling:
    monkeypatch.setattr(Sampling, "lowering", lowering)
    return Sampling().eval()
