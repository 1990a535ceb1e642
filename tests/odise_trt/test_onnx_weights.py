"""Weights beside an ONNX graph: found without a package for ONNX, mapped, and used by ONNX Runtime."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from odise_trt.backends import open_backend
from odise_trt.backends.onnx_weights import MappedFiles, Weight, weights_of
from odise_trt.errors import BackendError
from odise_trt.stage_spec import Axis, StageSpec, Tensor

WEIGHTS = {
    "a": np.arange(48, dtype=np.float32).reshape(8, 6),
    "b": np.ones((), np.float32),
    "half": np.arange(3, dtype=np.float16),
    "whole": np.array([[1, -2]], np.int64),
}
SPEC = StageSpec(
    "rows",
    (Tensor("x", "float32", ("rows", 8)),),
    (Tensor("y", "float32", ("rows", 6)),),
    (Axis("rows", 1, 2, 9),),
    (),
)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """x @ a + b, with all weights in a file beside it. `half` and `whole` are not used."""
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "a"], ["z"]), helper.make_node("Add", ["z", "b"], ["y"])],
            "rows",
            [helper.make_tensor_value_info("x", 1, ["rows", 8])],
            [helper.make_tensor_value_info("y", 1, ["rows", 6])],
            [numpy_helper.from_array(array, name) for name, array in WEIGHTS.items()],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    path = tmp_path / "rows.onnx"
    onnx.save(model, path, save_as_external_data=True, location="rows.onnx.data", size_threshold=0)
    return path


def test_every_weight_beside_a_graph_is_found_with_its_numbers(graph):
    found = weights_of(graph)
    assert [weight.name for weight in found] == list(WEIGHTS)
    files = MappedFiles(graph.parent)
    for weight in found:
        array = files.array(weight)
        assert array.dtype == WEIGHTS[weight.name].dtype
        np.testing.assert_array_equal(array, WEIGHTS[weight.name])


def test_weights_inside_a_graph_are_left_out(graph):
    onnx.save(onnx.load(graph), graph)
    assert weights_of(graph) == []


def test_given_back_memory_has_the_same_numbers_when_it_is_read_again(graph):
    (a, *_), files = weights_of(graph), MappedFiles(graph.parent)
    array = files.array(a)
    files.release({a.file, "a file that is not mapped"})
    np.testing.assert_array_equal(array, WEIGHTS["a"])


def test_a_file_that_ends_early_is_named(graph):
    os.truncate(graph.with_name("rows.onnx.data"), 100)
    with pytest.raises(BackendError, match=r"rows\.onnx\.data ends before the weight a"):
        MappedFiles(graph.parent).array(weights_of(graph)[0])


@pytest.mark.parametrize("content", [None, b""])
def test_a_file_of_weights_that_is_missing_or_empty_is_named(graph, content):
    data = graph.with_name("rows.onnx.data")
    data.unlink() if content is None else data.write_bytes(content)
    with pytest.raises(BackendError, match=r"rows\.onnx\.data cannot be read"):
        MappedFiles(graph.parent).array(weights_of(graph)[0])


def test_a_graph_that_is_missing_is_named(tmp_path):
    with pytest.raises(BackendError, match=r"none\.onnx cannot be read"):
        weights_of(tmp_path / "none.onnx")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_graph_is_read_or_refused(graph, place, value, cut):
    content = bytearray(graph.read_bytes())
    place %= len(content)
    content[place] = value
    damaged = graph.with_name("damaged.onnx")
    damaged.write_bytes(content[:place] if cut else content)
    with suppress(BackendError):
        assert all(isinstance(weight, Weight) for weight in weights_of(damaged))


@pytest.mark.parametrize("content", [b"\x3a\xff\x01x", b"\x3a", b"\x3b\x00", b"\x80" * 12])
def test_what_is_no_model_is_refused_with_its_name(tmp_path, content):
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(BackendError, match=r"bad\.onnx is no ONNX model"):
        weights_of(tmp_path / "bad.onnx")


def test_onnx_runtime_runs_on_mapped_weights_and_keeps_them_alive(graph):
    backend = open_backend("onnxruntime", threads=1)
    entry = SimpleNamespace(spec=SPEC, file="rows.onnx", files=("rows.onnx", "rows.onnx.data"))
    engines = [backend.open_stage(graph.parent, entry) for _ in range(2)]
    backend.close()
    x = np.random.default_rng(0).random((3, 8), np.float32)
    for engine in (*engines, *engines):
        np.testing.assert_allclose(engine.run({"x": x})["y"], x @ WEIGHTS["a"] + 1, rtol=1e-5)
    for engine in engines:
        engine.close()


def test_weights_in_a_file_that_the_manifest_does_not_declare_are_refused(graph):
    backend = open_backend("onnxruntime", threads=1)
    entry = SimpleNamespace(spec=SPEC, file="rows.onnx", files=("rows.onnx",))
    with pytest.raises(BackendError, match=r"has weights in 'rows\.onnx\.data', which the manifest does not"):
        backend.open_stage(graph.parent, entry)
