"""OpenVINO runs what is declared, computes in what was asked for, and says what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto, helper

from odise_trt import Segmenter
from odise_trt.backends import open_backend
from odise_trt.backends import openvino as backend
from odise_trt.backends.fixed_sizes import batch_axis, held_axes
from odise_trt.backends.processor import arithmetic
from odise_trt.bundle import Bundle
from odise_trt.bundle.manifest import Manifest, StageEntry
from odise_trt.errors import BackendError, BundleError
from odise_trt.stage_spec import Axis, Profile, StageSpec, Tensor
from tests.odise_trt import toy_bundle

pytest.importorskip("openvino")
needs_bf16 = pytest.mark.skipif("bf16" not in arithmetic(), reason="the processor has no bf16 arithmetic")

WIDTH = 64
WINDOWS, SIDE = Axis("windows", 1, 2, 4), Axis("side", 64, 512, 512, 64)
HELD = Profile("window", {"windows": (1, 2, 4), "side": (512, 512, 512)})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    built = {"name": "openvino", "version": "2026.4.1"}
    return Bundle.open(toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy", backend=built))


def no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "arithmetic", dict)


def entry_of(
    folder: Path, spec: StageSpec, nodes: Sequence[NodeProto], precision: str | None = None, **constants: Any
) -> StageEntry:
    """A stage of its own: its graph is written, and its entry returned."""
    onnx.save(toy_bundle.model(spec, list(nodes), **constants), folder / f"{spec.name}.onnx")
    return StageEntry(spec, f"{spec.name}.onnx", (f"{spec.name}.onnx",), "", 0.0, 0, precision)


def product(folder: Path, precision: str | None = None) -> tuple[StageEntry, np.ndarray]:
    """A stage that multiplies rows by a matrix, and the matrix."""
    spec = StageSpec(
        "product",
        (Tensor("x", "float32", ("windows", WIDTH)),),
        (Tensor("y", "float32", ("windows", WIDTH)),),
        (WINDOWS,),
        (),
    )
    matrix = np.random.default_rng(0).standard_normal((WIDTH, WIDTH)).astype(np.float32)
    return entry_of(
        folder, spec, [helper.make_node("MatMul", ["x", "w"], ["y"])], precision, w=matrix
    ), matrix


def rows(count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, WIDTH)).astype(np.float32)


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_a_stage_gives_the_numbers_worked_out_by_hand(bundle: Bundle) -> None:
    engine = open_backend("openvino").open_stage(bundle.folder, bundle.manifest.stage("captioner"))
    given = np.random.default_rng(0).random((3, 3, 128, 128), dtype=np.float32)
    outputs = engine.run({"windows": given})
    mean = given.mean((1, 2, 3), dtype=np.float64)
    assert list(outputs) == ["cond_inputs", "cond_emb"]
    np.testing.assert_allclose(outputs["cond_emb"], np.repeat(mean[:, None], 5, axis=1), rtol=1e-5)
    np.testing.assert_allclose(outputs["cond_inputs"][:, 76, 3], mean, rtol=1e-5)


def test_a_bundle_gives_the_result_that_it_gives_in_onnxruntime(bundle: Bundle, tmp_path: Path) -> None:
    image = np.zeros((128, 192, 3), np.uint8)
    image[:, :64, 0], image[:64, 64:, 1], image[64:, 64:, 2] = 255, 255, 255
    results = []
    for folder in (bundle.folder, toy_bundle.make(tmp_path / "toy")):
        with Segmenter.open(folder, threads=1) as segmenter:
            segmenter.vocabulary = "red; green; blue"
            results.append(segmenter(image))
    found, expected = results
    assert {segment.name for segment in found.segments} == {"red", "green", "blue"}
    assert found.segments == expected.segments
    np.testing.assert_array_equal(found.panoptic, expected.panoptic)


def test_fp32_is_fp32_on_processors_with_bf16_too(tmp_path: Path) -> None:
    entry, matrix = product(tmp_path)
    x = rows()
    y = open_backend("openvino", threads=1).open_stage(tmp_path, entry).run({"x": x})["y"]
    assert distance(y, x.astype(np.float64) @ matrix) < 1e-6


@needs_bf16
@pytest.mark.parametrize(("bundles", "stages"), [("bf16", None), ("fp32", "bf16")])
def test_bf16_rounds_to_eight_bits(bundles: str, stages: str | None, tmp_path: Path) -> None:
    entry, matrix = product(tmp_path, stages)
    x = rows()
    y = open_backend("openvino", precision=bundles, threads=1).open_stage(tmp_path, entry).run({"x": x})["y"]
    assert y.dtype == np.float32
    assert 1e-4 < distance(y, x.astype(np.float64) @ matrix) < 2.0**-7


@needs_bf16
def test_a_stage_of_a_bf16_bundle_that_computes_in_fp32_is_exact(tmp_path: Path) -> None:
    entry, matrix = product(tmp_path, "fp32")
    x = rows()
    y = open_backend("openvino", precision="bf16", threads=1).open_stage(tmp_path, entry).run({"x": x})["y"]
    assert distance(y, x.astype(np.float64) @ matrix) < 1e-6


@needs_bf16
@pytest.mark.parametrize("side", [512, 320])
def test_positions_worked_out_from_a_size_are_not_rounded_to_bf16(side: int, tmp_path: Path) -> None:
    # The mean of two neighbours, as a resize works it out. Beyond 256, bf16 has every second place only.
    spec = StageSpec(
        "taps",
        (Tensor("x", "float32", ("windows", "side", 8)),),
        (Tensor("y", "float32", ("windows", "side", 8)),),
        (WINDOWS, SIDE),
        (HELD,),
    )
    node = helper.make_node
    nodes = [
        node("Shape", ["x"], ["count"], start=1, end=2),
        node("Squeeze", ["count"], ["most"]),
        node("Range", ["zero", "most", "one"], ["places"]),
        node("Cast", ["places"], ["float_places"], to=onnx.TensorProto.FLOAT),
        node("Unsqueeze", ["float_places", "last"], ["column"]),
        node("Add", ["column", "half"], ["between"]),
        node("Sub", ["float_places", "between"], ["apart"]),
        node("Abs", ["apart"], ["far"]),
        node("Sub", ["unit", "far"], ["near"]),
        node("Relu", ["near"], ["weights"]),
        node("MatMul", ["weights", "x"], ["y"]),
    ]
    constants = {name: np.array(value) for name, value in (("zero", 0), ("one", 1), ("last", [1]))}
    constants |= {"half": np.float32([0.5]), "unit": np.float32([1])}
    entry = entry_of(tmp_path, spec, nodes, **constants)
    x = np.random.default_rng(2).standard_normal((2, side, 8)).astype(np.float32)
    engine = open_backend("openvino", precision="bf16", threads=1).open_stage(tmp_path, entry)
    expected = (x + np.concatenate([x[:, 1:], np.zeros_like(x[:, :1])], axis=1)) / 2
    assert distance(engine.run({"x": x})["y"], expected) < 2.0**-7


def pooled(folder: Path) -> StageEntry:
    spec = StageSpec(
        "pooled",
        (Tensor("x", "float32", ("windows", 3, "side", "side")), Tensor("step", "int64", (1,))),
        (Tensor("y", "float32", ("windows", 3, "side/64", "side/64")),),
        (WINDOWS, SIDE),
        (HELD,),
    )
    node = helper.make_node
    nodes = [
        node("AveragePool", ["x"], ["mean"], kernel_shape=[64, 64], strides=[64, 64]),
        node("Cast", ["step"], ["late"], to=onnx.TensorProto.FLOAT),
        node("Add", ["mean", "late"], ["y"]),
    ]
    return entry_of(folder, spec, nodes)


def test_windows_that_run_one_by_one_and_sizes_that_come_later_are_all_there(tmp_path: Path) -> None:
    engine = open_backend("openvino", threads=1).open_stage(tmp_path, pooled(tmp_path))
    for count, side, step in ((3, 512, 7), (1, 128, 0), (2, 512, 1)):
        x = np.random.default_rng(side).random((count, 3, side, side), dtype=np.float32)
        y = engine.run({"x": x, "step": np.array([step])})["y"]
        blocks = x.reshape(count, 3, side // 64, 64, side // 64, 64).mean((3, 5), dtype=np.float64)
        np.testing.assert_allclose(y, blocks + step, rtol=1e-5)


def test_a_stage_is_compiled_once_for_as_long_as_its_size_stays(tmp_path: Path) -> None:
    engine = open_backend("openvino", threads=1).open_stage(tmp_path, pooled(tmp_path))
    first = engine._compiled
    for count in (1, 4):
        engine.run({"x": np.zeros((count, 3, 512, 512), np.float32), "step": np.array([1])})
    assert engine._compiled is first
    engine.run({"x": np.zeros((1, 3, 64, 64), np.float32), "step": np.array([1])})
    assert engine._compiled is not first


def test_results_stay_when_the_engine_runs_again_and_is_closed(tmp_path: Path) -> None:
    entry, matrix = product(tmp_path)
    engine = open_backend("openvino", threads=1).open_stage(tmp_path, entry)
    x = rows()
    y = engine.run({"x": x})["y"]
    engine.run({"x": -x})
    engine.close()
    np.testing.assert_allclose(y, x @ matrix, rtol=1e-3, atol=1e-4)


def test_arrays_that_are_read_only_or_not_contiguous_are_taken(tmp_path: Path) -> None:
    entry, matrix = product(tmp_path)
    engine = open_backend("openvino", threads=1).open_stage(tmp_path, entry)
    x = rows()
    fixed, turned = x.copy(), np.asfortranarray(x)
    fixed.flags.writeable = False
    for given in (fixed, turned):
        np.testing.assert_allclose(engine.run({"x": given})["y"], x @ matrix, rtol=1e-3, atol=1e-4)


def test_axes_that_a_profile_holds_are_told_from_others(bundle: Bundle) -> None:
    stage = bundle.manifest.stage
    assert held_axes(replace(stage("features").spec, profiles=(HELD,))) == {"side": 512}
    assert held_axes(stage("text_encoder").spec) == {}
    small = Profile("small", {"windows": (1, 4, 10), "side": (64, 64, 64)})
    assert held_axes(replace(stage("features").spec, profiles=(HELD, small))) == {"side": 512}


def test_a_batch_is_the_first_axis_of_all_outputs_and_occurs_nowhere_else(bundle: Bundle) -> None:
    assert batch_axis(bundle.manifest.stage("features").spec) == "windows"
    assert batch_axis(bundle.manifest.stage("mask_head").spec) is None
    mixed = StageSpec(
        "mixed",
        (Tensor("x", "float32", ("windows", "windows")),),
        (Tensor("y", "float32", ("windows", 4)),),
        (WINDOWS,),
        (),
    )
    assert batch_axis(mixed) is None


@pytest.mark.parametrize("device", ["cuda", "gpu", "CPU"])
def test_another_device_than_the_cpu_is_refused(device: str) -> None:
    with pytest.raises(BackendError, match="openvino runs on the CPU, not on"):
        open_backend("openvino", device=device)


def test_a_precision_that_it_does_not_have_is_refused(tmp_path: Path) -> None:
    entry, _ = product(tmp_path)
    with pytest.raises(BackendError, match=r"openvino does not compute in fp16\n.*--precision fp32"):
        open_backend("openvino", precision="fp16").open_stage(tmp_path, entry)


def test_bf16_is_not_imitated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_bf16(monkeypatch)
    entry, _ = product(tmp_path)
    with pytest.raises(BackendError, match=r"needs a processor with bf16 arithmetic.*\n.*--precision fp32"):
        open_backend("openvino", precision="bf16").open_stage(tmp_path, entry)
    with pytest.raises(BackendError, match="needs a processor with bf16 arithmetic"):
        backend.ties("openvino", "bf16")
    assert backend.ties("openvino", "fp32") == {}


def test_a_bundle_in_bf16_says_what_it_needs_and_how_to_build_one_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_bf16(monkeypatch)
    built = {"name": "openvino", "version": "1", "arithmetic": ["bf16"]}
    folder = toy_bundle.make(tmp_path / "toy", backend=built, precision="bf16")
    with pytest.raises(BundleError, match=r"cannot run here: it needs .* bf16 arithmetic") as caught:
        Segmenter.open(folder)
    assert "--backend openvino --precision fp32" in str(caught.value.hint)


def test_a_manifest_keeps_the_precision_of_a_stage(bundle: Bundle, tmp_path: Path) -> None:
    entries = [replace(entry, precision="fp32") for entry in bundle.manifest.stages]
    replace(bundle.manifest, stages=tuple(entries), precision="bf16").write(tmp_path)
    assert {entry.precision for entry in Manifest.read(tmp_path).stages} == {"fp32"}
    assert {entry.precision for entry in bundle.manifest.stages} == {None}


def test_a_graph_that_differs_from_its_declaration_is_not_opened(bundle: Bundle) -> None:
    other = replace(bundle.manifest.stage("captioner"), spec=bundle.manifest.stage("text_encoder").spec)
    with pytest.raises(BackendError, match="the manifest declares"):
        open_backend("openvino").open_stage(bundle.folder, other)


def test_a_file_that_is_no_graph_is_an_error_that_names_it(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "captioner.onnx").write_bytes(b"not a graph")
    with pytest.raises(BackendError, match=r"stage captioner: openvino cannot open .*captioner\.onnx"):
        open_backend("openvino").open_stage(tmp_path, bundle.manifest.stage("captioner"))


def test_an_output_of_another_shape_than_declared_is_an_error(tmp_path: Path) -> None:
    entry, _ = product(tmp_path)
    wide = replace(entry.spec, outputs=(Tensor("y", "float32", ("windows", 2 * WIDTH)),))
    engine = open_backend("openvino", threads=1).open_stage(tmp_path, replace(entry, spec=wide))
    with pytest.raises(BackendError, match="stage product failed in openvino"):
        engine.run({"x": rows()})


def test_an_input_that_does_not_fit_the_declaration_is_named(bundle: Bundle) -> None:
    engine = open_backend("openvino").open_stage(bundle.folder, bundle.manifest.stage("captioner"))
    with pytest.raises(BackendError, match="windows is float64, declared float32"):
        engine.run({"windows": np.zeros((1, 3, 128, 128))})


def test_a_closed_engine_and_a_closed_backend_say_so(bundle: Bundle) -> None:
    opened = open_backend("openvino")
    engine = opened.open_stage(bundle.folder, bundle.manifest.stage("captioner"))
    for one in (engine, engine, opened, opened):
        one.close()
    with pytest.raises(BackendError, match="captioner was closed"):
        engine.run({"windows": np.zeros((1, 3, 128, 128), np.float32)})
    with pytest.raises(BackendError, match="backend openvino was closed"):
        opened.open_stage(bundle.folder, bundle.manifest.stage("captioner"))


def test_threads_are_those_asked_for(bundle: Bundle) -> None:
    opened = open_backend("openvino", threads=1)
    engine = opened.open_stage(bundle.folder, bundle.manifest.stage("captioner"))
    assert opened.describe()["threads"] == "1"
    assert engine._compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert engine._compiled.get_property("ENABLE_CPU_PINNING") is False


@pytest.mark.parametrize(
    "call", ["backends import open_backend; open_backend('openvino')", "doctor import examine; examine()"]
)
def test_nothing_is_reported_to_the_makers_of_openvino(call: str, tmp_path: Path) -> None:
    asked = "'openvino' in sys.modules, 'openvino_telemetry' in sys.modules"
    code = f"import sys; from odise_trt.{call}; print({asked})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "False"]
    # With it, an identity is kept there.
    assert not (tmp_path / "intel").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="OpenVINO gives no thread a stack for signals there")
def test_signals_are_handled_after_backends_were_closed_in_the_order_they_were_opened() -> None:
    # In a process of its own: a signal on a stack that is gone ends it.
    code = """
