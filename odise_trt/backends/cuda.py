"""Device memory, copies and a stream, through cuda-python or pycuda (whichever is installed)."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import BackendError

_INSTALL = "pip install cuda-python (or pycuda)"
_DRIVER = "install NVIDIA's driver, or use a bundle for the backend onnxruntime"


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        name: NVIDIA's name for it.
        compute_capability: for example "8.9".
        driver: the newest CUDA version that its driver supports, for example "13.0".
        memory_bytes: total memory in bytes.
    """

    name: str
    compute_capability: str
    driver: str
    memory_bytes: int


class Cuda(Protocol):
    """One GPU and one stream on it. Addresses are plain integers, sizes are in bytes.

    CUDA has a current GPU per thread. The host program may change it between two calls. So every method
    below, and any other work on this GPU, must be called within `current`.
    """

    device: Device
    #: Handle of the stream that copies and engines run on, in order.
    stream: int

    def current(self) -> AbstractContextManager[None]:
        """Make this the thread's current GPU inside the block. Restore the former one afterwards."""
        ...

    def allocate(self, size: int) -> int:
        """Allocate device memory, aligned to at least 256 bytes, and return its address."""
        ...

    def free(self, address: int) -> None:
        """Free device memory."""
        ...

    def upload(self, address: int, array: np.ndarray) -> None:
        """Copy a contiguous array to the device. The array must not change before `synchronize`."""
        ...

    def download(self, array: np.ndarray, address: int) -> None:
        """Copy from the device into a contiguous array. The array is filled after `synchronize`."""
        ...

    def synchronize(self) -> None:
        """Wait for the stream. Errors of earlier work on the stream are raised here."""
        ...

    def close(self) -> None:
        """Free the stream."""
        ...


class Buffer:
    """Device memory that is reused. It grows when a call needs more."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._size = 0
        self._address = 0

    def reserve(self, size: int) -> int:
        """Return the address of at least `size` bytes. Addresses from earlier calls become invalid."""
        if size > self._size:
            self.close()
            self._address = self._cuda.allocate(size)
            self._size = size
        return self._address

    def close(self) -> None:
        """Free the memory. The buffer can be used again."""
        if self._size:
            self._cuda.free(self._address)
        self._size = self._address = 0


def device_index(device: str) -> int:
    """`"cuda"` -> 0, `"cuda:1"` -> 1.

    Raises:
        BackendError: `device` has another form.
    """
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise BackendError(f"there is no device {device!r}", 'devices: "cpu", "cuda", "cuda:1", ...')
    return int(match[1] or 0)


def open_cuda(index: int = 0) -> Cuda:
    """Open a GPU through cuda-python, or through pycuda if cuda-python is not installed.

    Raises:
        BackendError: neither is installed, there is no such GPU, or there is no driver for it.
    """
    for module, cuda in (("cuda.bindings.runtime", _CudaPython), ("pycuda.driver", _PyCuda)):
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        return cuda(found, index)
    raise BackendError("GPU backends need cuda-python or pycuda, and neither is installed", _INSTALL)


class _CudaPython:
    def __init__(self, runtime: Any, index: int) -> None:
        self._runtime, self._index = runtime, index
        _check_index(index, self._call("cudaGetDeviceCount", hint=_DRIVER))
        properties = self._call("cudaGetDeviceProperties", index)
        self.device = Device(
            name=properties.name.decode().rstrip("\0"),
            compute_capability=f"{properties.major}.{properties.minor}",
            driver=_version(self._call("cudaDriverGetVersion")),
            memory_bytes=int(properties.totalGlobalMem),
        )
        with self.current():
            # This stream does not wait for the default stream, which other libraries in the process may use.
            self._stream = self._call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking)
        self.stream = int(self._stream)

    @contextmanager
    def current(self) -> Iterator[None]:
        before = self._call("cudaGetDevice")
        self._call("cudaSetDevice", self._index)
        try:
            yield
        finally:
            self._call("cudaSetDevice", before)

    def allocate(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def free(self, address: int) -> None:
        self._call("cudaFree", address)

    def upload(self, address: int, array: np.ndarray) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, self._stream)

    def download(self, array: np.ndarray, address: int) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, self._stream)

    def synchronize(self) -> None:
        self._call("cudaStreamSynchronize", self._stream)

    def close(self) -> None:
        if self._stream is not None:
            self._call("cudaStreamDestroy", self._stream)
            self._stream = None

    def _call(self, function: str, *arguments: Any, hint: str | None = None) -> Any:
        # Every function of cuda-python returns a tuple that starts with a status.
        status, *values = getattr(self._runtime, function)(*arguments)
        if status != self._runtime.cudaError_t.cudaSuccess:
            _, text = self._runtime.cudaGetErrorString(status)
            raise BackendError(f"CUDA: {function} failed: {text.decode()} ({status.name})", hint)
        return values[0] if values else None


class _PyCuda:
    def __init__(self, driver: Any, index: int) -> None:
        self._driver = driver
        try:
            driver.init()
        except driver.Error as error:
            raise BackendError(f"CUDA cannot start: {error}", _DRIVER) from error
        _check_index(index, driver.Device.count())
        device = driver.Device(index)
        # TensorRT uses the same context, through the CUDA runtime.
        self._context = device.retain_primary_context()
        major, minor = device.compute_capability()
        self.device = Device(
            name=device.name(),
            compute_capability=f"{major}.{minor}",
            driver=_version(driver.get_driver_version()),
            memory_bytes=device.total_memory(),
        )
        with self.current():
            self._stream = driver.Stream()
        self.stream = int(self._stream.handle)
        self._allocations: dict[int, Any] = {}

    @contextmanager
    def current(self) -> Iterator[None]:
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def allocate(self, size: int) -> int:
        memory = self._try(self._driver.mem_alloc, size)
        self._allocations[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        self._try(self._allocations.pop(address).free)

    def upload(self, address: int, array: np.ndarray) -> None:
        self._try(self._driver.memcpy_htod_async, address, array, self._stream)

    def download(self, array: np.ndarray, address: int) -> None:
        self._try(self._driver.memcpy_dtoh_async, array, address, self._stream)

    def synchronize(self) -> None:
        self._try(self._stream.synchronize)

    def close(self) -> None:
        self._stream = None

    def _try(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._driver.Error as error:
            raise BackendError(f"CUDA: {error}") from error


def _check_index(index: int, count: int) -> None:
    if index >= count:
        raise BackendError(f"there is no GPU {index}: CUDA sees {count}", _DRIVER if count == 0 else None)


def _version(number: int) -> str:
    """Return CUDA's version number as text: 13020 -> "13.2"."""
    return f"{number // 1000}.{number % 1000 // 10}"
