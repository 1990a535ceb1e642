"""Backends run what is declared, and say what is missing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper

from odise_trt.backends import available_threads, base, host_os, open_backend
from odise_trt.backends.cuda import Buffer, Device, device_index
from odise_trt.backends.cuda_python import open_cuda_python
from odise_trt.backends.engine_mismatch import engine_mismatch
from odise_trt.bundle import Bundle
from odise_trt.bundle.manifest import StageEntry
from odise_trt.doctor import examine
from odise_trt.errors import ArgumentError, BackendError
from odise_trt.stage_spec import Axis, Profile, StageSpec, Tensor
from tests.odise_trt import toy_bundle

RTX = importlib.util.find_spec("tensorrt_rtx")


def has_driver() -> bool:
    return Path("/proc/driver/nvidia/version").exists()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return Bundle.open(toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy"))


def windows(count: int = 2, side: int = 128) -> np.ndarray:
    return np.random.default_rng(0).random((count, 3, side, side), dtype=np.float32)


def test_onnxruntime_runs_a_stage_to_the_numbers_worked_out_by_hand(bundle: Bundle) -> None:
    engine = open_backend("onnxruntime").open_stage(bundle.folder, bundle.manifest.stage("captioner"))
    given = windows(3)
    outputs = engine.run({"windows": given})

    mean = given.mean((1, 2, 3), dtype=np.float64)
    assert outputs.keys() == {"cond_inputs", "cond_emb"}
    np.testing.assert_allclose(outputs["cond_emb"], np.repeat(mean[:, None], 5, axis=1), rtol=1e-5)
    np.testing.assert_allclose(outputs["cond_inputs"][:, 76, 3], mean, rtol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "inputs missing: windows; not declared: none"),
        ({"windows": windows(), "image": windows()}, "not declared: image"),
        ({"windows": windows().astype(np.float64)}, "windows is float64, declared float32"),
        ({"windows": windows()[0]}, r"has shape \(3, 128, 128\), declared \(windows, 3, side, side\)"),
        ({"windows": windows()[:, :2]}, r"has shape \(2, 2, 128, 128\)"),
        ({"windows": windows()[:, :, :, :64]}, "side is 128 in the inputs before it"),
        ({"windows": windows(5, 64)}, "windows is 5, it can be 1 to 4"),
        ({"windows": windows(1, 192)}, "side is 192, it can be 64 to 128"),
        ({"windows": windows(1, 100)}, "side is 100, not a multiple of 64"),
    ],
)
def test_an_input_that_does_not_fit_the_declaration_is_named(bundle: Bundle, inputs, message) -> None:
    engine = open_backend("onnxruntime").open_stage(bundle.folder, bundle.manifest.stage("captioner"))

    with pytest.raises(BackendError, match=message):
        engine.run(inputs)


def test_sizes_are_told_in_undivided_pixels(bundle: Bundle) -> None:
    spec = bundle.manifest.stage("clip_pool").spec
    inputs = {
        "clip_image": np.zeros((1, 3, 28, 28), np.float32),
        "pred_masks": np.zeros((1, 4, 16, 48), np.float32),
    }

    assert base.check_inputs(spec, inputs) == {"height": 64, "width": 192}


def test_a_graph_that_differs_from_its_declaration_is_not_opened(bundle: Bundle) -> None:
    entry = bundle.manifest.stage("captioner")
    other = replace(entry, spec=bundle.manifest.stage("text_encoder").spec)

    with pytest.raises(BackendError, match="the manifest declares"):
        open_backend("onnxruntime").open_stage(bundle.folder, other)


def test_an_output_of_another_shape_than_declared_is_an_error(tmp_path: Path) -> None:
    spec = StageSpec(
        "twice",
        (Tensor("x", "float32", ("n", 4)),),
        (Tensor("y", "float32", ("n", 8)),),
        (Axis("n", 1, 1, 9),),
        (),
    )
    graph = toy_bundle.model(spec, [helper.make_node("Add", ["x", "x"], ["y"])])
    del graph.graph.output[0].type.tensor_type.shape.dim[:]
    onnx.save(graph, tmp_path / "twice.onnx")
    entry = StageEntry(spec, "twice.onnx", ("twice.onnx",), "", 0.0, 0)
    engine = open_backend("onnxruntime").open_stage(tmp_path, entry)
    with pytest.raises(BackendError, match=r"output y has shape \(3, 4\), declared \(3, 8\)"):
        engine.run({"x": np.zeros((3, 4), np.float32)})


def test_a_file_that_is_no_graph_is_an_error_that_names_it(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "captioner.onnx").write_bytes(b"not a graph")

    with pytest.raises(BackendError, match=r"cannot open .*captioner\.onnx"):
        open_backend("onnxruntime").open_stage(tmp_path, bundle.manifest.stage("captioner"))


def test_a_closed_engine_says_so(bundle: Bundle) -> None:
    engine = open_backend("onnxruntime").open_stage(bundle.folder, bundle.manifest.stage("captioner"))
    engine.close()
    engine.close()

    with pytest.raises(BackendError, match="captioner was closed"):
        engine.run({"windows": windows()})


def test_a_half_precision_graph_runs_on_the_cpu(tmp_path: Path) -> None:
    # Convolutions in channels-last blocks are what the full optimisation level breaks.
    spec = StageSpec(
        "half",
        (Tensor("x", "float16", (1, 16, 8, 8)),),
        (Tensor("y", "float16", (1, 16, 8, 8)),),
        (),
        (),
    )
    weight = np.random.default_rng(0).standard_normal((16, 16, 1, 1)).astype(np.float16)
    model = toy_bundle.model(spec, [helper.make_node("Conv", ["x", "w"], ["y"])], w=weight)
    onnx.save(model, tmp_path / "half.onnx")
    entry = StageEntry(spec, "half.onnx", ("half.onnx",), "", 0.0, 0)
    x = np.random.default_rng(1).standard_normal((1, 16, 8, 8)).astype(np.float16)
    y = open_backend("onnxruntime", precision="fp16").open_stage(tmp_path, entry).run({"x": x})["y"]

    exact = np.einsum("oi,nihw->nohw", weight[:, :, 0, 0].astype(float), x.astype(float))
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, exact, atol=0.02)


def test_external_weights_are_found_beside_the_graph(tmp_path: Path) -> None:
    spec = StageSpec(
        "sum", (Tensor("x", "float32", (1, 2048)),), (Tensor("y", "float32", (1, 2048)),), (), ()
    )
    weight = np.arange(2048, dtype=np.float32)[None]
    model = toy_bundle.model(spec, [helper.make_node("Add", ["x", "w"], ["y"])], w=weight)
    onnx.save(model, tmp_path / "sum.onnx", save_as_external_data=True, location="sum.onnx.data")
    assert (tmp_path / "sum.onnx.data").stat().st_size >= weight.nbytes
    entry = StageEntry(spec, "sum.onnx", ("sum.onnx", "sum.onnx.data"), "", 0.0, 0)
    engine = open_backend("onnxruntime").open_stage(tmp_path, entry)

    np.testing.assert_array_equal(engine.run({"x": np.ones((1, 2048), np.float32)})["y"], weight + 1)


def test_a_provider_that_is_missing_is_an_error_and_never_replaced() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(BackendError, match=r"has no CUDAExecutionProvider.*\n.*odise-trt\[cuda\]"):
        open_backend("onnxruntime", device="cuda")


def test_half_of_an_onnxruntime_is_an_error_that_says_how_to_repair_it(monkeypatch) -> None:
    # What is left when one of its two packages was removed: a folder without __init__.py.
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    with pytest.raises(BackendError, match=r"damaged.*\n.*pip uninstall -y onnxruntime onnxruntime-gpu"):
        open_backend("onnxruntime")
    finding = next(finding for finding in examine() if finding.name == "onnxruntime")
    assert not finding.found
    assert "damaged" in finding.detail


class TwoGpus:
    """CUDA's runtime for Python with two GPUs: allocations remember which was the current one."""

    cudaStreamNonBlocking = 1
    cudaError_t = SimpleNamespace(cudaSuccess=0)

    def __init__(self) -> None:
        self.now = 0
        self.allocated_on: list[int] = []

    def cudaGetDeviceCount(self):
        return 0, 2

    def cudaGetDevice(self):
        return 0, self.now

    def cudaSetDevice(self, index):
        self.now = index
        return (0,)

    def cudaGetDeviceProperties(self, index):
        return 0, SimpleNamespace(name=b"GPU\0", major=9, minor=0, totalGlobalMem=2**30)

    def cudaDriverGetVersion(self):
        return 0, 13000

    def cudaStreamCreateWithFlags(self, flags):
        return 0, 5 + self.now

    def cudaMalloc(self, size):
        self.allocated_on.append(self.now)
        return 0, 4096


