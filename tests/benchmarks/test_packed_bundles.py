"""Bundles without their large weights: what is kept, what is drawn, and what is refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.drawn.archive import pack, unpack
from benchmarks.drawn.recipe import fill, strip
from odise_trt import Segmenter
from odise_trt.bundle import Bundle
from odise_trt.errors import BundleError
from tests.door import call, verb
from tests.odise_trt import toy_bundle

RNG = np.random.default_rng(0)
LARGE = RNG.normal(0.5, 2.0, (128, 100)).astype(np.float32)
HALF = RNG.normal(-1.0, 0.25, (100, 200)).astype(np.float16)
#: As large, but no noise: most of it is zero.
TABLE = np.eye(200, dtype=np.float16)
BIAS = RNG.normal(size=200).astype(np.float16)


def graph(path: Path) -> Path:
    """y = (x LARGE) HALF TABLE + BIAS, with the numbers of LARGE and HALF in a file."""
    nodes = [
        helper.make_node("MatMul", ["x", "large"], ["a"]),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["b", "half"], ["c"]),
        helper.make_node("MatMul", ["c", "table"], ["d"]),
        helper.make_node("Add", ["d", "bias"], ["y"]),
    ]
    weights = {"large": LARGE, "half": HALF, "table": TABLE, "bias": BIAS}
    made = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 128])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["n", 200])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=1024)
    return path


def arrays(path: Path) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}


def test_large_noise_is_drawn_and_all_else_is_kept(tmp_path: Path) -> None:
    model, drawn = strip(graph(tmp_path / "small.onnx"))
    assert [one.name for one in drawn] == ["large", "half"]
    assert len(model.SerializeToString()) < 2 * TABLE.nbytes
    (tmp_path / "again").mkdir()
    files = fill(model, {one.name: one for one in drawn}, tmp_path / "again" / "small.onnx")
    assert [file.name for file in files] == ["small.onnx", "small.onnx.data"]
    found = arrays(files[0])
    np.testing.assert_array_equal(found["table"], TABLE)
    np.testing.assert_array_equal(found["bias"], BIAS)
    for name, expected in (("large", LARGE), ("half", HALF)):
        assert found[name].dtype == expected.dtype
        assert found[name].shape == expected.shape
        assert not np.array_equal(found[name], expected)
        assert found[name].mean(dtype=np.float64) == pytest.approx(
            expected.mean(dtype=np.float64), abs=0.06 * float(expected.std())
        )
        assert found[name].std(dtype=np.float64) == pytest.approx(expected.std(dtype=np.float64), rel=0.05)
    session = onnxruntime.InferenceSession(files[0], providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.ones((3, 128), np.float32)})[0].shape == (3, 200)


def test_numbers_are_drawn_the_same_everywhere(tmp_path: Path) -> None:
    _, (large, _) = strip(graph(tmp_path / "small.onnx"))
    first = large.draw()
    np.testing.assert_array_equal(first, large.draw())
    np.testing.assert_allclose(first[0, :3], [0.111627, 0.664411, 1.056283], rtol=1e-5)


def test_a_bundle_comes_back_as_a_bundle_that_says_what_it_is(tmp_path: Path) -> None:
    packed, again = tmp_path / "toy.tar.xz", tmp_path / "again"
    toy = toy_bundle.make(tmp_path / "toy")
    done = call(verb("benchmarks.cli:app"), "pack", "--engines", toy, "--output", packed)
    assert (done.status, done.stderr) == (0, "")
    assert call(verb("benchmarks.cli:app"), "unpack", packed, "--output", again).status == 0
    bundle, before = Bundle.open(again), Bundle.open(toy)
    assert bundle.manifest.weights["source"] == f"drawn like {before.manifest.weights['source']}"
    assert bundle.manifest.weights["seeded"]
    assert bundle.manifest.parity == ()
    assert [one.spec for one in bundle.manifest.stages] == [one.spec for one in before.manifest.stages]
    with Segmenter.open(again, vocabulary=["red", "blue"], cache=False) as segmenter:
        assert segmenter(np.zeros((128, 128, 3), np.uint8)).panoptic.shape == (128, 128)


@pytest.mark.parametrize("name", ["../elsewhere", "/etc/passwd", "a/b"])
def test_an_archive_that_names_another_place_is_refused(name: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar.xz", "w:xz") as archive:
        entry = tarfile.TarInfo(name)
        archive.addfile(entry, io.BytesIO())
    with pytest.raises(BundleError, match="no plain file"):
        unpack(tmp_path / "bad.tar.xz", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_other_files_are_no_packed_bundles(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(BundleError, match="cannot be read"):
        unpack(tmp_path / "text", tmp_path / "bundle")
    with tarfile.open(tmp_path / "empty.tar.xz", "w:xz"):
        pass
    with pytest.raises(BundleError, match="no packed bundle"):
        unpack(tmp_path / "empty.tar.xz", tmp_path / "bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.tar.xz", "text"]


def test_engines_that_are_no_graphs_cannot_be_packed(tmp_path: Path) -> None:
    toy = toy_bundle.make(tmp_path / "toy")
    manifest = (toy / "manifest.json").read_text()
    (toy / "captioner.onnx").rename(toy / "captioner.engine")
    (toy / "manifest.json").write_text(manifest.replace("captioner.onnx", "captioner.engine"))
    with pytest.raises(BundleError, match="no ONNX files"):
        pack(toy, tmp_path / "toy.tar.xz")
