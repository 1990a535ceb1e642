"""A GPU through NVIDIA's cuda-python, see `cuda.Cuda`."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import BackendError
from .cuda import NO_DRIVER, Cuda, Device, check_gpu, cuda_version, out_of_memory


def open_cuda_python(runtime: Any, index: int) -> Cuda:
    """Open a GPU. `runtime`: the module `cuda.bindings.runtime`.

    Raises:
        BackendError: there is no such GPU, or there is no driver for it.
    """
    return _CudaPython(runtime, index)


class _CudaPython:
    """Handles are the integers behind the objects of cuda-python."""

    through = "cuda-python"
    can_record = True

    def __init__(self, runtime: Any, index: int) -> None:
        self._runtime, self.index = runtime, index
        check_gpu(index, self._call("cudaGetDeviceCount", hint=NO_DRIVER))
        properties = self._call("cudaGetDeviceProperties", index)
        self.device = Device(
            name=properties.name.decode().rstrip("\0"),
            compute_capability=f"{properties.major}.{properties.minor}",
            driver=cuda_version(self._call("cudaDriverGetVersion")),
            memory_bytes=int(properties.totalGlobalMem),
        )
        with self.current():
            # These streams do not wait for the default stream, which other libraries in the process may use.
            self.stream, self.uploads, self.downloads = (
                int(self._call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking)) for _ in range(3)
            )
        self._open = True

    @contextmanager
    def current(self) -> Iterator[None]:
        before = self._call("cudaGetDevice")
        self._call("cudaSetDevice", self.index)
        try:
            yield
        finally:
            self._call("cudaSetDevice", before)

    def free_memory(self) -> int:
        free, _ = self._values("cudaMemGetInfo")
        return int(free)

    def allocate(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def free(self, address: int) -> None:
        self._call("cudaFree", address)

    def allocate_pinned(self, size: int) -> np.ndarray:
        address = int(self._call("cudaMallocHost", size))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def free_pinned(self, array: np.ndarray) -> None:
        self._call("cudaFreeHost", array.ctypes.data)

    def upload(self, address: int, array: np.ndarray, stream: int | None = None) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(address, array.ctypes.data, array.nbytes, kind, stream)

    def download(self, array: np.ndarray, address: int, stream: int | None = None) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(array.ctypes.data, address, array.nbytes, kind, stream)

    def copy(self, target: int, source: int, size: int) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._copy(target, source, size, kind, None)

    def copy_rows(self, target: int, source: int, row: int, pitch: int, rows: int, stream: int) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._call("cudaMemcpy2DAsync", target, row, source, pitch, row, rows, kind, stream)

    def fetch(self, array: np.ndarray, address: int) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpy", array.ctypes.data, address, array.nbytes, kind)

    def gpu_of(self, address: int) -> int | None:
        found = self._call("cudaPointerGetAttributes", address)
        kinds = self._runtime.cudaMemoryType
        is_there = found.type in (kinds.cudaMemoryTypeDevice, kinds.cudaMemoryTypeManaged)
        return int(found.device) if is_there else None

    def clear(self, address: int, size: int) -> None:
        self._call("cudaMemsetAsync", address, 0, size, self.stream)

    def synchronize(self) -> None:
        self._call("cudaStreamSynchronize", self.stream)

    def event(self) -> int:
        return int(self._call("cudaEventCreateWithFlags", self._runtime.cudaEventDisableTiming))

    def record(self, event: int, stream: int) -> None:
        self._call("cudaEventRecord", event, stream)

    def wait(self, stream: int, event: int) -> None:
        self._call("cudaStreamWaitEvent", stream, event, 0)

    def wait_for(self, event: int) -> None:
        self._call("cudaEventSynchronize", event)

    def free_event(self, event: int) -> None:
        self._call("cudaEventDestroy", event)

    def begin_recording(self) -> None:
        # Engines and other threads may allocate meanwhile.
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed
        self._call("cudaStreamBeginCapture", self.stream, mode)

    def end_recording(self, host_allowed: bool = True) -> int:
        recorded = self._call("cudaStreamEndCapture", self.stream)
        try:
            if not host_allowed:
                self._refuse_host(recorded)
            return int(self._call("cudaGraphInstantiate", recorded, 0))
        finally:
            self._call("cudaGraphDestroy", recorded)

    def _refuse_host(self, recorded: Any) -> None:
        kinds, copies = self._runtime.cudaGraphNodeType, self._runtime.cudaMemcpyKind
        (_, count) = self._values("cudaGraphGetNodes", recorded, 0)
        for node in self._values("cudaGraphGetNodes", recorded, count)[0][:count]:
            kind = self._call("cudaGraphNodeGetType", node)
            if kind == kinds.cudaGraphNodeTypeHost:
                raise BackendError("what was recorded calls functions of the host")
            if kind != kinds.cudaGraphNodeTypeMemcpy:
                continue
            if self._call("cudaGraphMemcpyNodeGetParams", node).kind == copies.cudaMemcpyHostToDevice:
                raise BackendError("what was recorded copies from the host")

    def launch(self, graph: int) -> None:
        self._call("cudaGraphLaunch", graph, self.stream)

    def free_graph(self, graph: int) -> None:
        self._call("cudaGraphExecDestroy", graph)

    def close(self) -> None:
        if self._open:
            for stream in (self.stream, self.uploads, self.downloads):
                self._call("cudaStreamDestroy", stream)
            self._open = False

    def _copy(self, target: int, source: int, size: int, kind: Any, stream: int | None) -> None:
        self._call("cudaMemcpyAsync", target, source, size, kind, self.stream if stream is None else stream)

    def _call(self, function: str, *arguments: Any, hint: str | None = None) -> Any:
        values = self._values(function, *arguments, hint=hint)
        return values[0] if values else None

    def _values(self, function: str, *arguments: Any, hint: str | None = None) -> list[Any]:
        # Every function of cuda-python returns a tuple that starts with a status.
        status, *values = getattr(self._runtime, function)(*arguments)
        if status != self._runtime.cudaError_t.cudaSuccess:
            _, text = self._runtime.cudaGetErrorString(status)
            message = f"CUDA: {function} failed: {text.decode()} ({status.name})"
            if status == self._runtime.cudaError_t.cudaErrorMemoryAllocation:
                # CUDA keeps this error, and the next call would report it again.
                self._runtime.cudaGetLastError()
                raise out_of_memory(message)
            raise BackendError(message, hint)
        return values