def test_work_for_a_gpu_goes_there_and_leaves_the_current_one_as_it_was() -> None:
    runtime = TwoGpus()
    first, second = (open_cuda_python(runtime, index) for index in (0, 1))
    assert (first.stream, second.stream) == (5, 6)
    assert runtime.now == 0
    runtime.now = 1  # the host program, for its own work
    for cuda in (first, second, first):
        with cuda.current():
            cuda.allocate(1)
    assert runtime.allocated_on == [0, 1, 0]
    assert runtime.now == 1


def test_threads_are_those_asked_for_or_those_there_are() -> None:
    assert open_backend("onnxruntime", threads=1).describe()["threads"] == "1"
    assert open_backend("onnxruntime").describe()["threads"] == str(available_threads())
    for wrong in (0, -1, 1.5, "4", True, 10**9):
        with pytest.raises(ArgumentError, match="threads must be a whole number from 1"):
            open_backend("onnxruntime", threads=wrong)


def test_threads_of_a_session_on_the_cpu_do_not_spin(bundle: Bundle) -> None:
    engine = open_backend("onnxruntime").open_stage(bundle.folder, bundle.manifest.stage("captioner"))
    options = engine._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CPU"])
def test_a_device_that_does_not_exist_is_an_error(device: str) -> None:
    with pytest.raises(BackendError, match="there is no device"):
        open_backend("onnxruntime", device=device)
    assert device_index("cuda:3") == 3


