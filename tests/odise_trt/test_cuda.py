"""What cuda-python and pycuda are asked for, on doubles of their modules. Nothing here needs a GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from odise_trt.backends.cuda import Cuda
from odise_trt.backends.cuda_pycuda import open_pycuda
from odise_trt.backends.cuda_python import open_cuda_python
from odise_trt.errors import BackendError, DeviceMemoryError


class Runtime:
    """`cuda.bindings.runtime`: every function succeeds, but those that are told to fail."""

    cudaStreamNonBlocking, cudaEventDisableTiming = 1, 2
    cudaError_t = SimpleNamespace(cudaSuccess=0, cudaErrorMemoryAllocation=SimpleNamespace(name="OOM"))
    cudaMemcpyKind = SimpleNamespace(
        cudaMemcpyHostToDevice="up", cudaMemcpyDeviceToHost="down", cudaMemcpyDeviceToDevice="there"
    )
    cudaMemoryType = SimpleNamespace(cudaMemoryTypeDevice=2, cudaMemoryTypeManaged=3)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeRelaxed="relaxed")
    cudaGraphNodeType = SimpleNamespace(cudaGraphNodeTypeHost="host", cudaGraphNodeTypeMemcpy="copy")

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.fails: dict[str, Any] = {}
        self.returns: dict[str, Any] = {
            "cudaGetDeviceCount": 1,
            "cudaGetDeviceProperties": SimpleNamespace(name=b"GPU", major=9, minor=0, totalGlobalMem=2**30),
            "cudaDriverGetVersion": 13000,
            "cudaGetErrorString": b"it failed",
        }
        self.next = 100
        # Nodes of what was recorded: a kind, and for a copy its direction.
        self.nodes: list[tuple[str, str]] = []

    def __getattr__(self, function: str) -> Any:
        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append((function, *arguments))
            if function in self.fails:
                return self.fails[function], None
            if function == "cudaMemGetInfo":
                return 0, 700, 1000
            if function == "cudaGraphGetNodes":
                return 0, self.nodes[: arguments[1]], len(self.nodes)
            if function == "cudaGraphNodeGetType":
                return 0, arguments[0][0]
            if function == "cudaGraphMemcpyNodeGetParams":
                return 0, SimpleNamespace(kind=arguments[0][1])
            self.next += 1
            return 0, self.returns.get(function, self.next)

        return call


@pytest.fixture
def runtime() -> Runtime:
    return Runtime()


@pytest.fixture
def cuda(runtime: Runtime) -> Cuda:
    opened = open_cuda_python(runtime, 0)
    runtime.calls.clear()
    return opened


def test_engines_and_copies_have_streams_of_their_own(cuda: Cuda) -> None:
    assert len({cuda.stream, cuda.uploads, cuda.downloads}) == 3
    assert cuda.free_memory() == 700


def test_copies_go_to_the_stream_they_are_given(cuda: Cuda, runtime: Runtime) -> None:
    array = np.zeros(5, np.float32)
    cuda.upload(4096, array)
    cuda.upload(4096, array, cuda.uploads)
    cuda.download(array, 4096, cuda.downloads)
    cuda.copy(8192, 4096, 20)
    cuda.clear(4096, 20)
    here = array.ctypes.data
    assert runtime.calls == [
        ("cudaMemcpyAsync", 4096, here, 20, "up", cuda.stream),
        ("cudaMemcpyAsync", 4096, here, 20, "up", cuda.uploads),
        ("cudaMemcpyAsync", here, 4096, 20, "down", cuda.downloads),
        ("cudaMemcpyAsync", 8192, 4096, 20, "there", cuda.stream),
        ("cudaMemsetAsync", 4096, 0, 20, cuda.stream),
    ]


def test_rows_are_copied_on_a_stream_and_what_is_fetched_is_there(cuda: Cuda, runtime: Runtime) -> None:
    array = np.zeros(5, np.float32)
    cuda.copy_rows(8192, 4096, 384, 512, 128, cuda.uploads)
    cuda.fetch(array, 4096)
    assert runtime.calls == [
        ("cudaMemcpy2DAsync", 8192, 384, 4096, 512, 384, 128, "there", cuda.uploads),
        ("cudaMemcpy", array.ctypes.data, 4096, 20, "down"),
    ]


def test_memory_tells_its_gpu(cuda: Cuda, runtime: Runtime) -> None:
    assert cuda.index == 0
    for kind, gpu in ((0, None), (1, None), (2, 3), (3, 3)):
        runtime.returns["cudaPointerGetAttributes"] = SimpleNamespace(type=kind, device=3)
        assert cuda.gpu_of(4096) == gpu


def test_events_order_streams(cuda: Cuda, runtime: Runtime) -> None:
    event = cuda.event()
    cuda.record(event, cuda.uploads)
    cuda.wait(cuda.stream, event)
    cuda.wait_for(event)
    cuda.free_event(event)
    assert runtime.calls == [
        ("cudaEventCreateWithFlags", 2),
        ("cudaEventRecord", event, cuda.uploads),
        ("cudaStreamWaitEvent", cuda.stream, event, 0),
        ("cudaEventSynchronize", event),
        ("cudaEventDestroy", event),
    ]


def test_what_is_recorded_is_launched_and_its_graph_is_freed_at_once(cuda: Cuda, runtime: Runtime) -> None:
    cuda.begin_recording()
    graph = cuda.end_recording()
    cuda.launch(graph)
    cuda.free_graph(graph)
    names = [name for name, *_ in runtime.calls]
    assert names == [
        "cudaStreamBeginCapture",
        "cudaStreamEndCapture",
        "cudaGraphInstantiate",
        "cudaGraphDestroy",
        "cudaGraphLaunch",
        "cudaGraphExecDestroy",
    ]
    assert runtime.calls[0] == ("cudaStreamBeginCapture", cuda.stream, "relaxed")
    assert runtime.calls[4] == ("cudaGraphLaunch", graph, cuda.stream)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (("host", ""), "calls functions of the host"),
        (("copy", "up"), "copies from the host"),
        (("copy", "there"), None),
        (("kernel", ""), None),
    ],
)
def test_what_must_not_use_the_host_is_refused_if_it_does(
    node: tuple[str, str], words: str | None, cuda: Cuda, runtime: Runtime
) -> None:
    runtime.nodes = [("kernel", ""), node, ("copy", "there")]
    cuda.begin_recording()
    if words is None:
        cuda.end_recording(host_allowed=False)
    else:
        with pytest.raises(BackendError, match=words):
            cuda.end_recording(host_allowed=False)
        # It is freed all the same, and can be recorded where the host is allowed.
        assert runtime.calls[-1][0] == "cudaGraphDestroy"
        cuda.begin_recording()
        cuda.end_recording()


def test_too_little_device_memory_is_an_error_of_its_own_and_is_not_reported_again(
    cuda: Cuda, runtime: Runtime
) -> None:
    runtime.fails["cudaMalloc"] = runtime.cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(DeviceMemoryError, match=r"cudaMalloc failed: it failed \(OOM\)"):
        cuda.allocate(2**40)
    assert runtime.calls[-1] == ("cudaGetLastError",)
    runtime.fails = {"cudaEventSynchronize": SimpleNamespace(name="broken")}
    with pytest.raises(BackendError, match=r"cudaEventSynchronize failed") as caught:
        cuda.wait_for(5)
    assert not isinstance(caught.value, DeviceMemoryError)


def test_the_real_cuda_python_has_all_these_functions_and_takes_integers() -> None:
    module = pytest.importorskip("cuda.bindings.runtime")
    kind, mode = module.cudaMemcpyKind, module.cudaStreamCaptureMode
    assert kind.cudaMemcpyDeviceToDevice != kind.cudaMemcpyHostToDevice
    for name in ("cudaMallocHost", "cudaFreeHost", "cudaMemGetInfo", "cudaMemsetAsync", "cudaGetLastError"):
        assert callable(getattr(module, name))
    if module.cudaGetDeviceCount()[0] == module.cudaError_t.cudaSuccess:
        return  # the calls below would touch a GPU
    none = module.cudaError_t.cudaSuccess
    assert module.cudaGraphNodeType.cudaGraphNodeTypeHost != module.cudaGraphNodeType.cudaGraphNodeTypeMemcpy
    assert mode.cudaStreamCaptureModeRelaxed is not None
    for call in (
        module.cudaEventRecord(5, 7),
        module.cudaMemcpy2DAsync(5, 3, 7, 4, 3, 2, kind.cudaMemcpyDeviceToDevice, 9),
        module.cudaMemcpy(5, 7, 3, kind.cudaMemcpyDeviceToHost),
        module.cudaPointerGetAttributes(5),
        module.cudaStreamWaitEvent(7, 5, 0),
        module.cudaEventCreateWithFlags(module.cudaEventDisableTiming),
        module.cudaGraphInstantiate(5, 0),
        module.cudaGraphLaunch(5, 7),
        module.cudaGraphExecDestroy(5),
        module.cudaGraphGetNodes(5, 0),
        module.cudaGraphNodeGetType(5),
        module.cudaGraphMemcpyNodeGetParams(5),
        module.cudaStreamBeginCapture(7, mode.cudaStreamCaptureModeRelaxed),
    ):
        assert call[0] != none


class Driver:
    """`pycuda.driver`."""

    class Error(Exception):
        pass

    class MemoryError(Error):  # noqa: A001
        pass

    event_flags = SimpleNamespace(DISABLE_TIMING=2)

    class Memcpy2D:
        def set_src_device(self, address: int) -> None:
            self.source = address

        def set_dst_device(self, address: int) -> None:
            self.target = address

        def __call__(self, stream: Any) -> None:
            self.stream = stream.handle
            Driver.copied = vars(self)

    copied: Any = None

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.streams = 0

    def init(self) -> None:
        pass

    def get_driver_version(self) -> int:
        return 13000

    def mem_get_info(self) -> tuple[int, int]:
        return 700, 1000

    @property
    def Device(self) -> Any:
        context = SimpleNamespace(push=lambda: None, pop=lambda: None)
        device = SimpleNamespace(
            retain_primary_context=lambda: context,
            compute_capability=lambda: (9, 0),
            name=lambda: "GPU",
            total_memory=lambda: 2**30,
        )
        made = lambda index: device  # noqa: E731
        made.count = lambda: 1  # type: ignore[attr-defined]
        return made

    def Stream(self) -> Any:
        self.streams += 1
        number = self.streams
        return SimpleNamespace(
            handle=number,
            synchronize=lambda: self.calls.append(("synchronize", number)),
            wait_for_event=lambda event: self.calls.append(("wait", number)),
        )

    def Event(self, flags: int) -> Any:
        return SimpleNamespace(
            record=lambda stream: self.calls.append(("record", stream.handle)),
            synchronize=lambda: self.calls.append(("wait for",)),
        )

    def memcpy_htod_async(self, address: int, array: np.ndarray, stream: Any) -> None:
        self.calls.append(("up", address, stream.handle))

    def memcpy_dtoh_async(self, array: np.ndarray, address: int, stream: Any) -> None:
        self.calls.append(("down", address, stream.handle))

    def memcpy_dtod_async(self, target: int, source: int, size: int, stream: Any) -> None:
        self.calls.append(("copy", target, source, size, stream.handle))

    def memcpy_dtoh(self, array: np.ndarray, address: int) -> None:
        self.calls.append(("fetch", address))

    @property
    def Context(self) -> Any:
        return SimpleNamespace(synchronize=lambda: self.calls.append(("wait for all",)))

    def memset_d8_async(self, address: int, value: int, size: int, stream: Any) -> None:
        self.calls.append(("set", address, value, size, stream.handle))

    def mem_alloc(self, size: int) -> int:
        raise self.MemoryError("out of memory")


def test_pycuda_does_the_same_without_graphs() -> None:
    driver = Driver()
    cuda = open_pycuda(driver, 0)
    array = np.zeros(5, np.float32)
    cuda.upload(1, array, cuda.uploads)
    cuda.download(array, 1, cuda.downloads)
    cuda.copy(1, 2, 3)
    cuda.clear(1, 2)
    event = cuda.event()
    cuda.record(event, cuda.uploads)
    cuda.wait(cuda.stream, event)
    cuda.wait_for(event)
    cuda.free_event(event)
    cuda.synchronize()
    cuda.fetch(array, 3)
    cuda.copy_rows(8192, 4096, 384, 512, 128, cuda.uploads)
    assert Driver.copied == {
        "source": 4096,
        "target": 8192,
        "src_pitch": 512,
        "dst_pitch": 384,
        "width_in_bytes": 384,
        "height": 128,
        "stream": 2,
    }
    # A stream of another library.
    cuda.record(cuda.event(), 77)
    assert (cuda.stream, cuda.uploads, cuda.downloads) == (1, 2, 3)
    assert driver.calls == [
        ("up", 1, 2),
        ("down", 1, 3),
        ("copy", 1, 2, 3, 1),
        ("set", 1, 0, 2, 1),
        ("record", 2),
        ("wait", 1),
        ("wait for",),
        ("synchronize", 1),
        ("fetch", 3),
        ("wait for all",),
        ("record", 1),
    ]
    assert cuda.free_memory() == 700
    with pytest.raises(DeviceMemoryError, match="out of memory"):
        cuda.allocate(1)
    assert not cuda.can_record
    with pytest.raises(BackendError, match="pycuda has no CUDA graphs"):
        cuda.begin_recording()
    cuda.close()
