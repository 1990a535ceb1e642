"""Weights beside an ONNX graph are mapped, and the memory is given back after each run."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from odise_trt.backends import onnxruntime_engine, open_backend
from odise_trt.backends.mapped_files import _mappings, release_pages
from odise_trt.stage_spec import Axis, StageSpec, Tensor

ROWS, COLUMNS = 512, 256
WEIGHT = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype(np.float32)
SPEC = StageSpec(
    "rows",
    (Tensor("x", "float32", ("rows", ROWS)),),
    (Tensor("y", "float32", ("rows", COLUMNS)),),
    (Axis("rows", 1, 2, 9),),
    (),
)
ENTRY = SimpleNamespace(spec=SPEC, file="rows.onnx", files=("rows.onnx", "rows.onnx.data"), precision=None)
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells what is mapped")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """x @ w, with w in a file beside the graph."""
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "rows",
            [helper.make_tensor_value_info("x", 1, ["rows", ROWS])],
            [helper.make_tensor_value_info("y", 1, ["rows", COLUMNS])],
            [numpy_helper.from_array(WEIGHT, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    location = "rows.onnx.data"
    onnx.save(model, tmp_path / "rows.onnx", save_as_external_data=True, location=location, size_threshold=0)
    return tmp_path


def resident(file: Path) -> int:
    """Bytes of a file in this process's memory, by its own mappings."""
    return 1024 * sum(mapping.kilobytes["Rss"] for mapping in _mappings({str(file)}))


@on_linux
def test_what_was_read_of_a_mapped_file_is_given_back_and_read_again(tmp_path):
    path = tmp_path / "weights with a space"
    path.write_bytes(WEIGHT.tobytes())
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    np.testing.assert_array_equal(np.frombuffer(content, np.float32), WEIGHT.ravel())
    assert resident(path) == WEIGHT.nbytes
    assert release_pages([path, tmp_path / "not there"]) == WEIGHT.nbytes
    assert resident(path) == 0
    np.testing.assert_array_equal(np.frombuffer(content, np.float32), WEIGHT.ravel())


@on_linux
def test_what_was_written_to_keeps_its_changes(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(bytes(8192))
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    content[5] = 7
    assert release_pages([path]) == 0
    assert content[5] == 7


@on_linux
def test_onnx_runtime_maps_weights_and_holds_none_of_them_after_a_run(folder, monkeypatch):
    during = []

    def release(files):
        during.append(sum(map(resident, files)))
        return release_pages(files)

    monkeypatch.setattr(onnxruntime_engine, "release_pages", release)
    engine = open_backend("onnxruntime", threads=1).open_stage(folder, ENTRY)
    x = np.random.default_rng(1).random((3, ROWS), np.float32)
    for _ in range(2):
        np.testing.assert_allclose(engine.run({"x": x})["y"], x @ WEIGHT, rtol=1e-4, atol=1e-4)
        assert resident(folder / "rows.onnx.data") == 0
    assert during == [WEIGHT.nbytes, WEIGHT.nbytes]


def test_elsewhere_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert release_pages([tmp_path]) == 0