def test_an_unknown_backend_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(
        BackendError, match=r"'ncnn'\n.*onnxruntime, onnxruntime_cuda, openvino, tensorrt, tensorrt_rtx"
    ):
        open_backend("ncnn")


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_a_backend_that_is_not_installed_says_how_to_install_it() -> None:
    with pytest.raises(BackendError, match=r'not installed.*\n.*pip install "odise-trt\[tensorrt\]"'):
        open_backend("tensorrt")


@pytest.mark.skipif(RTX is None, reason="TensorRT for RTX is not installed")
@pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")
def test_without_a_driver_tensorrt_for_rtx_says_what_it_needs() -> None:
    with pytest.raises(BackendError) as caught:
        open_backend("tensorrt_rtx")
    assert ("NVIDIA's driver" in str(caught.value)) or ("pip install cuda-python" in str(caught.value))


def test_importing_the_backends_imports_none_of_them() -> None:
    code = (
        "import sys, odise_trt.backends, odise_trt.backends.tensorrt, odise_trt.backends.onnxruntime\n"
        "import odise_trt.backends.openvino\n"
        "names = {'onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx', 'cuda', 'pycuda'}\n"
        "print(sorted(names & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


GPU = Device("GeForce RTX 4090", "8.9", "13.0", 24 * 2**30)
BUILT = {
    "name": "tensorrt",
    "version": "10.13.0",
    "compute_capability": ["8.9"],
    "driver": "12.8",
    "os": host_os(),
}


def test_engines_run_where_they_were_built_and_under_newer_drivers() -> None:
    assert engine_mismatch(BUILT, "10.13.0", GPU) is None


def test_engines_built_without_a_gpu_are_tied_to_the_version_only() -> None:
    ahead = {"name": "tensorrt_rtx", "version": "1.7.1.116", "compute_capability": []}

    assert engine_mismatch(ahead, "1.7.1.116", GPU) is None
    assert engine_mismatch(ahead, "1.7.2.1", GPU) == "built by tensorrt_rtx 1.7.1.116, this is 1.7.2.1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "10.13.1"}, "built by tensorrt 10.13.1, this is 10.13.0"),
        (
            {"compute_capability": ["7.5", "8.6"]},
            "built for compute capability 7.5, 8.6, GeForce RTX 4090 has 8.9",
        ),
        ({"driver": "13.1"}, "built with a driver for CUDA 13.1, this one is for CUDA 13.0"),
        ({"os": "windows-amd64"}, f"built for windows-amd64, this is {host_os()}"),
    ],
)
def test_an_engine_for_another_machine_is_refused_with_the_reason(change, message) -> None:
    assert engine_mismatch(BUILT | change, "10.13.0", GPU) == message