import gc, signal
from odise_trt.backends import open_backend
opened = [open_backend("openvino") for _ in range(2)]
while opened:
    opened.pop(0).close()
    gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def test_doctor_tells_the_version_and_the_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    package: Any = SimpleNamespace(__version__="2026.4.1-22982-abc", Core=object)
    monkeypatch.setattr(backend, "arithmetic", lambda: {"bf16": ("amx_bf16", "avx512_bf16")})
    health = backend.examine(package)
    assert (health.works, health.detail) == (True, "2026.4.1; bf16: amx_bf16, avx512_bf16; int8: no")
    assert not backend.examine(SimpleNamespace(__version__="1")).works


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu avx512_bf16 avx512_vnni\n", {"bf16", "int8"}),
        ("flags : fpu avx512f avx512_vnni\nbugs : amx_bf16\n", {"int8"}),
        ("Features\t: fp asimd bf16\n", {"bf16"}),
        ("flags : fpu\n", set()),
        ("", set()),
    ],
)
def test_arithmetic_is_what_the_flags_of_the_processor_say(
    text: str, expected: set[str], tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert set(arithmetic(tmp_path / "cpuinfo")) == expected


def test_a_processor_that_cannot_be_asked_has_nothing(tmp_path: Path) -> None:
    assert arithmetic(tmp_path / "missing") == {}


@pytest.mark.slow
def test_the_demo_model_gives_the_map_that_it_gives_in_onnxruntime(
    demo_bundle: Path, tmp_path: Path, root: Path
) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    for file in demo_bundle.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "manifest.json").unlink()
    built = {"name": "openvino", "version": "2026.4.1"}
    replace(Manifest.read(demo_bundle), backend=built).write(folder)
    maps = []
    for place in (demo_bundle, folder):
        with Segmenter.open(place, threads=1, cache=False) as segmenter:
            segmenter.vocabulary = "tree; house; water; sky"
            maps.append(segmenter(root / "assets" / "photo.jpg").panoptic)
    assert (maps[0] == maps[1]).mean() >= 0.999
    assert len(np.unique(maps[0])) > 1
