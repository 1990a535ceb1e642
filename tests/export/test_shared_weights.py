"""Stages of a bundle keep the weights that they have in common once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from export.shared_weights import SharedWeights, readers

COMMON, ONE, OTHER = (
    np.random.default_rng(seed).normal(size=(32, 32)).astype(np.float32) for seed in range(3)
)


def stage(path: Path, **weights: np.ndarray) -> Path:
    """A graph that multiplies its input by each weight in turn, with the weights beside it."""
    names = list(weights)
    nodes = [
        helper.make_node("MatMul", [f"x{place}", name], [f"x{place + 1}"]) for place, name in enumerate(names)
    ]
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("x0", 1, ["rows", 32])],
        [helper.make_tensor_value_info(f"x{len(names)}", 1, ["rows", 32])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.parent.mkdir(exist_ok=True)
    onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=0)
    return path


def put(bundle: SharedWeights, graph: Path) -> tuple[str, ...]:
    """Join a bundle as a build does. The files that the stage needs."""

    def adopt(file: Path) -> Path:
        return Path(shutil.copy(file, bundle.folder))

    files = [graph, graph.with_name(f"{graph.name}.data")]
    return tuple(file.name for file in bundle.join(graph, files, adopt))


def run(graph: Path, x: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"]).run(None, {"x0": x})[
        0
    ]


@pytest.fixture
def bundle(tmp_path: Path) -> SharedWeights:
    (tmp_path / "bundle").mkdir()
    return SharedWeights(tmp_path / "bundle")


def test_what_two_stages_read_is_in_one_file(bundle, tmp_path):
    first = stage(tmp_path / "work" / "first.onnx", a=COMMON, b=ONE)
    second = stage(tmp_path / "work" / "second.onnx", c=OTHER, d=COMMON)
    assert put(bundle, first) == ("first.onnx", "first.onnx.data")
    assert put(bundle, second) == ("second.onnx", "second.onnx.data", "first.onnx.data")
    assert (bundle.folder / "first.onnx.data").read_bytes() == first.with_name("first.onnx.data").read_bytes()
    assert (bundle.folder / "second.onnx.data").stat().st_size == OTHER.nbytes
    x = np.random.default_rng(9).normal(size=(5, 32)).astype(np.float32)
    for graph in (first, second):
        np.testing.assert_array_equal(run(bundle.folder / graph.name, x), run(graph, x))


def test_a_stage_without_weights_of_its_own_has_no_file_for_them(bundle, tmp_path):
    put(bundle, stage(tmp_path / "work" / "first.onnx", a=COMMON, b=ONE))
    assert put(bundle, stage(tmp_path / "work" / "second.onnx", z=ONE)) == ("second.onnx", "first.onnx.data")
    assert not (bundle.folder / "second.onnx.data").exists()


def test_a_stage_that_shares_nothing_is_taken_as_it_is(bundle, tmp_path):
    put(bundle, stage(tmp_path / "work" / "first.onnx", a=COMMON))
    second = stage(tmp_path / "work" / "second.onnx", a=OTHER)
    assert put(bundle, second) == ("second.onnx", "second.onnx.data")
    assert (bundle.folder / "second.onnx").read_bytes() == second.read_bytes()


def test_a_third_stage_refers_to_the_files_of_both_others(bundle, tmp_path):
    put(bundle, stage(tmp_path / "work" / "first.onnx", a=COMMON))
    put(bundle, stage(tmp_path / "work" / "second.onnx", a=COMMON, b=ONE))
    assert put(bundle, stage(tmp_path / "work" / "third.onnx", a=COMMON, b=ONE)) == (
        "third.onnx",
        "first.onnx.data",
        "second.onnx.data",
    )


def test_stages_kept_from_an_older_bundle_are_shared_with(bundle, tmp_path):
    stage(bundle.folder / "first.onnx", a=COMMON)
    bundle.know(bundle.folder / "first.onnx")
    assert put(bundle, stage(tmp_path / "work" / "second.onnx", a=COMMON)) == (
        "second.onnx",
        "first.onnx.data",
    )


def test_a_stage_that_reads_from_the_file_of_another_is_built_again_with_it():
    files = [
        ("captioner", ("captioner.onnx", "captioner.onnx.data")),
        ("features", ("features.onnx", "features.onnx.data")),
        ("clip_pool", ("clip_pool.onnx", "captioner.onnx.data")),
        ("third", ("third.onnx", "third.onnx.data", "clip_pool.onnx.data")),
    ]
    assert readers(files, ["captioner"]) == {"clip_pool", "third"}
    assert readers(files, ["features"]) == set()
    assert readers(files, ["clip_pool"]) == {"third"}
    assert readers(files, ["captioner", "clip_pool", "third"]) == set()
