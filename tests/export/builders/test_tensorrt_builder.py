"""Engines of TensorRT for RTX, built without a GPU from what the stages declare."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from export.builders import open_builder
from export.builders.tensorrt import _config, build_engine, capability_names
from export.onnx_export import OnnxFile, export_stage
from odise_trt.backends import find_backend, host_os
from odise_trt.errors import BackendError, ExportError
from odise_trt.stage_spec import Profile, StageSpec, Tensor
from tests.export.tiny_stages import Pyramid, rows_to_rows, stage_of

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"
)


@pytest.fixture(scope="module")
def spec() -> StageSpec:
    return Pyramid.declare().at("fp16")


@pytest.fixture(scope="module")
def pyramid(spec: StageSpec, tmp_path_factory: pytest.TempPathFactory) -> OnnxFile:
    return export_stage(Pyramid(), spec, tmp_path_factory.mktemp("fp16"), precision="fp16")


@needs_rtx
def test_float32_is_not_multiplied_as_tf32() -> None:
    flavour = find_backend("tensorrt_rtx").load()
    builder = flavour.Builder(flavour.Logger())
    assert builder.create_builder_config().get_flag(flavour.BuilderFlag.TF32)
    assert not _config(flavour, builder).get_flag(flavour.BuilderFlag.TF32)


@needs_rtx
def test_engines_can_say_what_their_layers_are() -> None:
    flavour = find_backend("tensorrt_rtx").load()
    builder = flavour.Builder(flavour.Logger())
    assert _config(flavour, builder).profiling_verbosity == flavour.ProfilingVerbosity.DETAILED


@needs_rtx
def test_an_engine_builds_with_progress_and_in_half_precision(
    pyramid: OnnxFile, spec: StageSpec, tmp_path: Path
) -> None:
    seen: dict[str, tuple[int, int]] = {}

    def progress(phase: str, done: int, total: int) -> None:
        before = seen.get(phase, (0, total))[0]
        assert before <= done <= total
        seen[phase] = (done, total)

    engine = tmp_path / "pyramid.engine"
    build_engine(find_backend("tensorrt_rtx").load(), spec, pyramid.path, engine, progress=progress)
    assert [path.name for path in tmp_path.iterdir()] == ["pyramid.engine"]
    assert engine.stat().st_size > pyramid.bytes
    assert seen
    assert all(done == total for done, total in seen.values())


@needs_rtx
@pytest.mark.parametrize(
    "change",
    [
        {"outputs": (Tensor("s2", "float32", ("windows", 32, "side/4", "side/4")),)},
        {"outputs": (Tensor("s2", "float16", ("windows", 32, 32, "side/4")),)},
        {"outputs": (Tensor("features", "float16", ("windows", 32, "side/4", "side/4")),)},
        {"inputs": (Tensor("windows", "float32", (4, 3, "side", "side")),)},
    ],
    ids=["dtype", "static size", "name", "batch"],
)
def test_a_network_that_differs_from_its_declaration_is_refused(
    change: dict[str, tuple[Tensor, ...]], pyramid: OnnxFile, spec: StageSpec, tmp_path: Path
) -> None:
    flavour, engine = find_backend("tensorrt_rtx").load(), tmp_path / "pyramid.engine"
    with pytest.raises(ExportError, match="of the parsed network differ from the declaration"):
        build_engine(flavour, replace(spec, **change), pyramid.path, engine)
    assert not engine.exists()


@needs_rtx
def test_what_does_not_parse_is_named_by_node(tmp_path: Path) -> None:
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["windows", 8])  # noqa: E731
    node = helper.make_node("Unheard", ["x"], ["y"], name="head/Unheard", domain="com.example")
    graph = helper.make_graph([node], "rows", [value("x")], [value("y")])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "rows.onnx")
    with pytest.raises(ExportError, match="head/Unheard"):
        build_engine(
            find_backend("tensorrt_rtx").load(),
            rows_to_rows().at("fp32"),
            tmp_path / "rows.onnx",
            tmp_path / "rows.engine",
        )


@needs_rtx
def test_a_profile_outside_the_graph_does_not_build_and_leaves_nothing(
    pyramid: OnnxFile, spec: StageSpec, tmp_path: Path
) -> None:
    flavour = find_backend("tensorrt_rtx").load()
    upside_down = replace(spec, profiles=(Profile("wrong", {"windows": (5, 2, 1), "side": (64, 64, 64)}),))
    with pytest.raises(ExportError, match="cannot build stage pyramid"):
        build_engine(flavour, upside_down, pyramid.path, tmp_path / "pyramid.engine")
    assert not list(tmp_path.iterdir())


@needs_rtx
def test_engines_can_be_built_for_a_gpu_that_is_not_here(
    pyramid: OnnxFile, spec: StageSpec, tmp_path: Path
) -> None:
    flavour = find_backend("tensorrt_rtx").load()
    assert {"7.5", "8.6", "8.9", "12.0"} <= set(capability_names(flavour))
    engine = tmp_path / "pyramid.engine"
    build_engine(flavour, spec, pyramid.path, engine, compute_capabilities=["8.9"])
    assert engine.stat().st_size > pyramid.bytes


@needs_rtx
def test_a_gpu_nobody_builds_for_is_refused_with_those_it_can_be(
    pyramid: OnnxFile, spec: StageSpec, tmp_path: Path
) -> None:
    with pytest.raises(BackendError, match=r"does not build for compute capability 7\.0\n.*7\.5.*8\.9"):
        build_engine(
            find_backend("tensorrt_rtx").load(),
            spec,
            pyramid.path,
            tmp_path / "pyramid.engine",
            compute_capabilities=["7.0"],
        )


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="tensorrt is installed")
def test_a_flavour_that_is_not_installed_says_how_to_install_it() -> None:
    with pytest.raises(BackendError, match=r"tensorrt is not installed.*\n.*pip install .*\[tensorrt\]"):
        open_builder(find_backend("tensorrt"), ())


@needs_rtx
def test_a_builder_says_what_its_engines_are_tied_to_and_refuses_other_gpus() -> None:
    entry = find_backend("tensorrt_rtx")
    builder = open_builder(entry, ("8.9",))
    assert builder is not None
    assert builder.facts == {
        "name": "tensorrt_rtx",
        "version": entry.load().__version__,
        "os": host_os(),
        "compute_capability": ["8.9"],
    }
    with pytest.raises(BackendError, match=r"tensorrt_rtx does not build for compute capability 7\.0"):
        open_builder(entry, ("8.9", "7.0"))


@needs_rtx
@pytest.mark.parametrize("is_constant", [True, False])
def test_an_axis_of_one_size_may_be_a_constant_of_the_graph(is_constant: bool, tmp_path: Path) -> None:
    spec = rows_to_rows().at("fp16")
    (axis,) = spec.axes
    alone = replace(
        spec,
        axes=(replace(axis, minimum=1, typical=1, maximum=1),),
        profiles=(Profile("alone", {axis.name: (1, 1, 1)}),),
    )
    stage = stage_of(lambda self, x: x * 2, alone)
    graph = export_stage(stage, alone if is_constant else spec, tmp_path, precision="fp16")
    build_engine(find_backend("tensorrt_rtx").load(), alone, graph.path, tmp_path / "rows.engine")
    assert (tmp_path / "rows.engine").stat().st_size > 1000