@pytest.mark.parametrize(
    ("compatible", "change", "version", "message"),
    [
        (["version"], {}, "10.14.1.48.post1", None),
        (["version"], {}, "10.13.0", None),
        (["version"], {}, "10.12.9", "built by tensorrt 10.13.0, this is 10.12.9"),
        (["version"], {}, "11.0.0", "built by tensorrt 10.13.0, this is 11.0.0"),
        (["version"], {"version": "dev"}, "10.14.1", "built by tensorrt dev, this is 10.14.1"),
        (["version"], {"compute_capability": ["8.6"]}, "10.14.1", "for compute capability 8.6, GeForce RTX"),
        (["hardware"], {"compute_capability": ["12.0"]}, "10.13.0", None),
        (["hardware"], {}, "10.14.1", "built by tensorrt 10.13.0, this is 10.14.1"),
        (["hardware"], {"driver": "13.1"}, "10.13.0", "built with a driver for CUDA 13.1"),
        (["hardware"], {"os": "windows-amd64"}, "10.13.0", "built for windows-amd64"),
        (["version", "hardware"], {"compute_capability": ["12.0"]}, "10.14.1", None),
    ],
)
def test_compatible_engines_run_elsewhere_as_far_as_they_are_built_for_it(
    compatible: list[str], change: dict, version: str, message: str | None
) -> None:
    found = engine_mismatch(BUILT | change | {"compatible": compatible}, version, GPU)
    assert (found is None) if message is None else (found is not None and message in found)


def test_hardware_compatible_engines_are_for_no_gpu_before_ampere() -> None:
    older = Device("T4", "7.5", "13.0", 16 * 2**30)
    found = engine_mismatch(BUILT | {"compatible": ["hardware"]}, "10.13.0", older)
    assert found == "built for compute capability 8.9, T4 has 7.5"


PROFILED = StageSpec(
    "mask_head",
    (),
    (),
    (Axis("height", 64, 1024, 2560, 64), Axis("width", 64, 1024, 2560, 64)),
    (
        Profile("landscape", {"height": (64, 1024, 1024), "width": (64, 1344, 2560)}),
        Profile("portrait", {"height": (64, 1344, 2560), "width": (64, 1024, 1024)}),
        Profile("square", {"height": (1024, 1024, 1024), "width": (1024, 1024, 1024)}),
    ),
)


@pytest.mark.parametrize(
    ("height", "width", "profile"),
    [(768, 1024, "landscape"), (2560, 512, "portrait"), (1024, 1024, "square")],
)
def test_the_profile_tuned_nearest_to_the_sizes_is_chosen(height: int, width: int, profile: str) -> None:
    index = base.choose_profile(PROFILED, {"height": height, "width": width})

    assert PROFILED.profiles[index].name == profile


def test_sizes_that_no_profile_holds_are_an_error() -> None:
    with pytest.raises(BackendError, match=r"no optimisation profile holds height=2560, width=1088"):
        base.choose_profile(PROFILED, {"height": 2560, "width": 1088})


def test_a_buffer_grows_and_never_shrinks() -> None:
    class Counted:
        def __init__(self) -> None:
            self.held: dict[int, int] = {}
            self.calls = 0

        def allocate(self, size: int) -> int:
            self.calls += 1
            self.held[self.calls * 256] = size
            return self.calls * 256

        def synchronize(self) -> None:
            """Nothing is queued."""

        def free(self, address: int) -> None:
            del self.held[address]

    cuda = Counted()
    buffer = Buffer(cuda)
    first = buffer.reserve(100)
    assert buffer.reserve(60) == first
    second = buffer.reserve(200)
    assert cuda.held == {second: 200}
    buffer.close()
    buffer.close()
    assert cuda.held == {}


@pytest.mark.skipif(RTX is None, reason="TensorRT for RTX is not installed")
def test_the_installed_tensorrt_has_every_call_the_backend_makes() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    calls = {
        trt.Runtime: ["deserialize_cuda_engine"],
        trt.ICudaEngine: [
            "num_io_tensors",
            "num_optimization_profiles",
            "get_tensor_name",
            "get_tensor_mode",
            "get_tensor_dtype",
            "create_execution_context",
            "get_device_memory_size_for_profile_v2",
        ],
        trt.IExecutionContext: [
            "set_optimization_profile_async",
            "set_input_shape",
            "set_tensor_address",
            "get_tensor_shape",
            "set_device_memory",
            "execute_async_v3",
        ],
        trt.ExecutionContextAllocationStrategy: ["USER_MANAGED"],
        trt.TensorIOMode: ["INPUT"],
        trt.DataType: ["FLOAT", "HALF", "INT64"],
        trt.ILogger: ["INTERNAL_ERROR", "ERROR"],
    }
    missing = [
        f"{owner.__name__}.{name}"
        for owner, names in calls.items()
        for name in names
        if not hasattr(owner, name)
    ]

    assert missing == []


@pytest.mark.gpu
@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt_rtx"])
def test_a_stage_gives_the_same_on_the_gpu_at_every_batch(
    flavour: str, bundle: Bundle, tmp_path: Path
) -> None:
    trt = pytest.importorskip(flavour)
    if not has_driver():
        pytest.skip("no NVIDIA driver on this machine")
    entry = bundle.manifest.stage("features")
    profile = Profile("window", {"windows": (1, 2, 4), "side": (64, 128, 128)})
    spec = replace(entry.spec, profiles=(profile,))
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    assert parser.parse_from_file(str(bundle.folder / entry.file))
    config = builder.create_builder_config()
    shapes = builder.create_optimization_profile()
    for tensor in spec.inputs:
        sizes = [{axis: limits[i] for axis, limits in profile.ranges.items()} for i in range(3)]
        shapes.set_shape(tensor.name, *(tensor.resolve(size) for size in sizes))
    config.add_optimization_profile(shapes)
    (tmp_path / "features.engine").write_bytes(bytes(builder.build_serialized_network(network, config)))
    built = replace(entry, spec=spec, file="features.engine")

    backend = open_backend(flavour)
    engine = backend.open_stage(tmp_path, built)
    expected = open_backend("onnxruntime").open_stage(bundle.folder, entry)
    for count, side in ((1, 128), (4, 64), (2, 128)):
        given = {
            "windows": windows(count, side),
            "cond_inputs": np.ones((count, toy_bundle.CONTEXT, toy_bundle.CHANNELS), np.float32),
            "cond_emb": np.ones((count, toy_bundle.TIME), np.float32),
        }
        found, wanted = engine.run(given), expected.run(given)
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], atol=1e-3)
    engine.close()
    backend.close()


def test_sizes_are_compared_before_work_whose_result_would_not_be_taken() -> None:
    base.check_axes(PROFILED, {"height": 1024, "width": 1024, "side": 7})
    with pytest.raises(BackendError, match="height is 1000, not a multiple of 64"):
        base.check_axes(PROFILED, {"height": 1000})
